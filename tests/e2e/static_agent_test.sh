#!/bin/bash
# The tar.gz: one static agent with its installer, for any Linux. Builds it, so
# this is one of the long tests.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

[[ -n ${MUSTER_LONG_TESTS:-} ]] || skip "only with tools/test --full"
out=$WORK/packages
"$ROOT/tools/dev/package" --from "$BUILD" --to "$out" 2>"$WORK/log" || fail "package: $(tail -3 "$WORK/log")"
tar -xzf "$out"/muster-agent-*.tar.gz -C "$WORK"
agent=$(echo "$WORK"/muster-agent-*)

expect_equal "files" "LICENSE
bin/muster-agent
install.sh
lib/muster/muster-exec
muster-agent.service" "$(cd "$agent" && find . -type f -printf '%P\n' | sort)"
for program in bin/muster-agent lib/muster/muster-exec; do
  expect_contains "$program" "statically linked" "$(file "$agent/$program")"
done
# Nothing of this machine's libraries is there.
((EUID == 0)) || skip "chroot needs root"
chroot "$agent" /bin/muster-agent --version >/dev/null || fail "the static agent does not start in an empty root"
