"""Which way an agent takes to the gateway: a proxy only if it is configured, and a
way that has come back at once.
"""
import re
import time

import muster_e2e
import own_network
from muster_e2e import wait_until
from relay import ConnectProxy


class ProxyTest(muster_e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.gateway = self.start_gateway()
        self.agent = self.new_agent()
        joined = self.agent.join(self.gateway.url, self.gateway.create_token())
        self.assertEqual(joined.returncode, 0, joined.stderr)
        self.proxy = ConnectProxy({"fleet.example:7443": ("127.0.0.1", self.gateway.fleet_port)})
        self.addCleanup(self.proxy.end)
        self.url = f"http://127.0.0.1:{self.proxy.port}"

    def start(self, *arguments, **environment):
        self.agent.arguments = arguments
        self.agent.environment = environment
        self.agent.start()
        self.wait_status(self.gateway, self.agent.agent_id, "online", 10)

    def test_a_configured_proxy_is_asked_for_a_name_that_only_it_knows(self):
        self.agent.point_to("fleet.example:7443")
        self.start("--proxy", self.url)
        self.assertEqual(self.proxy.asked, ["fleet.example:7443"])
        self.assertEqual(self.gateway.run(self.agent.agent_id, "echo through")["state"],
                         "succeeded")

    def test_what_happens_on_the_way_through_a_proxy_is_not_blamed_on_the_direct_one(self):
        self.agent.point_to("fleet.example:7443")
        self.start("--proxy", self.url)
        self.proxy.cut()
        failed = wait_until(lambda: re.search(r"msg=heartbeat_failed .* class=(\w+) .*",
                                              self.agent.text()), 10, "it is noticed")
        self.assertEqual(failed[1], "eof", failed[0])

    def test_proxies_of_the_environment_are_used_only_when_the_setting_says_env(self):
        environment = {name: self.url for name in
                       ("grpc_proxy", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
        self.start(**environment)
        self.assertEqual(self.proxy.asked, [])
        self.agent.stop()
        self.agent.point_to("fleet.example:7443")
        self.start("--proxy", "env", **environment)
        self.assertEqual(self.proxy.asked, ["fleet.example:7443"])


class RouteTest(muster_e2e.TestCase):
    """At ordinary times: pauses grow to 30 s."""

    def test_a_route_that_comes_back_ends_the_wait(self):
        machine = own_network.Neighbour()
        self.addCleanup(machine.end)
        gateway = self.start_gateway(address="0.0.0.0", public_address=machine.OURS,
                                     heartbeat_interval="30s",
                                     stale_after="75s", offline_after="120s")
        agent = self.new_agent()
        agent.under = machine.under
        joined = agent.join(f"https://{machine.OURS}:{gateway.web_port}", gateway.create_token(),
                            "--ca-file", gateway.data_dir / "ca/ca.pem")
        self.assertEqual(joined.returncode, 0, joined.stderr)
        machine.plug(False)
        agent.start()
        wait_until(lambda: self.pause_of(agent) > 4, 60, "it waits for long")
        self.assertRegex(agent.text(), "class=dial_timeout .*unreachable")
        begin = time.monotonic()
        machine.plug(True)
        wait_until(lambda: "msg=connected" in agent.text(), 2, "it dials before its time")
        print(f"  connected {time.monotonic() - begin:.2f} s after the route, "
              f"{self.pause_of(agent)} s were left", flush=True)

    @staticmethod
    def pause_of(agent):
        """Seconds until the next dial, as said last."""
        said = re.findall(r"msg=heartbeat_failed .* retry_in=(\S+)", agent.text())
        parts = re.fullmatch(r"(?:(\d+)m)?(?:([\d.]+)s)?", said[-1].strip('"')) if said else None
        return 60 * int(parts[1] or 0) + float(parts[2] or 0) if parts else 0


if __name__ == "__main__":
    own_network.enter()
    muster_e2e.main()
