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
# How long newcomers may be turned away after a stop, and a moment: whole leases run from then.
EXCUSED_S = 60
# Until all of them are online, while one core makes certificates and shakes hands.
ENROLLED_WITHIN_S = 60 + AGENTS / 20


@unittest.skipUnless(muster_e2e.LONG, "only with tools/test --full")
class SwarmLongTest(FleetCase):
    def test_a_thousand_agents_stay_online_for_minutes(self):
        self.thousand_for(180)

    def test_nobody_pays_for_a_gateway_that_stands_still(self):
        """And who is lost meanwhile is offline when it would be had it spoken at the end."""
        gateway = self.start_gateway(connections_per_source_max=2 * AGENTS, **DEFAULTS)
        swarm = self.start_swarm(gateway, AGENTS, duration="60m")
        self.wait_online(gateway, AGENTS, ENROLLED_WITHIN_S)
        before = gateway.transitions()
        for pause_s in (8, 30):
            self.stand_still(gateway, pause_s)
            self.settle(gateway, 20)
            self.assertEqual(gateway.transitions(), before)
            self.assertEqual(gateway.counts()["online"], AGENTS)
        lost = self.start_swarm(gateway, 1, duration="60m", name_prefix="lost")
        self.wait_online(gateway, AGENTS + 1, 60)
        before = gateway.transitions()
        self.stand_still(gateway, 120, meanwhile=lost.kill)
        end = time.monotonic()
        self.settle(gateway, 0)
        print(f"all are linked {time.monotonic() - end:.0f} s after 120 s")
        self.wait_until(lambda: gateway.counts()["offline"] == 1, 120 + EXCUSED_S, "it is offline")
        took = time.monotonic() - end
        print(f"lost while the gateway stood still: offline {took:.0f} s after")
        self.assertGreater(took, 119)
        self.assertEqual(gateway.counts()["online"], AGENTS)
        self.assertEqual(gateway.transitions(), before + 2)
        swarm.stop(within_s=60)

    def stand_still(self, gateway, seconds, meanwhile=lambda: None):
        gateway.program.freeze()
        time.sleep(seconds / 2)
        meanwhile()
        time.sleep(seconds / 2)
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
