#!/bin/bash
# The scripts in tools/ when something is wrong: one clear line, a non-zero exit,
# nothing left running. The programs are stand-ins; quickstart_test has real ones.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

# refused EXPECTED COMMAND…: COMMAND fails, and the last line it says is EXPECTED (a pattern).
refused() {
  local expected=$1 said
  shift
  said=$("$@" 2>&1 </dev/null) && fail "expected a failure of: $*"
  expect_line "$*" "^error: $expected" "$(tail -1 <<<"$said")"
}

# Programs that do as little as quickstart needs. The gateway dies if $WORK/die exists.
make_stand_ins() {
  mkdir -p "$WORK/build/bin"
  cat >"$WORK/build/bin/muster-gateway" <<END
#!/bin/bash
[[ ! -e $WORK/die ]] || { echo 'level=error msg="the disk is full"' >&2; exit 1; }
mkdir -p "\$2" && echo secret >"\$2/admin-token"
exec python3 -m http.server "\${4##*:}" --bind 127.0.0.1 -d "$WORK/www"
END
  cat >"$WORK/build/bin/muster-agent" <<END
#!/bin/bash
[[ \$1 == join ]] && { [[ \$MUSTER_TOKEN == mst_1 ]]; exit; }
exec tail -f "$WORK/www/ready"
END
  cat >"$WORK/build/bin/musterctl" <<'END'
#!/bin/bash
[[ $1 == tokens ]] && echo '{"secret":"mst_1"}'
[[ $1 == run ]] && echo it ran
true
END
  chmod +x "$WORK"/build/bin/*
  mkdir -p "$WORK/www" && touch "$WORK/www/ready"
}

quickstart() { "${quickstart[@]}" "$@"; }

nothing_is_left_running() {
  expect_equal "still running" "" "$(pgrep -af "$WORK|http.server $web" | grep -v pgrep || true)"
}

quickstart_says_what_is_wrong() {
  refused '--web-port: expected a port between 1 and 65535; got "70000"' quickstart --web-port 70000
  refused 'unknown option --bogus' quickstart --bogus
  refused '--data needs a value' quickstart --data

  python3 -m http.server "$web" --bind 127.0.0.1 -d "$WORK/www" >/dev/null 2>&1 &
  local server=$!
  until (exec 3<>"/dev/tcp/127.0.0.1/$web") 2>/dev/null; do sleep 0.05; done
  refused "port $web is busy" quickstart --once
  kill "$server"
  wait "$server" 2>/dev/null || true

  touch "$WORK/die"
  refused 'the gateway stopped: level=error msg="the disk is full"' quickstart --once
  rm "$WORK/die"
  nothing_is_left_running
}

quickstart_ends_when_asked() {
  local out
  out=$(quickstart --once 2>/dev/null) || fail "quickstart --once"
  expect_contains "quickstart --once" "it ran" "$out"
  nothing_is_left_running

  # Not through the function: the signal must reach the script, not a shell around it.
  "${quickstart[@]}" >"$WORK/out" 2>&1 &
  local pid=$!
  until grep -q Watching "$WORK/out"; do
    kill -0 "$pid" || fail "quickstart ended: $(cat "$WORK/out")"
    sleep 0.05
  done
  kill -TERM "$pid"
  wait "$pid" && fail "an interrupted quickstart must not look like a success"
  nothing_is_left_running
}

a_full_disk_is_named() {
  # shellcheck disable=SC2016  # Expanded by the inner shell.
  refused 'disk full: the data folder needs 64 MiB' unshare --mount --propagation private bash -c '
    mkdir -p "$WORK/data" && mount -t tmpfs -o size=1m tmpfs "$WORK/data" && exec "$@"' \
    - "${quickstart[@]}"
}

# Its package is installed, and yet it cannot be run.
a_missing_compiler_is_named() {
  local tree=$WORK/no-compiler
  mkdir "$tree"
  cp -r "$ROOT"/{CMakeLists.txt,CMakePresets.json,cmake,tools,third_party} "$tree"
  # shellcheck disable=SC2016
  refused 'no C\+\+ compiler that works' env -u MUSTER_BUILD_DIR unshare --mount --propagation private \
    bash -c 'mount --bind /dev/null "$(realpath /usr/bin/c++)" && exec "$@"' \
    - "$tree/tools/quickstart" --once --web-port "$web" --fleet-port "$fleet"
  nothing_is_left_running
}

install_packages_says_what_is_wrong() {
  local install=$WORK/tree/tools/dev/install-packages
  mkdir -p "$WORK/tree"
  cp -r "$ROOT/tools" "$ROOT/third_party" "$WORK/tree"
  "$install" test || fail "everything is installed, and yet install-packages fails"
  refused 'usage: ' "$install" everything

  echo "no-such-package" >>"$WORK/tree/third_party/debian-packages.txt"
  chmod -R a+rX "$WORK"
  refused 'missing packages; as root run: apt-get install no-such-package' \
    setpriv --reuid=65534 --clear-groups env HOME=/ "$install"
  refused 'no network' unshare --net "$install"
  # shellcheck disable=SC2016
  refused 'Debian 12 is needed to install packages; this is Other 1' \
    unshare --mount --propagation private bash -c '
      printf "ID=other\nVERSION_ID=1\nPRETTY_NAME=\"Other 1\"\n" >"$WORK/os-release"
      mount --bind "$WORK/os-release" "$(realpath /etc/os-release)"
      exec "$1"' - "$install"
}

main() {
  web=$(free_port)
  fleet=$(free_port)
  export MUSTER_BUILD_DIR=$WORK/build
  quickstart=("$ROOT/tools/quickstart" --data "$WORK/data" --web-port "$web" --fleet-port "$fleet")
  make_stand_ins
  quickstart_says_what_is_wrong
  quickstart_ends_when_asked
  ((EUID == 0)) || skip "the rest needs root"
  a_full_disk_is_named
  a_missing_compiler_is_named
  install_packages_says_what_is_wrong
}

main
