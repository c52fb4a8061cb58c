#!/bin/sh
# Installs the static Muster agent from this folder, as root. Any Linux will do.
# usage: ./install.sh [--uninstall]
set -eu

prefix=${PREFIX:-/usr/local}
here=$(cd "$(dirname "$0")" && pwd)
unit=/etc/systemd/system/muster-agent.service

has_systemd() { [ -d /run/systemd/system ]; }

uninstall() {
  if has_systemd; then systemctl disable --now muster-agent || true; fi
  rm -rf "$unit" "$prefix/bin/muster-agent" "$prefix/lib/muster"
  echo "Removed. Its identity is still in /var/lib/muster-agent."
}

install_agent() {
  install -D -m 0755 "$here/bin/muster-agent" "$prefix/bin/muster-agent"
  install -D -m 0755 "$here/lib/muster/muster-exec" "$prefix/lib/muster/muster-exec"
  install -d -m 0700 /var/lib/muster-agent
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
