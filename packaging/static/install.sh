#!/bin/sh
# Installs the static Muster agent from this folder, as root. Any Linux will do,
# busybox alone is enough.
# usage: ./install.sh [--uninstall]
set -eu
umask 022

prefix=${PREFIX:-/usr/local}
here=$(cd "$(dirname "$0")" && pwd)
unit=/etc/systemd/system/muster-agent.service

has_systemd() { [ -d /run/systemd/system ]; }

uninstall() {
  if has_systemd; then systemctl disable --now muster-agent || true; fi
  rm -rf "$unit" "$prefix/bin/muster-agent" "$prefix/lib/muster"
  echo "Removed. Its identity is still in /var/lib/muster-agent."
}

# put PROGRAM: in place at once, for it may be running.
put() {
  mkdir -p "$(dirname "$prefix/$1")"
  cp "$here/$1" "$prefix/$1.new"
  chmod 0755 "$prefix/$1.new"
  mv -f "$prefix/$1.new" "$prefix/$1"
}

install_agent() {
  put bin/muster-agent
  put lib/muster/muster-exec
  mkdir -p /var/lib/muster-agent
  chmod 0700 /var/lib/muster-agent
  if has_systemd; then
    sed "s#^ExecStart=[^ ]*/muster-agent#ExecStart=$prefix/bin/muster-agent#" \
      "$here/muster-agent.service" >"$unit"
    systemctl daemon-reload
    systemctl enable muster-agent
  fi
  echo "Installed $prefix/bin/muster-agent. Next, on the gateway: musterctl tokens create"
}

main() {
  [ "$(id -u)" = 0 ] || { echo "error: root is needed" >&2; exit 1; }
  case "${1:-}" in
    "") install_agent ;;
    --uninstall) uninstall ;;
    *) echo "usage: ./install.sh [--uninstall]" >&2; exit 2 ;;
  esac
}

main "$@"
