"""The two ports: IPv6, TLS and pins, and how the programs end."""
import concurrent.futures
import contextlib
import html
import http.client
import json
import re
import shlex
import signal
import socket
import ssl
import subprocess

import muster_e2e
from muster_e2e import wait_until


def pin_of(gateway):
    """"sha256//…" as the gateway hands it out with a token."""
    return gateway.call("POST", "/api/tokens", {}).data["web_pin"]


class AddressTest(muster_e2e.TestCase):
    def test_ipv6_serves_both_ports(self):
        gateway = self.start_gateway(address="::1")
        agent = self.start_agent(gateway)
        self.assertIn(f'endpoint = "[::1]:{gateway.fleet_port}"',
                      (agent.state_dir / "identity.toml").read_text().replace("'", '"'))
        ended = gateway.run(agent.agent_id, "echo six")
        self.assertEqual(ended["state"], "succeeded")
        shown = gateway.get(f"/api/agents/{agent.agent_id}")
        self.assertEqual(shown["address"], "::1")

    def test_the_public_address_is_where_machines_are_told_to_dial(self):
        gateway = self.start_gateway(public_address="localhost")
        agent = self.start_agent(gateway)
        self.assertIn(f"localhost:{gateway.fleet_port}",
                      (agent.state_dir / "identity.toml").read_text())


class TlsTest(muster_e2e.TestCase):
    def test_a_pin_is_all_that_joining_over_tls_needs(self):
        gateway = self.start_gateway(address="0.0.0.0")
        pin = pin_of(gateway)
        self.assertRegex(pin, r"^sha256//[A-Za-z0-9+/]{43}=$")
        agent = self.start_agent(gateway, "--pin", pin)
        self.assertEqual(gateway.run(agent.agent_id, "true")["state"], "succeeded")

        listed = muster_e2e.run_once(
            "musterctl", "--server", gateway.url, "--pin", pin, "agents", "ls", "-o", "name",
            environment={"MUSTER_TOKEN": gateway.token, "HOME": str(self.folder)})
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertEqual(len(listed.stdout.split()), 1)

        curl = subprocess.run(["curl", "-sS", "-k", "--pinnedpubkey", pin, gateway.url + "/health"],
                              capture_output=True, text=True, timeout=10)
        self.assertEqual((curl.returncode, curl.stdout), (0, '{"status":"ok"}\n'), curl.stderr)

    def test_another_pin_is_refused_and_both_are_named(self):
        gateway = self.start_gateway(address="0.0.0.0")
        pin, wrong = pin_of(gateway), "sha256//" + 43 * "A" + "="
        joined = self.new_agent().join(gateway.url, gateway.create_token(), "--pin", wrong)
        self.assertEqual(joined.returncode, 1)
        self.assertIn(wrong, joined.stderr)
        self.assertIn(pin, joined.stderr)
        asked = muster_e2e.run_once(
            "musterctl", "--server", gateway.url, "--pin", wrong, "agents", "ls",
            environment={"MUSTER_TOKEN": gateway.token, "HOME": str(self.folder)})
        self.assertNotEqual(asked.returncode, 0)
        self.assertIn(wrong, asked.stderr)
        self.assertIn(pin, asked.stderr)

    def test_without_a_pin_an_unknown_authority_is_not_believed(self):
        gateway = self.start_gateway(address="0.0.0.0")
        agent = self.new_agent()
        joined = agent.join(gateway.url, gateway.create_token())
        self.assertEqual(joined.returncode, 1)
        self.assertRegex(joined.stderr, "(?m)^error: .*--pin")
        self.assertIsNone(agent.agent_id)

    def test_its_own_certificate_is_for_the_addresses_of_this_host_too(self):
        gateway = self.start_gateway(address="0.0.0.0")
        trusting = ssl.create_default_context(cafile=gateway.data_dir / "ca/ca.pem")
        for host in ("127.0.0.1", "localhost", socket.gethostname()):
            with socket.create_connection(("127.0.0.1", gateway.web_port), 5) as plain, \
                    trusting.wrap_socket(plain, server_hostname=host) as tls:
                named = {name for _, name in tls.getpeercert()["subjectAltName"]}
        self.assertIn("0:0:0:0:0:0:0:1", named)

    def test_a_gateway_that_cannot_be_believed_is_one_that_cannot_be_reached(self):
        gateway = self.start_gateway(address="0.0.0.0")
        asked = muster_e2e.run_once(
            "musterctl", "--server", gateway.url, "-o", "json", "agents", "ls",
            environment={"MUSTER_TOKEN": gateway.token, "HOME": str(self.folder)})
        self.assertEqual(json.loads(asked.stderr)["code"], "unavailable")

    def test_a_token_does_not_cross_the_network_readable(self):
        joined = self.new_agent().join("http://192.0.2.1:7080", "mst_join_x")
        self.assertEqual(joined.returncode, 2)
        self.assertIn("--server: the token would cross the network readable; use https://",
                      joined.stderr)


class PageTest(muster_e2e.TestCase):
    def test_the_page_says_how_to_sign_in(self):
        gateway = self.start_gateway()
        page = gateway.call("GET", "/", token="").body
        lines = html.unescape(re.search(r"(?s)<pre>(.*?)</pre>", page)[1]).splitlines()
        for line in lines:
            words = shlex.split(line.replace("URL-OF-THIS-PAGE", gateway.url)
                                .replace("ADMIN-TOKEN-FILE", f"{gateway.data_dir}/admin-token"))
            done = muster_e2e.run_once(*words, environment={"HOME": str(self.folder)})
            self.assertEqual(done.returncode, 0, (line, done.stderr))


class StopTest(muster_e2e.TestCase):
    def ask(self, gateway, path):
        """A GET that is sent, on its connection."""
        connection = http.client.HTTPConnection(gateway.host, gateway.web_port, timeout=20)
        self.addCleanup(connection.close)
        connection.request("GET", path, headers={"Authorization": f"Bearer {gateway.token}"})
        return connection

    def answer(self, connection):
        """The JSON of its answer, which must say success; then the connection ends."""
        with contextlib.closing(connection):
            response = connection.getresponse()
            self.assertEqual(response.status, 200)
            return json.loads(response.read())

    def test_a_stop_answers_who_waits_and_ends_with_zero(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        command = gateway.call("POST", f"/api/agents/{agent.agent_id}/commands",
                               {"command": "sleep 2; echo late"}).data
        path = f"/api/commands/{command['command_id']}"
        wait_until(lambda: gateway.get(path)["state"] == "running", 10, "the command runs")
        waits = [self.ask(gateway, path + wait) for wait in ("?wait=30s", "/output?wait=30s")]
        gateway.get(path)  # When this is answered, those are waiting.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answers = [pool.submit(self.answer, wait) for wait in waits]
            gateway_code, took = gateway.stop()
            state, output = (answer.result() for answer in answers)
        self.assertEqual(state["state"], "running")
        self.assertEqual(output["command"]["state"], "running")
        self.assertEqual(gateway_code, 0)
        self.assertLess(took, 1)
        self.assertTrue(agent.program.running())
        wait_until(lambda: re.search(r"state=succeeded", agent.text()), 10, "it ended meanwhile")
        gateway.start()
        ended = gateway.get(f"/api/commands/{command['command_id']}?wait=10s", timeout_s=20)
        self.assertEqual((ended["state"], ended["stdout_bytes"]), ("succeeded", 5))
        agent_code, took = agent.stop()
        self.assertEqual(agent_code, 0)
        self.assertLess(took, 2)

    def test_a_second_signal_is_not_waited_for(self):
        gateway = self.start_gateway(drain="1m")
        agent = self.start_agent(gateway)
        agent.program.freeze()  # It will not close its link.
        gateway.program.send(signal.SIGTERM)
        wait_until(lambda: "msg=stopping" in gateway.program.text(), 5, "the stop has begun")
        code, took = gateway.stop()
        self.assertEqual(code, 1)
        self.assertLess(took, 1)
        agent.program.send(signal.SIGCONT)

    def test_an_agent_says_goodbye_only_once(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        gateway.program.freeze()  # It will not hear the goodbye.
        agent.program.send(signal.SIGTERM)
        wait_until(lambda: "msg=stopping" in agent.text(), 5, "the stop has begun")
        code, took = agent.stop()
        self.assertIn(code, (0, 128 + signal.SIGTERM))
        self.assertLess(took, 1)
        gateway.program.send(signal.SIGCONT)

    def test_stop_and_leave_are_heard_by_the_gateway(self):
        gateway = self.start_gateway()
        first, second = self.start_agent(gateway), self.start_agent(gateway)
        self.assertEqual(first.verb("stop").returncode, 0)
        self.assertEqual(first.program.wait(5), 0)
        stopped = self.wait_status(gateway, first.agent_id, "stale", 2)
        self.assertEqual(stopped["cause"], "agent_stopped")
        left_id = second.agent_id
        left = second.verb("leave")
        self.assertEqual((left.returncode, left.stdout),
                         (0, f"left: {left_id} is deregistered, its state is gone\n"))
        self.assertEqual(second.program.wait(5), 0)
        self.assertIsNone(second.agent_id)
        self.assertEqual([a["agent_id"] for a in gateway.agents()], [first.agent_id])
        gone = gateway.call("GET", f"/api/agents/{left_id}")
        self.assertEqual((gone.status, gone.data["code"]), (404, "not_found"))


if __name__ == "__main__":
    muster_e2e.main()
