#!/usr/bin/env python3
"""Fails when a file includes upward, or reaches past a seam.

The tables are the architecture as data (ARCHITECTURE.md explains them):
  LAYERS       for each folder, the folders it may include; itself is always allowed
  THIRD_PARTY  headers that only the named places may include
  BANNED       tokens that only the named places may contain
The longest matching folder wins. A place is a folder (ends in "/"), a file, both
halves of one (ends in "."), an ending (starts with "*"), or TESTS.
To widen a row, say why beside it.

usage: check_layers.py [ROOT]
"""
import pathlib
import re
import sys

BASE, WIRE, NET = "libprotocol/base", "libprotocol/wire", "libprotocol/net"
FLEET, STORE = "gateway/fleet", "gateway/store"
IDENTITY, ADMIN = "gateway/identity", "gateway/admin"

TESTS = "TESTS"  # *_test.cc, test_*, tests/ and libprotocol/testing/.

LAYERS = {
    BASE: [],
    WIRE: [BASE],
    NET: [BASE, WIRE],
    "libprotocol/testing": [BASE, WIRE],
    FLEET: [BASE],
    STORE: [BASE, FLEET],
    IDENTITY: [BASE, WIRE, NET],
    ADMIN: [BASE, WIRE, FLEET, STORE, IDENTITY],
    "gateway/rpc": [BASE, WIRE, NET, FLEET, ADMIN, IDENTITY],
    "gateway/http": [BASE, WIRE, NET, ADMIN, IDENTITY],
    "gateway/server": [BASE, WIRE, NET, "gateway"],
    "agent/link": [BASE, WIRE, NET],
    "agent/exec": [BASE, WIRE],
    "agent/host": [BASE, WIRE],
    "agent/local": [BASE, WIRE, NET, "agent"],
    "agent/app": [BASE, WIRE, NET, "agent"],
    "tools": [BASE, WIRE, NET],
    "tools/swarm": [BASE, WIRE, NET, "agent/link"],
    "tests": ["libprotocol", "gateway", "agent", "tools"],
}

# The rules and the store speak their own nouns, never the wire's.
SPEAKS_PROTO = [WIRE + "/", NET + "/", IDENTITY + "/", ADMIN + "/", "gateway/rpc/",
                "gateway/http/", "gateway/server/", "agent/", "tools/", "tests/"]

THIRD_PARTY = {
    r"muster/v1/.*\.pb\.h": SPEAKS_PROTO,
    r"grpcpp/.*|grpc/.*|.*\.grpc\.pb\.h": ["agent/link/", "agent/app/", "gateway/rpc/",
                                           "gateway/server/", "tools/swarm/", "tests/"],
    r"sqlite3\.h": ["gateway/store/sqlite/"],
    r"boost/.*": ["gateway/http/", NET + "/"],
    r"CLI/.*": ["gateway/server/", "agent/app/", "tools/", "tests/simulation/"],  # 5 s per file: see ONCE.
    r"nlohmann/.*": [WIRE + "/", "agent/exec/", "agent/local/", "tools/", "tests/",
                     "gateway/store/sqlite/columns.",  # Labels are one JSON column.
                     "gateway/admin/asciicast."],  # Which is JSON.
    r"spdlog/.*": ["libprotocol/base/log.cc"],
}

# Headers so slow to compile that one file in a folder must be enough.
ONCE = r"CLI/.*"

# Adapters that own a thread and post what they learn to a loop.
THREAD_OWNERS = [
    "libprotocol/base/thread_event_loop.",
    "gateway/store/store_client.",
    "gateway/rpc/acceptor.",
    "gateway/http/http_server.",
    "agent/exec/child_watcher.",
    "agent/local/control_server.",
    "agent/link/route_watcher.",
    "tools/musterctl/input_sender.",  # The tool has no loop: it waits for a terminal and the gateway.
    TESTS,  # They race on purpose.
]

BANNED = {  # token -> (places that may use it, what to do instead)
    r"absl::Now\(|_clock::now\(|\bclock_gettime\(|\bgettimeofday\(": (
        ["libprotocol/base/system_clock.h", "libprotocol/base/log.cc", TESTS],
        "take a Clock, or be told the time"),
    r"\bSleepFor\(|\bsleep_(for|until)\(|\b(u|nano)?sleep\(": (
        ["tests/"], "post a timer, or poll a condition with a deadline"),
    r"std::j?thread\b(?!::)|\bpthread_create\(|std::async\(": (
        THREAD_OWNERS, "post to an EventLoop"),
    r"std::c(out|err)\b|\bf?printf\(|\bfmt::print\(": (
        ["libprotocol/base/log.cc", "tools/", "tests/", "*_main.cc"], "use Log()"),
    r"absl::Mutex\b|std::(recursive_|shared_)?mutex\b": (
        ["libprotocol/base/mutex.h"], "use Mutex from libprotocol/base/mutex.h"),
    r"\bsystem\(|\bpopen\(": ([], "run a program, not a string"),
    r"absl::string_view\b": (
        ["libprotocol/base/absl_compat.h"], "use std::string_view; say auto where Abseil hands one over"),
    r"absl::optional\b": ([], "use std::optional"),
}

LINES_MAX, TEST_LINES_MAX = 500, 1000

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.M)
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"', re.S)


def layer(path):
    return max((l for l in LAYERS if path.startswith(l + "/")), key=len, default=None)


def at(path, places):
    return any(is_test(path) if p is TESTS else path.startswith(p) if p.endswith(("/", ".")) else
               path.endswith(p[1:]) if p.startswith("*") else path == p for p in places)


def is_test(path):
    return (path.endswith("_test.cc") or path.rpartition("/")[2].startswith("test_") or
            path.startswith(("tests/", "libprotocol/testing/")))


def include_problems(path, text):
    mine = layer(path)
    allowed = LAYERS[mine] + (["libprotocol/testing"] if is_test(path) else [])
    for header in INCLUDE.findall(text):
        theirs = layer(header)
        if theirs not in (None, mine) and not any(
                theirs == a or theirs.startswith(a + "/") for a in allowed):
            yield f"{path}: {mine} must not include {header}"
        for pattern, places in THIRD_PARTY.items():
            if re.fullmatch(pattern, header) and not at(path, places):
                yield f"{path}: {header} belongs to {', '.join(places)}"


def token_problems(path, text):
    code = NOT_CODE.sub('""', text)
    for pattern, (places, instead) in BANNED.items():
        if not at(path, places) and (m := re.search(pattern, code)):
            yield f"{path}: {m[0].strip()} is not for this file; {instead}"


def length_problems(path, text):
    lines, most = text.count("\n"), TEST_LINES_MAX if is_test(path) else LINES_MAX
    if lines > most:
        yield f"{path}: {lines} lines, at most {most}; split it by what it answers"


def folder_problems(files):
    users = {}
    for path, text in files.items():
        if any(re.fullmatch(ONCE, h) for h in INCLUDE.findall(text)):
            users.setdefault(path.rpartition("/")[0], []).append(path)
    for folder, paths in users.items():
        if len(paths) > 1:
            yield f"{folder}: {' and '.join(paths)} include {ONCE}; one file is enough"


def check(root):
    """Every problem below `root`, one line each."""
    files = {str(p.relative_to(root)): p.read_text()
             for top in ("libprotocol", "gateway", "agent", "tools", "tests")
             for p in sorted((root / top).rglob("*")) if p.suffix in (".h", ".cc")}
    found = list(folder_problems(files))
    for path, text in files.items():
        if layer(path) is None:
            found.append(f"{path}: its folder has no row in LAYERS")
            continue
        found += [*include_problems(path, text), *token_problems(path, text),
                  *length_problems(path, text)]
    return found


if __name__ == "__main__":
    here = pathlib.Path(__file__).resolve().parents[2]
    problems = check(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here)
    print(*problems, sep="\n", end="\n" if problems else "")
    sys.exit(bool(problems))
