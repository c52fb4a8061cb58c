"""Networks that belong to a test alone, and end with it."""
import os
import subprocess
import sys

_INSIDE = "MUSTER_TEST_NETWORK"


def enter():
    """Call before anything else: the calling file runs again in a network in which
    there is only the loopback, where it may do as it likes."""
    if os.environ.get(_INSIDE):
        return run("ip", "link", "set", "lo", "up")
    if os.geteuid() != 0:
        print("SKIPPED: namespaces need root")
        sys.exit(77)
    enter_anew()


def enter_anew():
    """The calling file runs again, from its beginning and in a network of its own."""
    os.environ[_INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, "-B", *sys.argv])


def run(*command):
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)


class Place:
    """A network with nothing but its loopback. What runs `under` it is there."""

    def __init__(self):
        self._holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net",
             "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._holder.stdout.readline() == b"up\n"
        self.pid = str(self._holder.pid)
        self.under = ["nsenter", "-t", self.pid, "--net"]

    def run(self, *command):
        run(*self.under, *command)

    def end(self):
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()


class Neighbour(Place):
    """Another machine's network, 10.99.0.2, at the other end of a cable from
    10.99.0.1, which is this one."""

    ADDRESS, OURS = "10.99.0.2", "10.99.0.1"

    def __init__(self):
        super().__init__()
        run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable",
            "netns", self.pid)
        run("ip", "address", "add", f"{self.OURS}/24", "dev", "cable")
        run("ip", "link", "set", "cable", "up")
        self.run("ip", "address", "add", f"{self.ADDRESS}/24", "dev", "cable")
        self.plug(True)

    def plug(self, in_):
        """The cable at its end."""
        self.run("ip", "link", "set", "cable", "up" if in_ else "down")
