"""What an agent can meet on its way to the gateway, each as a real fault, and the
class that its log has for it. Those that need no fault of the network stand
elsewhere: refused (runbook_test.py), refused_by_gateway (bad_input_test.py).
"""
import pathlib
import re
import socket
import ssl
import subprocess
import threading

import muster_e2e
import own_network
from muster_e2e import wait_until
from relay import Relay


class FailuresTest(muster_e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.gateway = self.start_gateway()
        self.agent = self.new_agent()
        joined = self.agent.join(self.gateway.url, self.gateway.create_token())
        self.assertEqual(joined.returncode, 0, joined.stderr)

    def start_towards(self, endpoint):
        """The agent, which believes the fleet port to be there."""
        self.agent.point_to(endpoint)
        self.agent.start()

    def start_online(self):
        self.agent.start()
        self.wait_status(self.gateway, self.agent.agent_id, "online", 10)

    def from_now_on(self, *verdict):
        """What a firewall does with packets to the fleet port."""
        own_network.run("iptables", "-A", "INPUT", "-p", "tcp", "--dport",
                        str(self.gateway.fleet_port), "-j", *verdict)
        self.addCleanup(own_network.run, "iptables", "-F", "INPUT")

    def expect(self, failure, why=""):
        """The log's line for a failed heartbeat, with this class, says `why`."""
        line = rf"msg=heartbeat_failed agent_id={self.agent.agent_id} class=(\w+) (.*)"
        wait_until(lambda: re.search(line, self.agent.text()), 15, "a failed heartbeat")
        said = re.search(line, self.agent.text())
        self.assertEqual(said[1], failure, said[0])
        self.assertIn(why, said[2])

    def test_a_name_without_address_is_dns_failure(self):
        self.start_towards("fleet.nowhere.invalid:7443")
        self.expect("dns_failure", "fleet.nowhere.invalid")

    def test_no_route_is_dial_timeout(self):
        self.start_towards("192.0.2.1:7443")  # Here there is only the loopback.
        self.expect("dial_timeout", "unreachable")

    def test_packets_that_vanish_are_dial_timeout(self):
        self.start_online()
        self.from_now_on("DROP")
        self.expect("dial_timeout", "probe=connect")

    def test_a_reset_is_connection_reset(self):
        self.start_online()
        self.from_now_on("REJECT", "--reject-with", "tcp-reset")
        self.expect("connection_reset", "reset by peer")

    def test_a_connection_that_is_closed_is_eof(self):
        relay = Relay("127.0.0.1", self.gateway.fleet_port)
        self.addCleanup(relay.end)
        self.agent.point_to(f"127.0.0.1:{relay.port}")
        self.start_online()
        relay.cut()
        self.expect("eof")

    def test_another_gateway_is_tls_failure(self):
        self.start_towards(f"127.0.0.1:{self.start_gateway().fleet_port}")
        self.expect("tls_failure", "certificate verify failed")

    def test_a_box_that_ends_tls_is_tls_failure(self):
        self.start_towards(f"127.0.0.1:{self.tls_box()}")
        self.expect("tls_failure", "certificate verify failed")

    def test_a_port_that_speaks_something_else_is_tls_failure(self):
        self.start_towards(f"127.0.0.1:{self.gateway.web_port}")  # Plain HTTP.
        self.expect("tls_failure")

    def test_a_clock_that_is_wrong_is_tls_failure(self):
        library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
        if muster_e2e.SANITIZED or not library:
            self.skipTest("libfaketime is not installed, or the sanitizer must be loaded first")
        self.agent.environment = {"LD_PRELOAD": str(library), "FAKETIME": "+30y",
                                  "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.agent.start()
        self.expect("tls_failure", "certificate verify failed")

    def test_a_deleted_machine_is_told_deregistered_and_stops_trying(self):
        self.start_online()
        agent_id = self.agent.agent_id
        self.assertEqual(self.gateway.call("DELETE", f"/api/agents/{agent_id}").status // 100, 2)
        wait_until(lambda: "join again with a fresh token" in self.agent.text(), 10, "it is told")
        self.assertIn(f"msg=disconnect agent_id={agent_id} class=deregistered",
                      self.agent.text())
        self.assertNotIn("heartbeat_failed", self.agent.text())
        self.assertIsNone(self.agent.agent_id)

    def tls_box(self):
        """The port of one that answers in TLS, with a certificate of its own."""
        key, pem = self.folder / "box.key", self.folder / "box.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", pem,
                        "-subj", "/CN=box", "-addext",
                        "subjectAltName=DNS:gateway.muster.internal"],
                       check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        context.set_alpn_protocols(["h2"])
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)

        def serve():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return  # The end of the test.
                with client:
                    try:
                        context.wrap_socket(client, server_side=True).close()
                    except OSError:
                        pass  # It did not believe us.
        threading.Thread(target=serve, daemon=True).start()
        return server.getsockname()[1]


if __name__ == "__main__":
    own_network.enter()
    muster_e2e.main()
