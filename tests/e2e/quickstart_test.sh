#!/bin/bash
# What the README promises of tools/quickstart, with the real programs.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

data="$WORK/da ta"  # What is pasted must be quoted.

# table OUT: the lines of the table of machines.
table() { sed -n '/^MACHINE /,/^$/p' <<<"$1" | sed -e 1d -e '/^$/d'; }

nothing_is_left_running() {
  expect_equal "still running" "" "$(pgrep -af "$WORK" | grep -v pgrep || true)"
}

the_first_run_ends_with_a_command_that_ran_and_the_table() {
  local out
  out=$("${quickstart[@]}" --once 2>"$WORK/err" </dev/null) || fail "quickstart: $(tail -3 "$WORK/err")"
  expect_contains "the command's output" "$(uname -sr)" "$out"
  expect_line "the table" "^$(hostname) +online " "$(table "$out")"
  expect_contains "next steps" "http://127.0.0.1:$web" "$out"
  expect_contains "next steps" "$data/gateway/admin-token" "$out"
  expect_equal "the token of the line to paste" "$(<"$data/gateway/admin-token")" \
    "$(bash -c "$(sed -n 's/^Try *//p' <<<"$out"); echo \"\$MUSTER_TOKEN\"")"
  expect_equal "mode of the admin token" 600 "$(stat -c %a "$data/gateway/admin-token")"
  nothing_is_left_running
}

the_second_run_finds_its_data() {
  local out
  out=$("${quickstart[@]}" --once 2>"$WORK/err" </dev/null) || fail "second run: $(tail -3 "$WORK/err")"
  ! grep -q Joining "$WORK/err" || fail "the second run joined again"
  expect_equal "machines" 1 "$(table "$out" | wc -l)"
  nothing_is_left_running
}

a_folder_that_is_too_long_is_refused_at_once() {
  local long out
  long=$WORK/$(printf 'x%.0s' {1..84})
  ! out=$("${quickstart[@]}" --once --data "$long" 2>&1 </dev/null) || fail "a long --data was taken"
  expect_contains "the reason" "error: --data: the absolute path must have at most 84 bytes" "$out"
  [[ ! -e $long ]] || fail "the folder was made"
}

# start: runs quickstart in the background until it watches.
start() {
  : >"$WORK/out"  # Not what an earlier run said.
  "${quickstart[@]}" >"$WORK/out" 2>&1 </dev/null &
  pid=$!
  until grep -q '^Watching' "$WORK/out"; do
    kill -0 "$pid" || fail "quickstart ended: $(tail -3 "$WORK/out")"
    sleep 0.1
  done
}

it_stops_both_when_interrupted() {
  start
  kill -TERM "$pid"
  wait "$pid" && fail "an interrupted quickstart must not look like a success"
  nothing_is_left_running
}

it_ends_when_the_gateway_dies() {
  start
  kill -KILL "$(pgrep -f "muster-gateway .*$data")"
  wait "$pid" && fail "quickstart without a gateway must not look like a success"
  expect_contains "the last line" "error: the gateway stopped" "$(tail -1 "$WORK/out")"
  nothing_is_left_running
}

main() {
  export MUSTER_BUILD_DIR=$BUILD
  web=$(free_port)
  quickstart=("$ROOT/tools/quickstart" --data "$data" --web-port "$web" --fleet-port "$(free_port)")
  the_first_run_ends_with_a_command_that_ran_and_the_table
  the_second_run_finds_its_data
  a_folder_that_is_too_long_is_refused_at_once
  it_stops_both_when_interrupted
  it_ends_when_the_gateway_dies
}

main
