"""What takes minutes: default times, thousands of agents, a gateway that stands still.

Only with MUSTER_LONG_TESTS=1 (tools/test --full)."""
import os
import signal
import time
import unittest

import muster_e2e
from swarm_presence_test import FleetCase

AGENTS = int(os.environ.get("MUSTER_LONG_AGENTS", 5000))
DEFAULTS = {"heartbeat_interval": "30s", "stale_after": "75s", "offline_after": "120s",
            "reconnect_grace": "5s", "blind_gap": "2s"}
# Until all of them are online, while one core makes certificates and shakes hands.
ENROLLED_WITHIN_S = 60 + AGENTS / 20


@unittest.skipUnless(muster_e2e.LONG, "only with tools/test --full")
class SwarmLongTest(FleetCase):
    def test_a_thousand_agents_stay_online_for_minutes(self):
        self.thousand_for(180)

    def test_nobody_pays_for_a_gateway_that_stands_still(self):
        gateway = self.start_gateway(connections_per_source_max=2 * AGENTS, **DEFAULTS)
        swarm = self.start_swarm(gateway, AGENTS, duration="60m")
        self.wait_online(gateway, AGENTS, ENROLLED_WITHIN_S)
        before = gateway.transitions()
        for pause_s in (8, 30):
            self.stand_still(gateway, pause_s)
            self.settle(gateway, 20)
            self.assertEqual(gateway.transitions(), before)
            self.assertEqual(gateway.counts()["online"], AGENTS)
        swarm.stop(within_s=60)

    def stand_still(self, gateway, seconds):
        gateway.program.freeze()
        time.sleep(seconds)
        gateway.program.send(signal.SIGCONT)
        gateway.wait_ready(30)
        print(f"stood still for {seconds} s: {gateway.counts()}")

    def settle(self, gateway, seconds):
        """Whoever lost their link has it again, and nobody is judged late."""
        self.wait_until(lambda: self.links(gateway) >= AGENTS, 120, "all are linked")
        time.sleep(seconds)

    @staticmethod
    def links(gateway):
        return gateway.get("/api/status")["links"]


if __name__ == "__main__":
    muster_e2e.main()
