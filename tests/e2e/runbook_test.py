"""The lines of the field runbooks, changed only in host, port and token."""
import json
import re
import shutil
import socket
import subprocess
import unittest

import muster_e2e
from muster_e2e import wait_until

# As the runbook has it, down to its quotes and line ends.
RUN = r"""curl -X POST "{url}/api/agents/{agent_id}/commands" \
  -H "Authorization: Bearer {token}" -isS \
  -H "Content-Type: application/json" \
  -d '{{
    "command": "echo \"Hello from command!\"",
    "shell_type": "bash"
  }}'"""
LIST = r"""curl -X GET -sS "{url}/api/agents" -H "Authorization: Bearer {token}" """
HEALTH = r"""curl -s -o /dev/null -w "%{{http_code}}\n" \
{url}/health"""
UNKNOWN_ID = "2ee09ba5-e227-400b-993e-6a97faaff50d"


def shell(line, gateway, agent_id=""):
    """The output of a line of the runbook."""
    line = line.format(url=gateway.url, token=gateway.token, agent_id=agent_id)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise AssertionError(f"{line}\n-> {done.returncode} {done.stderr}")
    return done.stdout


def post(line, gateway, agent_id):
    """(status, headers, JSON) of a line with curl -i."""
    head, _, body = shell(line, gateway, agent_id).replace("\r\n", "\n").partition("\n\n")
    first, *headers = head.split("\n")
    return (int(first.split()[1]), dict(h.split(": ", 1) for h in headers), json.loads(body))


def status_of(gateway, agent_id):
    listed = json.loads(shell(LIST, gateway))["agents"]
    return [a["status"] for a in listed if a["agent_id"] == agent_id][0]


class RunbookTest(muster_e2e.TestCase):
    def test_a_machine_that_stops_and_starts_is_told_apart_at_every_step(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        agent_id = agent.agent_id
        self.assertEqual(shell(HEALTH, gateway), "200\n")
        self.assertEqual(status_of(gateway, agent_id), "online")

        status, headers, command = post(RUN, gateway, agent_id)
        self.assertEqual((status, command["state"]), (202, "queued"))
        self.assertEqual(headers["Location"], f"/api/commands/{command['command_id']}")
        ended = gateway.get(headers["Location"] + "?wait=10s")
        self.assertEqual((ended["state"], ended["exit_code"]), ("succeeded", 0))
        output = gateway.call("GET", headers["Location"] + "/output/stdout")
        self.assertEqual(output.body, "Hello from command!\n")

        self.assertEqual(agent.stop()[0], 0)
        self.expect_unreachable(gateway, agent_id, "stale",
                                "agent stops, expected back within 30 s")
        unknown, _, problem = post(RUN, gateway, UNKNOWN_ID)
        self.assertEqual((unknown, problem["code"]), (404, "not_found"))
        self.assertIn(UNKNOWN_ID, problem["detail"])

        agent.start()
        self.wait_status(gateway, agent_id, "online", 5)
        self.assertEqual([a["agent_id"] for a in gateway.agents()], [agent_id])
        self.assertEqual(post(RUN, gateway, agent_id)[0], 202)

    def expect_unreachable(self, gateway, agent_id, status, summary):
        last_seen = gateway.get(f"/api/agents/{agent_id}")["last_seen"]
        answered, _, problem = post(RUN, gateway, agent_id)
        self.assertEqual((answered, problem["code"]), (400, "agent_unreachable"))
        shown = last_seen[:19].replace("T", " ")
        self.assertRegex(problem["detail"], rf"^\S+ is {status} for \d+ s, since ")
        self.assertIn(f"(last heartbeat {shown} UTC)", problem["detail"])
        self.assertIn(summary, problem["detail"])

    def test_a_machine_that_dies_goes_offline_and_the_gateway_says_so(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        agent.kill()
        self.wait_status(gateway, agent.agent_id, "offline", 10)
        self.expect_unreachable(gateway, agent.agent_id, "offline", "link closed, no goodbye")
        log = gateway.program.text()
        self.assertRegex(log, "marked 1 agents as offline")
        offline = [line for line in log.splitlines() if '"machine offline"' in line]
        self.assertEqual(len(offline), 1, log)
        self.assertIn(f"agent_id={agent.agent_id}", offline[0])
        self.assertRegex(offline[0], r'last_heartbeat="\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"')

    def test_the_agents_log_has_the_words_that_are_searched_for(self):
        gateway = self.start_gateway()
        agent = self.new_agent()
        joined = agent.join(gateway.url, gateway.create_token())
        self.assertRegex(joined.stderr, rf"msg=registered agent_id={agent.agent_id}")
        agent.start()
        self.wait_status(gateway, agent.agent_id, "online", 10)
        wait_until(lambda: agent.text().count("msg=heartbeat_sent") >= 3, 5, "heartbeats")
        gateway.kill()
        # The first failure may still see the dying process; the next finds nobody there.
        refused = rf"msg=heartbeat_failed agent_id={agent.agent_id} class=refused"
        wait_until(lambda: re.search(refused, agent.text()), 10, "a refused heartbeat")
        self.assertRegex(agent.text(), rf"msg=disconnect agent_id={agent.agent_id} class=\w+")

    def test_a_log_in_json_has_the_same_words_one_object_a_line(self):
        gateway = self.start_gateway()
        agent = self.new_agent()
        joined = agent.join(gateway.url, gateway.create_token(), "--log-format", "json")
        agent.arguments = ["--log-format", "json"]
        agent.start()
        self.wait_status(gateway, agent.agent_id, "online", 10)
        gateway.kill()
        wait_until(lambda: '"class":"refused"' in agent.text(), 10, "a refused heartbeat")
        agent.stop()
        lines = self.json_lines(joined.stderr + agent.text())
        said = {line["msg"]: line for line in lines}
        for word in ("registered", "heartbeat_sent", "disconnect", "heartbeat_failed"):
            self.assertEqual(said[word]["agent_id"], agent.agent_id, word)
            self.assertRegex(said[word]["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(said["heartbeat_failed"]["class"], "refused")

    def json_lines(self, log):
        for line in log.splitlines():
            self.assertRegex(line, r"^\{.*\}$")
        return [json.loads(line) for line in log.splitlines()]

    def test_what_the_libraries_say_is_in_the_format_of_the_log_too(self):
        gateway = self.start_gateway(log_format="json")
        agent = self.new_agent()
        joined = agent.join(gateway.url, gateway.create_token())
        self.assertEqual(joined.returncode, 0, joined.stderr)
        agent.point_to(f"127.0.0.1:{gateway.web_port}")  # No TLS.
        agent.arguments = ["--log-format", "json"]
        agent.start()
        wait_until(lambda: '"class":"tls_failure"' in agent.text(), 10, "nobody understands it")
        agent.stop()
        self.assertIn("Handshake failed", str(self.json_lines(agent.text())))
        with socket.create_connection(("127.0.0.1", gateway.fleet_port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
            stranger.settimeout(10)
            stranger.recv(100)
        gateway.stop()
        self.json_lines(re.sub(r"(?m)^Admin token: .*\n", "", gateway.program.text()))

    def test_a_heartbeat_is_sent_at_once_when_asked_for(self):
        gateway = self.start_gateway(heartbeat_interval="30s", stale_after="75s",
                                     offline_after="120s")
        agent = self.start_agent(gateway)
        for words in (["agent", "--send-heartbeat-now"], ["--send-heartbeat-now"],
                      ["heartbeat-now"]):
            said = agent.verb(*words)
            self.assertEqual(said.returncode, 0, said.stderr)
            self.assertRegex(said.stdout, r"^heartbeat \d+ acknowledged in \S+\n$")
        # The gateway was away: the agent waits before it dials again, unless asked.
        gateway.kill()
        wait_until(lambda: "msg=heartbeat_failed" in agent.text(), 10, "the link is lost")
        said = agent.verb("agent", "--send-heartbeat-now")
        self.assertEqual(said.returncode, 1)
        self.assertRegex(said.stderr, "^error: not delivered: class=refused: ")
        gateway.start()
        self.assertEqual(agent.verb("agent", "--send-heartbeat-now").returncode, 0)
        self.wait_status(gateway, agent.agent_id, "online", 1)
        agent.stop()
        said = agent.verb("agent", "--send-heartbeat-now")
        self.assertEqual(said.returncode, 3)
        self.assertIn("no agent is running here", said.stderr)

    def test_wiped_state_needs_a_fresh_token_and_gets_a_new_id(self):
        gateway = self.start_gateway()
        token = gateway.create_token()
        agent = self.new_agent()
        self.assertEqual(agent.join(gateway.url, token).returncode, 0)
        former = agent.agent_id
        # Saved state is kept: joining again needs nothing and changes nothing.
        again = agent.join(gateway.url, "")
        self.assertEqual((again.returncode, agent.agent_id), (0, former))
        self.assertRegex(again.stdout, f"^Already joined to {gateway.url} as")
        shutil.rmtree(agent.state_dir)

        without = agent.join(gateway.url, "")
        self.assertEqual(without.returncode, 2)
        self.assertIn("MUSTER_TOKEN, MUSTER_TOKEN_FILE or with --token-stdin", without.stderr)
        used = agent.join(gateway.url, token)
        self.assertEqual(used.returncode, 1)
        self.assertRegex(used.stderr, r"refused the registration: token_refused: .*used")
        self.assertIsNone(agent.agent_id)

        self.assertEqual(agent.join(gateway.url, gateway.create_token()).returncode, 0)
        self.assertNotEqual(agent.agent_id, former)
        agent.start()
        self.wait_status(gateway, agent.agent_id, "online", 10)
        self.assertEqual(gateway.run(agent.agent_id, "true")["state"], "succeeded")

    def test_the_printed_line_is_all_that_a_machine_needs(self):
        gateway = self.start_gateway()
        agent = self.new_agent()
        agent.start()  # As the package does; it waits until the machine has joined.
        answer = gateway.call("POST", "/api/tokens", {})
        script = answer.data["join_script"]
        self.assertRegex(script, r"\Amuster-agent join .*<<'TOKEN'\n\S+\nTOKEN\n\Z")
        self.assertNotIn(answer.data["secret"], re.split("<<", script)[0])
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30,
                              env={"PATH": f"{muster_e2e.BUILD}/bin:/usr/bin:/bin",
                                   "MUSTER_STATE_DIR": str(agent.state_dir)})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.wait_status(gateway, agent.agent_id, "online", 10)


if __name__ == "__main__":
    muster_e2e.main()
