#!/bin/bash
# A second machine, which has the package and nothing else, joins with the lines
# that `musterctl tokens create` prints. Two machines on this one: two_machines.sh.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/two_machines.sh
source "$(dirname "$0")/two_machines.sh"

install_the_package() {
  mkdir "$WORK/debs"
  "$ROOT/tools/dev/package" --deb-only --from "$BUILD" --to "$WORK/debs" 2>"$WORK/package.log" ||
    fail "tools/dev/package: $(tail -2 "$WORK/package.log")"
  on second tee /run/muster-agent.deb <"$(echo "$WORK"/debs/muster-agent_*.deb)" >/dev/null
  on second dpkg -i /run/muster-agent.deb >"$WORK/dpkg.log" 2>&1 ||
    fail "dpkg -i: $(tail -3 "$WORK/dpkg.log")"
}

it_has_nothing_to_build_with() {
  ! on second test -e "$ROOT/README.md" || fail "the second machine sees the source"
  ! on second test -e "$BUILD/bin" || fail "the second machine sees the build"
  ! on second sh -c 'echo "int main() {}" | cc -x c - -o /run/a.out' 2>/dev/null ||
    fail "the second machine can compile"
}

main() {
  ((EUID == 0)) || skip "namespaces need root"
  export -f become_debian become_machine
  hold gateway -- bash -c 'ip link set lo up && echo up && exec sleep infinity'
  hold second --mount --uts -- bash -c become_debian
  connect
  it_has_nothing_to_build_with
  install_the_package
  start_gateway
  the_printed_lines_join_the_second_machine
}

main
