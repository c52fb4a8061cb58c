"""A gateway without descriptors keeps whom it has, and serves again when they are back."""
import contextlib
import http.client
import socket
import time

import muster_e2e


class ExhaustionTest(muster_e2e.TestCase):
    """The gateway has few descriptors, and somebody takes them all."""

    DESCRIPTORS = 256
    AGENTS = 20

    def take_all(self, gateway, port, until):
        """Connections to `port` that say nothing, until the gateway has `until` open."""
        taken = contextlib.ExitStack()
        self.addCleanup(taken.close)
        for _ in range(2 * self.DESCRIPTORS):
            one = taken.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.settimeout(0.2)
                one.connect(("127.0.0.1", port))
        self.wait_until(lambda: gateway.program.descriptors() >= until, 3, "all are taken")
        return taken

    def web_answers(self, gateway):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return gateway.call("GET", "/ready", timeout_s=2).status == 200

    def exhaust(self, port, gateway, until, meanwhile):
        taken = self.take_all(gateway, port, until)
        meanwhile()
        time.sleep(6)  # Longer than offline_after: who lost a link would show it.
        self.assertTrue(gateway.program.running())
        taken.close()
        self.wait_until(lambda: self.web_answers(gateway), 15, "the web port answers again")
        self.assertEqual(gateway.counts()["online"], self.AGENTS)
        self.nobody_worsened(gateway)
        self.start_swarm(gateway, 1, name_prefix="late")
        self.wait_online(gateway, self.AGENTS + 1, 20)
        self.nobody_worsened(gateway)

    def start_full(self):
        gateway = self.start_gateway(descriptors=self.DESCRIPTORS)
        self.start_online(gateway, self.AGENTS, within_s=20)
        return gateway

    def test_a_flooded_fleet_port_leaves_the_web_port_its_part_and_serves_again(self):
        gateway = self.start_full()
        # It keeps 64 free for everything else.
        self.exhaust(gateway.fleet_port, gateway, self.DESCRIPTORS - 64 - 8,
                     meanwhile=lambda: self.assertTrue(self.web_answers(gateway)))

    def test_a_flooded_web_port_serves_again(self):
        gateway = self.start_full()
        self.exhaust(gateway.web_port, gateway, self.DESCRIPTORS - 4,
                     meanwhile=lambda: self.assertFalse(self.web_answers(gateway)))


if __name__ == "__main__":
    muster_e2e.main()
