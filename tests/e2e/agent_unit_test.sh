#!/bin/bash
# A command may do what the agent may, and the installed unit takes nothing of that
# away. Nothing here runs units: this reads the settings, and runs the agent as they
# say, on a view of this machine in which it is installed.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

export TREE=$WORK/tree

# Settings that take nothing from a command. For another one, ask first: does it keep
# a command from writing where it likes, or from becoming whom it likes?
known="Delegate ExecStart KillMode LimitNOFILE NotifyAccess OOMPolicy OOMScoreAdjust Restart
RestartPreventExitStatus RestartSec RuntimeDirectory RuntimeDirectoryMode StateDirectory
StateDirectoryMode TimeoutStopSec Type WatchdogSec"

# unit KEY: its value in the installed unit.
unit() { sed -n "s/^$1=//p" "$TREE/usr/lib/systemd/system/muster-agent.service"; }
export -f unit

the_unit_confines_no_command() {
  local key
  while read -r key; do
    [[ " ${known//$'\n'/ } " == *" $key "* ]] || fail "the agent's unit has $key: does it confine commands?"
  done < <(sed -n '/^\[Service\]/,/^\[Install\]/s/^\([A-Za-z]*\)=.*/\1/p' \
    "$TREE/usr/lib/systemd/system/muster-agent.service")
}

ctl() {
  MUSTER_SERVER=http://127.0.0.1:$web MUSTER_TOKEN=$(<"$WORK/gateway/admin-token") \
    "$TREE/usr/bin/musterctl" "$@"
}

start_gateway_and_join() {
  "$TREE/usr/bin/muster-gateway" --data-dir "$WORK/gateway" --web-listen "127.0.0.1:$web" \
    --fleet-listen "127.0.0.1:$(free_port)" >"$WORK/gateway.log" 2>&1 </dev/null &
  gateway_pid=$!
  trap 'kill "$gateway_pid" ${agent_pid:-} 2>/dev/null || true; wait; rm -rf "$WORK"' EXIT
  until curl -fsS -o /dev/null "http://127.0.0.1:$web/ready" 2>/dev/null; do
    kill -0 "$gateway_pid" || fail "the gateway ended: $(tail -1 "$WORK/gateway.log")"
    sleep 0.1
  done
  ctl tokens create -o json 2>/dev/null | sed -n 's/.*"secret": *"\([^"]*\)".*/\1/p' >"$WORK/token"
  mkdir "$WORK/var-lib"
  "$TREE/usr/bin/muster-agent" --state-dir "$WORK/var-lib/$(unit StateDirectory)" join \
    --server "http://127.0.0.1:$web" --token-stdin <"$WORK/token" >"$WORK/join.log" 2>&1 ||
    fail "join: $(tail -1 "$WORK/join.log")"
}

# see FOLDER ABOVE: ABOVE over it, and what is written there is seen by nobody else.
see() {
  local layer
  layer=$(mktemp -d -p "$LAYERS")
  mkdir "$layer"/{upper,work}
  mount -t overlay overlay -o "lowerdir=$2:$1,upperdir=$layer/upper,workdir=$layer/work" "$1"
}
export -f see

# The agent as process of the unit. For unshare --mount.
run_the_unit() {
  export LAYERS=$WORK/layers
  mkdir "$LAYERS"
  mount -t tmpfs tmpfs "$LAYERS"
  see /usr "$TREE/usr"
  see /var/lib "$WORK/var-lib"
  # The root of a container may not: then they stay as they are.
  choom -n "$(unit OOMScoreAdjust)" -p $$ || true
  prlimit --nofile="$(unit LimitNOFILE)" --pid $$ || true
  # shellcheck disable=SC2046  # Words of a command line.
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin $(unit ExecStart)
}
export -f run_the_unit

start_agent() {
  setpriv --pdeathsig KILL unshare --mount --propagation private bash -ec run_the_unit \
    >"$WORK/agent.log" 2>&1 </dev/null &
  agent_pid=$!
  ctl agents wait "$(hostname)" --timeout 15s >/dev/null 2>&1 || fail "not online: $(tail -3 "$WORK/agent.log")"
}

run() { ctl run "$(hostname)" --shell sh -- "$1"; }

a_command_can_write_usr_local_and_tmp() {
  local name=muster-e2e-$$
  expect_equal "written and read" "local tmp" "$(run "
    echo local >/usr/local/$name && echo tmp >/tmp/$name && echo \$(cat /usr/local/$name /tmp/$name)")"
  expect_equal "the machine's own /tmp" tmp "$(cat "/tmp/$name")"
  rm "/tmp/$name"
  [[ ! -e /usr/local/$name ]] || fail "the view was none: /usr/local/$name is real"
}

# A command that asks for everything is killed before the agent and its shim.
a_command_dies_first_when_memory_runs_out() {
  local agent command
  agent=$(<"/proc/$agent_pid/oom_score_adj")
  command=$((agent + 100 > 0 ? agent + 100 : 0))
  # shellcheck disable=SC2016  # Expanded where the command runs.
  expect_equal "oom_score_adj of shim and command" "$agent $command" \
    "$(run 'echo $(cat /proc/$PPID/oom_score_adj /proc/self/oom_score_adj)')"
}

main() {
  ((EUID == 0)) || skip "mounts need root"
  web=$(free_port)
  DESTDIR=$TREE cmake --install "$BUILD" >"$WORK/install.log" 2>&1 ||
    fail "cmake --install: $(tail -3 "$WORK/install.log")"
  the_unit_confines_no_command
  start_gateway_and_join
  start_agent
  a_command_can_write_usr_local_and_tmp
  a_command_dies_first_when_memory_runs_out
}

main
