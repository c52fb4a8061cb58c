# Shared by the end-to-end scripts; source it. Each gets BUILD, the build
# folder, from ctest, and WORK, a folder of its own that is removed at the end.
# shellcheck shell=bash

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$ROOT/build/dev}
WORK=$(mktemp -d)
export ROOT BUILD WORK
trap 'rm -rf "$WORK"' EXIT

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# expect_equal WHAT EXPECTED ACTUAL
expect_equal() {
  [[ $2 == "$3" ]] && return
  diff <(echo "$2") <(echo "$3") >&2 || true
  fail "$1: see the difference above (< expected, > actual)"
}

# expect_contains WHAT NEEDLE TEXT
expect_contains() { [[ $3 == *"$2"* ]] || fail "$1: expected \"$2\" in: $3"; }

# expect_line WHAT PATTERN TEXT: some line of TEXT matches the extended pattern.
expect_line() { grep -qE "$2" <<<"$3" || fail "$1: no line matches \"$2\" in: $3"; }

# skip WHY: ctest shows the test as skipped.
skip() {
  echo "SKIPPED: $*"
  exit 77
}

# free_port: a port of 127.0.0.1 that the kernel gives to nobody else while this
# test lives: it is bound. A program that sets SO_REUSEADDR, as ours do, may
# listen on it all the same.
free_port() {
  python3 -c '
import os, select, socket, sys
holder = socket.socket()
holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
holder.bind(("127.0.0.1", 0))
print(holder.getsockname()[1], flush=True)
test = os.pidfd_open(int(sys.argv[1]))
if os.fork() == 0:
    os.closerange(0, 3)
    select.select([test], [], [])' "$$"
}
