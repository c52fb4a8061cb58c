"""The minutes of swarm_presence_test.py."""
import unittest

import muster_e2e
from swarm_presence_test import FleetCase


class SwarmLongTest(FleetCase):
    @unittest.skipUnless(muster_e2e.LONG, "only with tools/test --full")
    def test_a_thousand_agents_stay_online_for_minutes(self):
        self.thousand_for(180)


if __name__ == "__main__":
    muster_e2e.main()
