# Two machines on this one; source it after lib.sh. The gateway's machine has the
# source and the build; the second has what the test installs there, and nothing
# else. Each has a network of its own, and a cable between them:
#
#   gateway 10.99.0.1 ────────── 10.99.0.2 second-machine
#
# Nothing has a name that outlives the test: networks, mounts and processes end
# with the two processes that hold them, and those with the test, however it ends.
# shellcheck shell=bash

URL=https://10.99.0.1:7080
export SECOND=second-machine
gateway="" second=""  # Process ids of the two machines,
server=""             # and of the program in the first.

# hold NAME UNSHARE_OPTION… -- COMMAND…: COMMAND, as process 1 of new namespaces,
# says "up" when it is; its id goes to the variable NAME.
hold() {
  local name=$1 options=() holder
  shift
  while [[ $1 != -- ]]; do options+=("$1") && shift; done
  shift
  setpriv --pdeathsig KILL unshare --net --pid --fork --kill-child --propagation private \
    "${options[@]}" "$@" >"$WORK/$name.up" 2>"$WORK/$name.log" </dev/null &
  holder=$!
  until grep -qx up "$WORK/$name.up"; do
    kill -0 "$holder" 2>/dev/null || fail "$name: $(tail -3 "$WORK/$name.log")"
    sleep 0.05
  done
  printf -v "$name" '%s' "$(pgrep -P "$holder")"
}

# A copy-on-write view of this machine on which nothing can be compiled and
# nothing of ours is known. For hold: it becomes process 1 there.
become_debian() {
  local view=$WORK/debian hidden
  mkdir "$view"
  mount -t tmpfs tmpfs "$view"
  mkdir "$view"/{upper,work,root}
  mount -t overlay overlay -o "lowerdir=/,upperdir=$view/upper,workdir=$view/work" "$view/root"
  for hidden in /usr/lib/gcc /usr/include /run /tmp "$ROOT" "$BUILD"; do
    [[ ! -d $view/root$hidden ]] || mount -t tmpfs tmpfs "$view/root$hidden"
  done
  become_machine "$view/root"
}

# become_machine ROOT: the calling process becomes process 1 of a machine in ROOT.
become_machine() {
  mkdir -p "$1"/{proc,dev}
  mount -t proc proc "$1/proc"
  mount --rbind /dev "$1/dev"
  hostname "$SECOND"
  ip link set lo up
  exec chroot "$1" /bin/sh -c 'echo up; while :; do sleep 1000; done'
}

# connect: the cable between the two.
connect() {
  ip link add cable netns "$gateway" type veth peer name cable netns "$second"
  on gateway ip address add 10.99.0.1/24 dev cable
  on gateway ip link set cable up
  # From here: the second machine may have no such program.
  nsenter -t "$second" --net ip address add 10.99.0.2/24 dev cable
  nsenter -t "$second" --net ip link set cable up
}

# on MACHINE COMMAND…: there, with nothing of this environment but the path.
on() {
  local machine=$1
  shift
  nsenter -t "${!machine}" --all --root --wdns=/ \
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# ctl ARGUMENT…: musterctl at the gateway's machine, as its administrator.
ctl() {
  MUSTER_TOKEN=$(<"$WORK/gateway/admin-token") MUSTER_SERVER=$URL \
    MUSTER_CA_FILE=$WORK/gateway/ca/ca.pem nsenter -t "$gateway" --net "$BUILD/bin/musterctl" "$@"
}

start_gateway() {
  nsenter -t "$gateway" --net --pid setpriv --pdeathsig KILL "$BUILD/bin/muster-gateway" \
    --data-dir "$WORK/gateway" --web-listen 10.99.0.1:7080 --fleet-listen 10.99.0.1:7443 \
    >"$WORK/gateway.log" 2>&1 </dev/null &
  server=$!
  until nsenter -t "$gateway" --net curl -fsS --cacert "$WORK/gateway/ca/ca.pem" -o /dev/null \
    "$URL/ready" 2>/dev/null; do
    kill -0 "$server" 2>/dev/null || fail "the gateway ended: $(tail -3 "$WORK/gateway.log")"
    sleep 0.1
  done
}

# The printed lines, and nothing else, make the second machine one of the fleet.
the_printed_lines_join_the_second_machine() {
  local token
  ctl tokens create >"$WORK/lines" 2>"$WORK/notes" || fail "tokens create: $(tail -1 "$WORK/notes")"
  token=$(grep -oE 'mst_[[:alnum:]_-]+' "$WORK/lines") || fail "no token in: $(<"$WORK/lines")"
  paste_while_the_gateway_stands_still "$token"
  ctl agents wait "$SECOND" --timeout 15s >/dev/null 2>&1 ||
    fail "not online: $(<"$WORK/pasted"); $(ctl agents ls)"
  expect_equal "the whole fleet" "$SECOND online" \
    "$(ctl agents ls --no-headers | awk '{print $1, $2}')"
  expect_equal "a command there" "$SECOND" "$(ctl run "$SECOND" --shell sh -- hostname)"
  nobody_saw "$token" "when it had joined"
}

# paste_while_the_gateway_stands_still TOKEN: so that the program which holds the
# token stands still too, for everybody there to look at.
paste_while_the_gateway_stands_still() {
  local program
  program=$(pgrep -P "$server")  # nsenter waits for it, and would stop alone.
  kill -STOP "$program"
  on second /bin/sh <"$WORK/lines" >"$WORK/pasted" 2>&1 &
  local paste=$!
  # Not grep -q: it would end before it has read all, and `arguments` of that.
  until arguments | grep '^muster-agent join ' >/dev/null; do
    kill -0 "$paste" 2>/dev/null || fail "the lines ended early: $(<"$WORK/pasted")"
    sleep 0.02
  done
  nobody_saw "$1" "while it joined"
  kill -CONT "$program" "$server"  # nsenter had stopped itself as well.
  wait "$paste" || fail "the printed lines: $(<"$WORK/pasted")"
}

# arguments: of all that runs in the second machine, as ps shows them there.
arguments() {
  local pid
  for pid in $(pgrep --ns "$second" --nslist pid .); do
    { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null && echo
  done
}

# nobody_saw TOKEN WHEN
nobody_saw() {
  ! arguments | grep -F "$1" || fail "the token is an argument $2"
}
