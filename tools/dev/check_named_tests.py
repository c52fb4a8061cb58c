#!/usr/bin/env python3
"""Does every test that a document names exist? Silent if so.

usage: check_named_tests.py DOCUMENT...

A name in back quotes belongs to the test file named before it in the same row of a table:
`executor_test.cc` `RejectsWhatItCannotRun`.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("agent", "gateway", "libprotocol", "tests", "tools")


def test_files():
    """By name; a name may belong to several."""
    files = {}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*_test.*"):
            files.setdefault(path.name, []).append(path)
    return files


def missing(row, files):
    """What `row` names that is not there."""
    texts = []
    for name in re.findall(r"`([^`]+)`", row):
        name = name.rpartition("/")[2]
        if re.fullmatch(r"\w+_test\.(cc|py|sh)", name):
            texts = [path.read_text() for path in files.get(name, [])]
            if not texts:
                yield name
        elif re.fullmatch(r"test_\w+|([A-Z][a-z]*){3,}", name):
            if not any(re.search(rf"\b{name}\b", text) for text in texts):
                yield name


def main():
    files = test_files()
    wrong = [f"{document}: no test {name}" for document in sys.argv[1:]
             for row in pathlib.Path(document).read_text().splitlines() if row.startswith("|")
             for name in missing(row, files)]
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
