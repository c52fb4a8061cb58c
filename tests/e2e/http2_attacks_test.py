"""Published attacks on gRPC's HTTP/2, against the real gateway.

A stranger, who has no certificate of the fleet, achieves nothing. A machine that has joined can
cost its gateway time and memory: what it costs is shown here and bounded by the memory that the
gateway's unit may have; when that is used up the gateway dies, comes back, and nobody's status has
changed.

OPEN, with gRPC 1.51: nothing names such a machine or shuts it out; it may try again. And a header
block without end is worked off by one of gRPC's threads in a time that grows with its square (4 MiB
of padding: 4 s). There are as many of them as half the processors, at least two: whoever keeps all
of them busy, with as many connections, makes nobody heard. On two processors 4 MiB on each of two
connections made 20 honest machines stale at a lease of 2.5 s, falsely. The doses here are smaller.
"""
import contextlib
import json
import os
import pathlib
import re
import socket
import ssl
import time
import tomllib
import unittest

import http2
import muster_e2e
from muster_e2e import wait_until

AGENTS = 20
# A dose costs a second of processor time, and the machine may be busy.
LEASES = {"stale_after": "5s", "offline_after": "8s"}
OFFLINE_AFTER_S = 8
MIB = 1 << 20


class Memory:
    """A bound on what one program may have, as MemoryMax= of a unit is."""

    def __init__(self, limit_bytes):
        root = self.root()
        if root is None:
            raise unittest.SkipTest("no memory controller to be used here")
        self.group = root / f"muster-test-{os.getpid()}"
        self.group.mkdir()
        first = self.group / "memory.limit_in_bytes"
        (first if first.exists() else self.group / "memory.max").write_text(str(limit_bytes))

    @staticmethod
    def root():
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            at, kind = line.split()[4], line.partition(" - ")[2]
            v1 = re.match(r"cgroup .*\bmemory\b", kind)
            v2 = kind.startswith("cgroup2") and "memory" in pathlib.Path(
                at, "cgroup.subtree_control").read_text()
            if (v1 or v2) and os.access(at, os.W_OK):
                return pathlib.Path(at)
        return None

    def under(self):
        """What makes a program begin its life in there."""
        return ["sh", "-c", f"echo $$ > {self.group}/cgroup.procs; exec \"$@\"", "sh"]

    def remove(self):
        with contextlib.suppress(OSError):
            self.group.rmdir()


class AttackTest(muster_e2e.TestCase):
    def begin(self, **options):
        """Honest machines, all online, and what they and the gateway were before."""
        self.gateway = self.gateway_of(**options)
        self.swarm = self.start_online(self.gateway, AGENTS, within_s=30)

    def gateway_of(self, **options):
        return self.start_gateway(**LEASES, **options)

    def cost(self, what, attack):
        """Runs it: (bytes taken, KiB more memory at most, seconds of CPU), until it is over."""
        program = self.gateway.program
        memory, cpu = program.memory_kib(), program.cpu_s()
        pathlib.Path(f"/proc/{program.pid}/clear_refs").write_text("5")  # The peak begins anew.
        sent = attack()
        self.assertTrue(self.ready(), f"the gateway answers after: {what}")
        wait_until(self.idle, 60, f"the gateway has got over: {what}")
        cost = sent, self.peak_kib() - memory, program.cpu_s() - cpu
        print(f"  {what}: {sent >> 10} KiB taken, {cost[1]} KiB more memory, {cost[2]:.2f} s CPU",
              flush=True)
        return cost

    def peak_kib(self):
        status = pathlib.Path(f"/proc/{self.gateway.program.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1])

    def idle(self):
        """None of its threads wants a processor, for as long as a few heartbeats' turns."""
        tasks = pathlib.Path(f"/proc/{self.gateway.program.pid}/task")
        for _ in range(10):
            for task in tasks.iterdir():
                with contextlib.suppress(OSError):
                    if (task / "stat").read_text().rpartition(")")[2].split()[0] == "R":
                        return False
            time.sleep(0.01)
        return True

    def ready(self):
        with contextlib.suppress(OSError):
            return self.gateway.call("GET", "/ready", timeout_s=5).status == 200

    def honest_are_untouched(self):
        """Longer than a lease later: nobody's status, and nobody's link."""
        time.sleep(OFFLINE_AFTER_S + 0.5)  # Who was not heard would show it.
        self.assertEqual(self.gateway.counts()["online"], AGENTS)
        self.nobody_worsened(self.gateway)

    def swarm_tells(self):
        """What the honest ones saw."""
        self.swarm.stop(20)
        told = json.loads(self.swarm.text())
        print(f"  {AGENTS} honest machines: {told['heartbeats']} heartbeats, answered after "
              f"{told['ack_p50_ms']:.1f} ms (median), {told['ack_max_ms']:.0f} ms (most)",
              flush=True)
        return told


class StrangerTest(AttackTest):
    def test_a_stranger_achieves_nothing(self):
        self.begin()
        sent, connections = 0, 0
        program = self.gateway.program
        memory, cpu = program.memory_kib(), program.cpu_s()
        for version in (None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            tls = http2.context(version=version) if version else None
            for parts in http2.ATTACKS.values():
                for _ in range(5):
                    sent += http2.attack(self.gateway.fleet_port, tls, parts())
                    connections += 1
        grown, used = program.memory_kib() - memory, program.cpu_s() - cpu
        print(f"  {connections} connections, {sent >> 10} KiB into the kernel's buffers; gateway: "
              f"{grown} KiB more memory, {used:.2f} s CPU", flush=True)
        self.assertLess(grown, 24 << 10)
        self.assertLess(used / connections, 0.05)
        self.assertTrue(self.ready())
        self.honest_are_untouched()
        told = self.swarm_tells()
        self.assertEqual(told["not_all_longest_s"], 0)
        self.assertEqual(told["links_opened"], AGENTS)

    def test_who_never_finishes_a_handshake_is_hung_up_on(self):
        self.begin()
        before = self.gateway.program.descriptors()
        with contextlib.ExitStack() as held:
            silent = []
            for n in range(200):
                one = held.enter_context(socket.create_connection(
                    ("127.0.0.1", self.gateway.fleet_port), 5))
                one.sendall(b"\x16\x03\x01\x02\x00"[:n % 6])  # None or a part of a first record.
                silent.append(one)
            for one in silent:
                one.settimeout(15)
                with contextlib.suppress(ConnectionError):
                    while one.recv(4096):
                        pass
        wait_until(lambda: self.gateway.program.descriptors() <= before + 2, 15,
                   "what they took is given back")
        self.assertTrue(self.ready())
        self.honest_are_untouched()
        self.assertEqual(self.swarm_tells()["links_opened"], AGENTS)


class ByMember(AttackTest):
    """The attacker is a machine of the fleet."""

    def tls_of_member(self):
        member = self.new_agent()
        joined = member.join(self.gateway.url, self.gateway.create_token())
        self.assertEqual(joined.returncode, 0, joined.stderr)
        certificate = self.folder / "member.pem"
        certificate.write_text(tomllib.loads(
            (member.state_dir / "identity.toml").read_text())["certificate_pem"])
        self.member = member.agent_id
        return http2.context(certificate, member.state_dir / "key.pem")

    def worse(self, gateway):
        """Of the honest: the attacker was never heard, and is offline in time."""
        return gateway.query("SELECT COUNT(*) FROM transitions WHERE to_status IN (?,?) AND "
                             "agent != ?", muster_e2e.STALE, muster_e2e.OFFLINE,
                             getattr(self, "member", ""))[0][0]

    def counts_without_member(self):
        with contextlib.suppress(OSError):
            return sum(m["status"] == "online" for m in self.gateway.agents()
                       if m["agent_id"] != self.member)

    def honest_are_untouched(self):
        time.sleep(OFFLINE_AFTER_S + 0.5)  # Who was not heard would show it.
        self.assertEqual(self.counts_without_member(), AGENTS)
        self.nobody_worsened(self.gateway)


class MemberTest(ByMember):
    def test_a_dose_of_each_costs_what_is_shown_and_changes_nobodys_status(self):
        self.begin()
        tls = self.tls_of_member()
        self.worse_before = self.worse(self.gateway)  # The member has not been heard yet.
        for what, parts in http2.ATTACKS.items():
            with self.subTest(what):
                sent, grown, cpu = self.cost(what, lambda p=parts: http2.attack(
                    self.gateway.fleet_port, tls, p()))
                self.assertGreater(sent, 0)  # It was let in.
                self.assertLess(grown, 192 << 10)
                self.assertLess(cpu, 1)
                self.nobody_worsened(self.gateway)
        self.assertTrue(self.gateway.program.running())
        self.honest_are_untouched()
        told = self.swarm_tells()
        self.assertLess(told["ack_max_ms"], 5000)  # stale_after.
        self.assertEqual(told["links_opened"], AGENTS)


class MemoryTest(ByMember):
    LIMIT = 192 * MIB

    def gateway_of(self, **options):
        self.memory = Memory(self.LIMIT)
        self.addCleanup(self.memory.remove)
        gateway = self.new_gateway(**LEASES, **options)
        gateway.under = self.memory.under()
        gateway.start()
        return gateway

    def test_beyond_its_memory_the_gateway_dies_and_comes_back_and_nobodys_status_has_changed(self):
        self.begin()
        tls = self.tls_of_member()
        self.worse_before = self.worse(self.gateway)
        until = time.monotonic() + 60
        while self.gateway.program.running() and time.monotonic() < until:
            http2.attack(self.gateway.fleet_port, tls, http2.too_many_streams(50_000))
        self.assertEqual(self.gateway.program.wait(1), -9)  # The bound holds, and is that of one.
        self.gateway.start()
        wait_until(lambda: self.counts_without_member() == AGENTS, 20, "all are back")
        self.honest_are_untouched()
        self.assertGreater(self.swarm_tells()["links_opened"], AGENTS)


if __name__ == "__main__":
    muster_e2e.main()
