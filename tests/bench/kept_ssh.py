"""An sshd of its own on loopback, and one connection to it that is kept, to compare with.

Keys, settings and users are files of a temporary folder; nothing of the machine's own is read or
changed. Whoever is logged in has /bin/sh.
"""
import pathlib
import subprocess

import muster_e2e

SSHD = pathlib.Path("/usr/sbin/sshd")
USERS = {"passwd": "root:*:0:0::/root:/bin/sh\nsshd:*:100:65534::/run/sshd:/usr/sbin/nologin\n",
         "shadow": "root:*:19000::::::\nsshd:*:19000::::::\n"}
SERVER = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PidFile none
"""
CLIENT = """
Host kept
HostName 127.0.0.1
Port {port}
User root
IdentityFile {folder}/user
IdentitiesOnly yes
UserKnownHostsFile {folder}/known_hosts
StrictHostKeyChecking accept-new
ControlPath {folder}/control
BatchMode yes
"""
# In a mount namespace of its own: its users, and the empty folder that it wants.
START = """mount --bind {folder}/passwd /etc/passwd && mount --bind {folder}/shadow /etc/shadow &&
mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec {sshd} -D -e -f {folder}/server"""


class KeptSsh:
    """Ready when made; end() ends both ends."""

    def __init__(self, folder):
        if not SSHD.exists():
            raise SystemExit(f"{SSHD} is missing: tools/dev/install-packages bench")
        folder.mkdir(mode=0o700)
        words = {"folder": folder, "port": muster_e2e.free_port(), "sshd": SSHD}
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name],
                           check=True)
        for name, text in {**USERS, "server": SERVER, "client": CLIENT}.items():
            (folder / name).write_text(text.format(**words))
        self._ssh = ["ssh", "-F", folder / "client"]
        self._server = muster_e2e.Program(
            ["unshare", "--mount", "sh", "-c", START.format(**words)], folder / "server.log")
        muster_e2e.wait_until(lambda: "listening" in self._server.text(), 10, "sshd listens")
        self._master = muster_e2e.Program([*self._ssh, "-MN", "kept"], folder / "client.log")
        muster_e2e.wait_until((folder / "control").exists, 10, "the connection is there")

    def argv(self, command):
        """The command line that runs `command` over the kept connection."""
        return [*self._ssh, "kept", command]

    def end(self):
        self._master.end()
        self._server.end()
