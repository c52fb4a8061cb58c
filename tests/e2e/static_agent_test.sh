#!/bin/bash
# The tar.gz: one static agent with its installer, for any Linux. It joins from a
# machine on which there is nothing but a static busybox: no library, no
# /etc/passwd, no name service. Builds the tar.gz, so this is one of the long tests.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/two_machines.sh
source "$(dirname "$0")/two_machines.sh"

make_the_tar() {
  mkdir "$WORK/packages"
  "$ROOT/tools/dev/package" --from "$BUILD" --to "$WORK/packages" 2>"$WORK/package.log" ||
    fail "tools/dev/package: $(tail -3 "$WORK/package.log")"
}

it_holds_the_static_agent_and_its_installer() {
  local agent program
  tar -xzf "$WORK"/packages/muster-agent-*.tar.gz -C "$WORK"
  agent=$(echo "$WORK"/muster-agent-*)
  expect_equal "files" "LICENSE
bin/muster-agent
install.sh
lib/muster/muster-exec
muster-agent.service" "$(cd "$agent" && find . -type f -printf '%P\n' | sort)"
  for program in bin/muster-agent lib/muster/muster-exec; do
    expect_contains "$program" "statically linked" "$(file "$agent/$program")"
  done
}

# A root with busybox, under all its names, and nothing else. For hold.
become_bare() {
  local root=$WORK/bare
  mkdir "$root"
  mount -t tmpfs tmpfs "$root"
  mkdir "$root/bin"
  cp "$(command -v busybox)" "$root/bin"
  "$root/bin/busybox" --install "$root/bin"
  become_machine "$root"
}

install_the_tar() {
  on second mkdir /root
  on second tar -xzf - -C /root <"$(echo "$WORK"/packages/muster-agent-*.tar.gz)"
  on second sh -c '/root/muster-agent-*/install.sh' >"$WORK/install.log" 2>&1 ||
    fail "install.sh: $(tail -3 "$WORK/install.log")"
}

# What every command is given must not come from files that are not there.
commands_find_their_way_there() {
  expect_equal "a shell command" "/ root 0" \
    "$(ctl run "$SECOND" --shell sh -- "echo \$PWD \$USER \$(id -u)")"
  ! on second test -e /etc || fail "something made /etc: $(on second ls /etc)"
}

main() {
  [[ -n ${MUSTER_LONG_TESTS:-} ]] || skip "only with tools/test --full"
  make_the_tar
  it_holds_the_static_agent_and_its_installer
  ((EUID == 0)) || skip "namespaces need root"
  export -f become_bare become_machine
  hold gateway -- bash -c 'ip link set lo up && echo up && exec sleep infinity'
  hold second --mount --uts -- bash -c become_bare
  connect
  install_the_tar
  start_gateway
  the_printed_lines_join_the_second_machine
  commands_find_their_way_there
}

main
