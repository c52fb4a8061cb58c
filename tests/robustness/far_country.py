"""Machines behind a router that loses what it is told to lose.

    gateway 10.99.0.1 ──cable── 10.99.0.2 router 10.98.0.1 ──east── 10.98.0.2 machines

What is lost is lost on the way: neither end's kernel knows.
"""
import subprocess
import unittest

import own_network

TO_GATEWAY, TO_MACHINES = "cable", "east"  # By the router's device that it leaves by.


def _need(run, *command):
    """Runs what not every kernel can."""
    try:
        run(*command)
    except subprocess.CalledProcessError as e:
        raise unittest.SkipTest(f"not on this machine: {' '.join(command)}: "
                                f"{e.stderr.decode().strip()}") from None


class FarCountry:
    """What runs `under` it reaches this network's 10.99.0.0/24 by the router."""

    def __init__(self):
        self._router, self._land = own_network.Neighbour(), own_network.Place()
        self.under = self._land.under
        _need(self._router.run, "ip", "link", "add", "east", "type", "veth",
              "peer", "name", "cable", "netns", self._land.pid)
        for place, device, address in ((self._router, "east", "10.98.0.1"),
                                       (self._land, "cable", "10.98.0.2")):
            place.run("ip", "address", "add", f"{address}/24", "dev", device)
            place.run("ip", "link", "set", device, "up")
        _need(self._router.run, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        self._land.run("ip", "route", "add", "default", "via", "10.98.0.1")
        own_network.run("ip", "route", "add", "10.98.0.0/24", "via", own_network.Neighbour.ADDRESS)

    def lose(self, *directions, share=1.0):
        """From now on, until heal(): so much of what goes there."""
        chance = ("-m", "statistic", "--mode", "random", "--probability", str(share))
        for device in directions:
            _need(self._router.run, "iptables", "-A", "FORWARD", "-o", device,
                  *(chance if share < 1 else ()), "-j", "DROP")

    def heal(self):
        """Nothing is lost any more; how many packets were."""
        rules = subprocess.run([*self._router.under, "iptables", "-L", "FORWARD", "-vnx"],
                               check=True, stdin=subprocess.DEVNULL, capture_output=True,
                               text=True).stdout
        self._router.run("iptables", "-F", "FORWARD")
        return sum(int(line.split()[0]) for line in rules.splitlines() if "DROP" in line)

    def narrow(self, rate):
        """Both directions carry no more than that, "64kbit" say."""
        for device in (TO_GATEWAY, TO_MACHINES):
            _need(self._router.run, "tc", "qdisc", "replace", "dev", device, "root", "tbf",
                  "rate", rate, "burst", "4kb", "latency", "2s")

    def widen(self):
        for device in (TO_GATEWAY, TO_MACHINES):
            self._router.run("tc", "qdisc", "del", "dev", device, "root")

    def end(self):
        self._land.end()
        self._router.end()
