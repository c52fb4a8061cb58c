"""Twenty machines at the times that everybody has by default."""
import time
import unittest

import harness
import muster_e2e


class DefaultTimesTest(harness.TestCase):
    times = harness.DEFAULT

    @unittest.skipUnless(muster_e2e.LONG, "only with tools/test --full")
    def test_a_gateway_stopped_and_killed_at_default_times_costs_nobody(self):
        self.begin(healthy=19)
        with self.gateway_stopped():
            time.sleep(30)
        time.sleep(self.times["heartbeat_interval"])
        self.kill_gateway(meanwhile=lambda: time.sleep(10))
        self.wait_until(lambda: self.gateway.get("/api/status")["links"] == 20, 90, "20 links")
        self.lose()
        with self.gateway_stopped():
            time.sleep(120)
        self.end(judge=["P12", "D1"], within_s=90)
        self.expect_untouched(self.healthy)
        self.expect_lost(self.lost)


if __name__ == "__main__":
    harness.main()
