#!/bin/bash
# `cmake --install` into a folder: its files, that the units are sound and fit the
# programs' exit codes, and that the installed programs find each other there.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

tree=$WORK/tree
bin=$tree/usr/bin
agent=("$bin/muster-agent" --state-dir "$WORK/state")

it_has_exactly_its_files() {
  DESTDIR=$tree cmake --install "$BUILD" >"$WORK/install.log" 2>&1 ||
    fail "cmake --install: $(tail -3 "$WORK/install.log")"
  expect_equal "files" "\
644 etc/muster/agent.toml
644 etc/muster/gateway.toml
755 usr/bin/muster-agent
755 usr/bin/muster-gateway
755 usr/bin/musterctl
755 usr/lib/muster/muster-exec
644 usr/lib/systemd/system/muster-agent.service
644 usr/lib/systemd/system/muster-gateway.service
644 usr/share/doc/muster-agent/copyright
644 usr/share/doc/muster-gateway/copyright
644 usr/share/doc/musterctl/copyright" "$(cd "$tree" && find . -type f -printf '%m %P\n' | sort -k2)"
}

# unit NAME KEY: its value in the installed unit.
unit() { sed -n "s/^$2=//p" "$tree/usr/lib/systemd/system/$1.service"; }

the_units_are_sound() {
  local name
  install -D /bin/kill "$tree/bin/kill"  # Not ours: the gateway's unit names it.
  for name in muster-gateway muster-agent; do
    # Only the unit itself: those of the distribution are not in the folder.
    systemd-analyze verify --recursive-errors=no --man=no --root="$tree" "$name.service" \
      >"$WORK/verify" 2>&1 || fail "systemd-analyze verify: $(<"$WORK/verify")"
    expect_equal "$name: restarted after" on-failure "$(unit $name Restart)"
    expect_equal "$name: but not after exit code" 2 "$(unit $name RestartPreventExitStatus)"
    expect_equal "$name: given up after" 0 "$(unit $name StartLimitIntervalSec)"
  done
  expect_equal "commands outlive the agent" process "$(unit muster-agent KillMode)"
  expect_equal "control groups of its own" yes "$(unit muster-agent Delegate)"
}

# exits CODE COMMAND…
exits() {
  local expected=$1 code=0
  shift
  "$@" >"$WORK/out" 2>&1 </dev/null || code=$?
  ((code == expected)) || fail "expected exit code $expected, got $code: $* ($(tail -1 "$WORK/out"))"
}

# What no restart can mend is 2; what time may mend is 1.
exit_codes_tell_whether_a_restart_can_help() {
  local gateway=("$bin/muster-gateway" --data-dir "$WORK/gateway" --web-listen "127.0.0.1:$web")
  exits 2 "${gateway[@]}" --fleet-listen nonsense
  exits 1 "${gateway[@]}" --fleet-listen 192.0.2.1:7443
  exits 2 "${agent[@]}" --proxy nonsense run
  mkdir "$WORK/broken"
  echo nonsense >"$WORK/broken/identity.toml"
  exits 1 "$bin/muster-agent" --state-dir "$WORK/broken" run
}

ctl() {
  MUSTER_SERVER=http://127.0.0.1:$web MUSTER_TOKEN=$(<"$WORK/gateway/admin-token") "$bin/musterctl" "$@"
}

start_gateway_and_join() {
  "$bin/muster-gateway" --data-dir "$WORK/gateway" --web-listen "127.0.0.1:$web" \
    --fleet-listen "127.0.0.1:$(free_port)" >"$WORK/gateway.log" 2>&1 </dev/null &
  gateway_pid=$!
  trap 'kill "$gateway_pid" ${agent_pid:-} 2>/dev/null || true; wait; rm -rf "$WORK"' EXIT
  until curl -fsS -o /dev/null "http://127.0.0.1:$web/ready" 2>/dev/null; do
    kill -0 "$gateway_pid" || fail "the gateway ended: $(tail -1 "$WORK/gateway.log")"
    sleep 0.1
  done
  ctl tokens create -o json 2>/dev/null | sed -n 's/.*"secret": *"\([^"]*\)".*/\1/p' >"$WORK/token"
  "${agent[@]}" join --server "http://127.0.0.1:$web" --token-stdin <"$WORK/token" \
    >"$WORK/join.log" 2>&1 || fail "join: $(tail -1 "$WORK/join.log")"
}

start_agent() {
  "${agent[@]}" run >"$WORK/agent.log" 2>&1 </dev/null &
  agent_pid=$!
  ctl agents wait "$(hostname)" --timeout 15s >/dev/null 2>&1 || fail "not online: $(tail -3 "$WORK/agent.log")"
}

# The parent of a command is the shim.
the_agent_finds_the_shim_of_its_own_tree() {
  start_agent
  # shellcheck disable=SC2016  # Expanded where the command runs.
  expect_equal "the shim" "$tree/usr/lib/muster/muster-exec" \
    "$(ctl run "$(hostname)" --shell sh -- 'readlink /proc/$PPID/exe')"
  kill "$agent_pid"
  wait "$agent_pid" || fail "the agent after SIGTERM: exit code $?"
}

an_agent_that_was_asked_to_stop_ends_with_0() {
  local verb code
  for verb in stop leave; do
    start_agent
    "${agent[@]}" "$verb" >"$WORK/out" 2>&1 || fail "muster-agent $verb: $(<"$WORK/out")"
    code=0
    wait "$agent_pid" || code=$?
    expect_equal "exit code of the agent after muster-agent $verb" 0 "$code"
  done
}

main() {
  web=$(free_port)
  it_has_exactly_its_files
  the_units_are_sound
  exit_codes_tell_whether_a_restart_can_help
  start_gateway_and_join
  the_agent_finds_the_shim_of_its_own_tree
  an_agent_that_was_asked_to_stop_ends_with_0
}

main
