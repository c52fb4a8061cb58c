"""A whole fleet and a real gateway: it stays online, and costs nobody their status
when the gateway dies, when every link breaks at once, and when nothing happens."""
import json
import time

import muster_e2e

# A REST list of 100 machines, while two busy cores carry the whole fleet.
RESPONSIVE_S = 1.0


def summary(swarm):
    """What the swarm says of itself at the end of its run."""
    return json.loads(swarm.text())


class FleetCase(muster_e2e.TestCase):
    def stays_online(self, gateway, agents, seconds):
        """Watches; nobody may leave `online`, and the list must answer in time."""
        before = gateway.transitions()
        slowest = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.monotonic()
            answer = gateway.get("/api/agents?limit=100")
            slowest = max(slowest, time.monotonic() - begin)
            self.assertEqual(answer["counts"]["online"], agents, answer["counts"])
            time.sleep(0.2)
        self.assertEqual(gateway.transitions(), before)
        self.assertLess(slowest, RESPONSIVE_S)
        return slowest

    def thousand_for(self, seconds):
        gateway = self.start_gateway()
        empty_kib = gateway.program.memory_kib()
        swarm = self.start_online(gateway, 1000, within_s=60)
        cpu_s = gateway.program.cpu_s()
        slowest = self.stays_online(gateway, 1000, seconds)
        cpu_s = gateway.program.cpu_s() - cpu_s
        kib = (gateway.program.memory_kib() - empty_kib) / 1000
        swarm.stop(within_s=20)
        told = summary(swarm)
        self.assertEqual(told["online_min"], 1000)
        self.assertEqual(told["links_opened"], 1000, told["links_lost"])
        print(f"1000 online for {seconds} s: list {slowest * 1000:.0f} ms at most, gateway "
              f"{kib:.0f} KiB per link and {cpu_s / seconds * 100:.0f} % of a core, all online "
              f"after {told['all_online_after_s']:.1f} s, ack p50 {told['ack_p50_ms']} ms")


class SwarmPresenceTest(FleetCase):
    def test_a_thousand_agents_stay_online(self):
        self.thousand_for(20)

    def test_shutdown_with_a_hundred_links_takes_less_than_a_second(self):
        gateway = self.start_gateway()
        self.start_online(gateway, 100, within_s=30)
        code, seconds = gateway.stop()
        print(f"stopped in {seconds * 1000:.0f} ms")
        self.assertEqual(code, 0)
        self.assertLess(seconds, 1)

    def test_a_killed_gateway_finds_all_its_machines_again(self):
        # A lease must hold 300 handshakes on whatever this machine has left.
        gateway = self.start_gateway(stale_after="6s", offline_after="9s")
        swarm = self.start_online(gateway, 300, within_s=30)
        before = gateway.transitions()
        gateway.kill()
        begin = time.monotonic()
        gateway.start()
        self.wait_until(lambda: gateway.get("/api/status")["links"] == 300, 30, "300 links")
        print(f"300 links again {time.monotonic() - begin:.1f} s after kill -9")
        self.stays_online(gateway, 300, 10)  # Longer than offline_after.
        self.assertEqual(gateway.transitions(), before)
        swarm.stop(within_s=20)
        self.assertEqual(summary(swarm)["online"], 300)

    def test_a_storm_of_reconnects_worsens_nobody(self):
        gateway = self.start_gateway(stale_after="12s", offline_after="20s", reconnect_grace="10s")
        swarm = self.start_online(gateway, 200, within_s=30, profile="storm", every="4s")
        time.sleep(10)
        self.nobody_worsened(gateway)
        swarm.stop(within_s=20)
        self.assertGreater(summary(swarm)["links_opened"], 2 * 200)


if __name__ == "__main__":
    muster_e2e.main()
