#!/usr/bin/env python3
"""Fails when a file includes upward, or reaches past a seam.

LAYERS lists, for each folder, the folders it may include; a folder may always
include itself. BANNED lists tokens that only the named files may contain.
Longest matching folder wins. Run from the repository root.
"""
import pathlib, re, sys

BASE, WIRE = "libprotocol/base", "libprotocol/wire"
LAYERS = {
    "libprotocol/base": [],
    "libprotocol/wire": [BASE],
    "libprotocol/testing": [BASE, WIRE],
    "gateway/fleet": [BASE],
    "gateway/store": [BASE, "gateway/fleet"],
    "gateway/rpc": [BASE, WIRE, "gateway/fleet"],
    "gateway/rest": [BASE, WIRE, "gateway/fleet"],
    "gateway/server": [BASE, WIRE, "gateway"],
    "agent/exec": [BASE],
    "agent/session": [BASE, WIRE, "agent/exec"],
    "agent/app": [BASE, WIRE, "agent"],
    "tools": [BASE, WIRE],
    "tests": [BASE, WIRE, "libprotocol/testing", "agent", "gateway", "tools"],
}
THIRD_PARTY = {  # header prefix -> folders that may use it
    r"grpcpp/|.*\.grpc\.pb\.h": ["libprotocol/wire", "gateway/rpc", "gateway/server", "agent/session", "agent/app", "tools", "tests"],
    r"sqlite3\.h": ["gateway/store/sqlite"],
    r"httplib\.h": ["gateway/rest", "tools"],
}
BANNED = {
    r"absl::Now\(|_clock::now\(|clock_gettime\(": ["libprotocol/base/system_clock.h"],
    r"SleepFor\(|sleep_for\(|usleep\(": [],
    r"std::thread\b(?!::)": ["libprotocol/base/thread_event_loop.h"],
    r"std::c(out|err)\b|printf\(": ["libprotocol/base/log.cc", "tools/"],
    r"absl::Mutex\b|std::mutex\b": ["libprotocol/base/mutex.h"],
    r"\bsystem\(|\bpopen\(": [],
    r"absl::(string_view|optional)\b": ["libprotocol/base/absl_compat.h"],
}
INCLUDE = re.compile(r'^\s*#include\s+[<"]([^>"]+)[>"]', re.M)


def layer(path):
    return max((l for l in LAYERS if path.startswith(l + "/")), key=len, default=None)


def problems(path, text):
    mine, is_test = layer(path), path.endswith("_test.cc")
    code = re.sub(r"//.*", "", text)
    for header in INCLUDE.findall(text):
        theirs = layer(header)
        ok = theirs in (None, mine) or any(
            theirs == a or theirs.startswith(a + "/") for a in LAYERS[mine])
        if not ok and not (is_test and theirs == "libprotocol/testing"):
            yield f"{path}: {mine} must not include {header}"
        for pattern, users in THIRD_PARTY.items():
            if re.fullmatch(f"({pattern}).*", header) and not any(path.startswith(u) for u in users):
                yield f"{path}: {header} is not for {mine}"
    for pattern, users in BANNED.items():
        if not is_test and not any(path.startswith(u) for u in users):
            if m := re.search(pattern, code):
                yield f"{path}: uses {m[0]!r}; go through the seam"


def main():
    bad = []
    for root in ("libprotocol", "gateway", "agent", "tools", "tests"):
        for p in sorted(pathlib.Path(root).rglob("*")):
            if p.suffix in (".h", ".cc") and layer(str(p)):
                bad += problems(str(p), p.read_text())
    print(*bad, sep="\n")
    sys.exit(bool(bad))


main()
