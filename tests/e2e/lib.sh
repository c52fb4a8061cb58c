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

# free_port: one nobody listens on now.
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
