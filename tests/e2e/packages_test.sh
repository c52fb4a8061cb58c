#!/bin/bash
# What people install: files, modes, units, and that purge leaves nothing behind.
# dpkg runs for real, on a copy-on-write view of this machine.
# shellcheck source=tests/e2e/lib.sh
source "$(dirname "$0")/lib.sh"

debs=$WORK/debs

# contents COMPONENT: "mode owner path" of each file, folders left out.
contents() {
  dpkg-deb -c "$debs/$1"_*.deb | awk '$1 !~ /^d/ {print $1, $2, $NF}' | sort -k3
}

each_package_has_exactly_its_files() {
  expect_equal "muster-gateway" "\
-rw-r--r-- root/root ./etc/muster/gateway.toml
-rwxr-xr-x root/root ./usr/bin/muster-gateway
-rw-r--r-- root/root ./usr/lib/systemd/system/muster-gateway.service
-rw-r--r-- root/root ./usr/share/doc/muster-gateway/copyright" "$(contents muster-gateway)"
  expect_equal "muster-agent" "\
-rw-r--r-- root/root ./etc/muster/agent.toml
-rwxr-xr-x root/root ./usr/bin/muster-agent
-rwxr-xr-x root/root ./usr/lib/muster/muster-exec
-rw-r--r-- root/root ./usr/lib/systemd/system/muster-agent.service
-rw-r--r-- root/root ./usr/share/doc/muster-agent/copyright" "$(contents muster-agent)"
  expect_equal "musterctl" "\
-rwxr-xr-x root/root ./usr/bin/musterctl
-rw-r--r-- root/root ./usr/share/doc/musterctl/copyright" "$(contents musterctl)"
}

the_libraries_have_floor_versions() {
  local depends
  depends=$(dpkg-deb -f "$debs"/muster-gateway_*.deb Depends)
  expect_contains "Depends" "libsqlite3-0 (>= 3.40.1-2+deb12u2)" "$depends"
  expect_contains "Depends" "libabsl20220623 (>= 20220623.1-1+deb12u1)" "$depends"
  expect_contains "Depends" "libgrpc++1.51" "$depends"
}

# units_are_sound_and_the_gateway_is_confined ROOT, after installation there
units_are_sound_and_the_gateway_is_confined() {
  local problems
  # Other units of the machine may have their own troubles.
  problems=$(chroot "$1" systemd-analyze verify muster-gateway.service muster-agent.service 2>&1 |
    grep muster || true)
  expect_equal "systemd-analyze verify" "" "$problems"
  chroot "$1" systemd-analyze security --offline=true --threshold=30 muster-gateway.service \
    >"$WORK/security" 2>&1 || fail "the gateway's unit is exposed: $(tail -1 "$WORK/security")"
  grep -q '^KillMode=process$' "$1/usr/lib/systemd/system/muster-agent.service" ||
    fail "commands would not outlive the agent: no KillMode=process"
}

# the_lines_of_upkeep_work ROOT: as docs/operations/upkeep.md says them, by a
# stand-in for systemd, on a gateway with the settings of the package.
the_lines_of_upkeep_work() {
  cat >"$1/usr/local/sbin/systemctl" <<'END'
#!/bin/sh -e
[ "$2" = muster-gateway ]
case $1 in
  start)
    setpriv --reuid muster --regid muster --clear-groups muster-gateway >>/run/log 2>&1 </dev/null &
    echo $! >/run/pid
    timeout 20 sh -c 'until curl -fsS -o /dev/null http://127.0.0.1:7080/ready; do sleep 0.1; done' 2>/dev/null
    ;;
  stop) kill "$(cat /run/pid)" && tail --pid="$(cat /run/pid)" -f /dev/null ;;
  reload) kill -HUP "$(cat /run/pid)" ;;
esac
END
  chmod +x "$1/usr/local/sbin/systemctl"
  {
    echo 'set -ex; systemctl start muster-gateway'
    sed -n 's/^    //p' "$ROOT/docs/operations/upkeep.md"
    cat <<'END'
export MUSTER_TOKEN="$(cat /var/lib/muster/admin-token)"
timeout 10 sh -c 'until musterctl agents ls; do sleep 0.1; done'
systemctl stop muster-gateway
END
  } >"$1/run/lines"
  chroot "$1" env PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh /run/lines \
    >"$WORK/upkeep.log" 2>&1 || fail "upkeep.md: $(tail -n 5 "$WORK/upkeep.log" "$1/run/log")"
  expect_equal "files of others than muster" "" "$(chroot "$1" find /var/lib/muster ! -user muster)"
  rm -r "$1/usr/local/sbin/systemctl" "$1/var/lib/muster.old"
}

# the_agents_upgrade_is_announced ROOT: a restart of the running unit finds the
# mark that the agent looks for, and it does not stay. Stand-ins for systemd.
the_agents_upgrade_is_announced() {
  mkdir -p "$1/run/systemd/system" "$1/run/muster-agent"
  printf '#!/bin/sh\n' >"$1/usr/local/sbin/systemctl"
  cat >"$1/usr/local/sbin/deb-systemd-invoke" <<'END'
#!/bin/sh
echo "$1 $2 $(ls /run/muster-agent)" >>/run/invoked
END
  chmod +x "$1/usr/local/sbin/"{systemctl,deb-systemd-invoke}
  chroot "$1" env PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    sh /var/lib/dpkg/info/muster-agent.postinst configure 0.0.1 >"$WORK/postinst.log" 2>&1 ||
    fail "postinst: $(tail -n 3 "$WORK/postinst.log")"
  expect_equal "an upgrade" "restart muster-agent.service upgrading" "$(cat "$1/run/invoked")"
  expect_equal "the mark afterwards" "" "$(ls "$1/run/muster-agent")"
  rm -r "$1/run/systemd" "$1/run/muster-agent" "$1/usr/local/sbin/"{systemctl,deb-systemd-invoke}
}

# Runs in namespaces of its own, below a copy-on-write view of /.
install_and_purge() {
  local view=$WORK/view left
  mkdir -p "$view"
  mount -t tmpfs tmpfs "$view"
  mkdir "$view"/{upper,work,root}
  mount -t overlay overlay -o "lowerdir=/,upperdir=$view/upper,workdir=$view/work" "$view/root" ||
    return 77
  # No systemd runs there, whatever runs here.
  mount -t tmpfs tmpfs "$view/root/run"
  mount -t proc proc "$view/root/proc"
  mount --bind /dev "$view/root/dev"
  ip link set lo up
  mkdir "$view/root/run/debs"
  cp "$debs"/*.deb "$view/root/run/debs"

  chroot "$view/root" sh -c 'dpkg -i /run/debs/*.deb' >"$WORK/dpkg.log" 2>&1 ||
    fail "dpkg -i: $(tail -3 "$WORK/dpkg.log")"
  expect_equal "modes" "700 muster muster /var/lib/muster
700 root root /var/lib/muster-agent" \
    "$(chroot "$view/root" stat -c '%a %U %G %n' /var/lib/muster /var/lib/muster-agent)"
  chroot "$view/root" musterctl version >/dev/null || fail "musterctl version after installation"
  units_are_sound_and_the_gateway_is_confined "$view/root"
  the_lines_of_upkeep_work "$view/root"
  the_agents_upgrade_is_announced "$view/root"
  touch "$view/root/var/lib/muster/"{muster.db,leftover}

  chroot "$view/root" dpkg --purge muster-gateway muster-agent musterctl >"$WORK/dpkg.log" 2>&1 ||
    fail "dpkg --purge: $(tail -3 "$WORK/dpkg.log")"
  left=$(find "$view/root"/{etc,usr/bin,usr/lib,usr/share/doc,var/lib} -name '*muster*')
  expect_equal "left behind after purge" "" "$left"
  expect_equal "users left behind" "" "$(grep muster "$view/root/etc/passwd" "$view/root/etc/group" || true)"
}

main() {
  "$ROOT/tools/dev/package" --deb-only --from "$BUILD" --to "$debs" 2>"$WORK/package.log" ||
    fail "tools/dev/package: $(tail -2 "$WORK/package.log")"
  each_package_has_exactly_its_files
  the_libraries_have_floor_versions
  ((EUID == 0)) || skip "installing needs root"
  export -f install_and_purge units_are_sound_and_the_gateway_is_confined the_lines_of_upkeep_work
  export -f fail expect_equal
  export debs
  unshare --mount --net --pid --fork --kill-child --propagation private bash -c install_and_purge || {
    (($? == 77)) && skip "no overlay file system here"
    exit 1
  }
}

main
