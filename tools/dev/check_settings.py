#!/usr/bin/env python3
"""Compares docs/operations/configuration.md with what the programs say of
themselves, so that the tables there are never out of date.

    check_settings.py --bin build/dev/bin           exit 1 and a diff if they differ
    check_settings.py --bin build/dev/bin --write   brings the page up to date

Also: --help and --version of every program end with 0 and say something.
"""
import argparse
import difflib
import pathlib
import re
import subprocess
import sys

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/operations/configuration.md"
PROGRAMS = ["muster-gateway", "muster-agent", "musterctl"]
NOT_SETTINGS = {"--help", "--version", "--config", "--send-heartbeat-now"}
OPTION = re.compile(r"^  (?:-\w,)?(--[a-z-]+)\s*(.*)$")
DEFAULT = re.compile(r"^(.*?) ?\[([^\]]*)\]$")


def output_of(program, argument):
    done = subprocess.run([program, argument], capture_output=True, text=True, timeout=30)
    if done.returncode != 0 or not done.stdout.strip():
        sys.exit(f"{program.name} {argument}: exit code {done.returncode}, "
                 f"{done.stdout!r}, {done.stderr!r}")
    return done.stdout


def settings_of(program):
    """(flag, help, default) of each setting, in the order of --help."""
    found = []
    in_options = False
    for line in output_of(program, "--help").splitlines():
        if not line.startswith(" "):
            in_options = line.startswith("Options")
            continue
        option = OPTION.match(line)
        if not in_options:
            continue
        if option:
            found.append([option[1], option[2].strip()])
        elif found:
            found[-1][1] = f"{found[-1][1]} {line.strip()}".strip()
    rows = []
    for flag, text in found:
        if flag in NOT_SETTINGS:
            continue
        default = DEFAULT.match(text)
        rows.append((flag, *(default.groups() if default else (text, ""))))
    return rows


def table_of(program):
    lines = ["| in the file | environment | flag | default | what it is |", "|---|---|---|---|---|"]
    for flag, text, default in settings_of(program):
        key = flag[2:].replace("-", "_")
        shown = f"`{default}`" if default else "–"
        lines.append(f"| `{key}` | `MUSTER_{key.upper()}` | `{flag}` | {shown} | {text} |")
    return "\n".join(lines)


def page_with(text, program, table):
    begin, end = f"<!-- {program} -->\n", f"\n<!-- end of {program} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        sys.exit(f"{PAGE}: lacks the marks of {program}")
    return before + begin + table + end + after


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()

    for name in PROGRAMS:
        program = options.bin / name
        output_of(program, "--help")
        version = output_of(program, "--version")
        if not re.fullmatch(rf"{name} \d+\.\d+\.\d+\S*\n", version):
            sys.exit(f"{name} --version says {version!r}")

    is_now = PAGE.read_text()
    should_be = is_now
    for name in ("muster-gateway", "muster-agent"):
        should_be = page_with(should_be, name, table_of(options.bin / name))
    if options.write:
        PAGE.write_text(should_be)
    elif is_now != should_be:
        sys.stdout.writelines(difflib.unified_diff(
            is_now.splitlines(True), should_be.splitlines(True), str(PAGE), "as the programs say"))
        sys.exit(f"\nrun: {sys.argv[0]} --bin {options.bin} --write")


if __name__ == "__main__":
    main()
