"""Who may join with a registration token, how often, and what becomes of the machine."""
import collections
import concurrent.futures
import contextlib
import http.client
import pathlib
import sqlite3
import subprocess

import muster_e2e
from muster_e2e import wait_until

USES, REQUESTS = 10, 100


class JoinTokensTest(muster_e2e.TestCase):
    def make_csr(self, name):
        """A certificate request with a key of its own, in PEM."""
        subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out",
                        f"{name}.csr", "-subj", "/CN=x"], check=True, capture_output=True,
                       cwd=self.folder, timeout=60)
        return (self.folder / f"{name}.csr").read_text()

    def register(self, gateway, token, csr, hostname="h"):
        return gateway.call("POST", "/api/agents/register", token="", timeout_s=60, body={
            "token": token, "csr_pem": csr, "facts": {"hostname": hostname}})

    def new_token(self, gateway, **wishes):
        answer = gateway.call("POST", "/api/tokens", wishes)
        self.assertEqual(answer.status, 201, answer)
        return answer.data

    def musterctl(self, gateway, *arguments):
        done = muster_e2e.run_once("musterctl", "--server", gateway.url, *arguments,
                                   environment={"MUSTER_TOKEN": gateway.token})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def refused(self, answer, reason):
        self.assertEqual((answer.status, answer.data["code"], answer.data["reason"]),
                         (403, "token_refused", reason), answer)


class UsesTest(JoinTokensTest):
    def setUp(self):
        super().setUp()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            self.csrs = list(pool.map(lambda i: self.make_csr(f"k{i}"), range(REQUESTS)))

    def all_at_once(self, gateway, token):
        """The answer to each request; None where the gateway was not there."""
        def one(i):
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.register(gateway, token, self.csrs[i], f"h{i}")
        with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
            return list(pool.map(one, range(REQUESTS)))

    def outcomes(self, answers):
        return collections.Counter(a.status if a.status == 201 else a.data["reason"]
                                   for a in answers)

    def test_a_hundred_at_once_with_a_token_for_ten_are_exactly_ten(self):
        gateway = self.start_gateway()
        made = self.new_token(gateway, uses_max=USES)
        answers = self.all_at_once(gateway, made["secret"])
        self.assertNotIn(None, answers)
        self.assertEqual(self.outcomes(answers), {201: USES, "used_up": REQUESTS - USES})
        self.assertEqual(gateway.get("/api/tokens")["tokens"][0]["uses"], USES)
        ids = {a.data["agent_id"] for a in answers if a.status == 201}
        self.assertEqual({a["agent_id"] for a in gateway.agents()}, ids)
        self.assertEqual(len(ids), USES)
        refusals = gateway.get("/api/refusals?limit=1000")
        rows = refusals["refusals"]
        self.assertTrue(rows)
        self.assertEqual({(r["reason"], r["address"], r["token_id"]) for r in rows},
                         {("used_up", "127.0.0.1", made["token"]["token_id"])})
        self.assertEqual(len(rows) + int(refusals["not_recorded"]), REQUESTS - USES)

    def test_a_gateway_killed_in_the_middle_admits_no_more_and_repeats_its_answers(self):
        gateway = self.start_gateway()
        secret = self.new_token(gateway, uses_max=USES)["secret"]
        known = {}
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            first = pool.submit(self.all_at_once, gateway, secret)
            wait_until(lambda: gateway.query("SELECT COUNT(*) FROM machines")[0][0] > 0, 60,
                       "the first is admitted", every_s=0.001)
            gateway.kill()
            for i, answer in enumerate(first.result()):
                if answer is not None and answer.status == 201:
                    known[i] = answer.data["agent_id"]
        gateway.start()
        self.assertLessEqual(len(gateway.agents()), USES)
        answers = self.all_at_once(gateway, secret)
        self.assertNotIn(None, answers)
        self.assertEqual(self.outcomes(answers), {201: USES, "used_up": REQUESTS - USES})
        for i, agent_id in known.items():
            self.assertEqual(answers[i].data["agent_id"], agent_id)
        self.assertEqual(len(gateway.agents()), USES)
        self.assertEqual(gateway.get("/api/tokens")["tokens"][0]["uses"], USES)


class LimitsTest(JoinTokensTest):
    def test_from_elsewhere_or_under_another_name_nobody_joins_and_it_is_recorded(self):
        gateway = self.start_gateway()
        csr = self.make_csr("one")
        away = self.new_token(gateway, allowed_from=["10.0.0.0/8", "2001:db8::/32"])
        named = self.new_token(gateway, allowed_from=["127.0.0.0/8"], hostname="web-*")
        self.refused(self.register(gateway, away["secret"], csr, "db-1"), "address")
        self.refused(self.register(gateway, named["secret"], csr, "db-1"), "hostname")
        self.refused(self.register(gateway, "mst_join_" + 43 * "a", csr), "unknown")
        self.assertEqual(self.register(gateway, named["secret"], csr, "web-1").status, 201)
        self.refused(self.register(gateway, named["secret"], self.make_csr("two"), "web-2"),
                     "used_up")
        # The answer does not wait for the disk.
        wait_until(lambda: len(gateway.get("/api/refusals")["refusals"]) == 3, 10, "all are stored")
        seen = gateway.get("/api/refusals")
        self.assertEqual(
            [(r["reason"], r["hostname"], r["token_id"]) for r in seen["refusals"]],
            [("used_up", "web-2", named["token"]["token_id"]),
             ("hostname", "db-1", named["token"]["token_id"]),
             ("address", "db-1", away["token"]["token_id"])])
        self.assertEqual(int(seen["unknown_tokens"]), 1)
        gateway.kill()
        gateway.start()
        self.assertEqual(gateway.get("/api/refusals")["refusals"], seen["refusals"])
        shown = self.musterctl(gateway, "tokens", "refusals").stdout
        self.assertRegex(shown, r"used_up +127\.0\.0\.1 +web-2")
        wrong = gateway.call("POST", "/api/tokens", {"allowed_from": ["10.1.2.3/8"]})
        self.assertEqual((wrong.status, wrong.data["detail"]), (
            400, "allowed_from[0]: must have no bits behind its prefix; its network is "
                 '10.0.0.0/8, got "10.1.2.3/8"'))

    def test_the_command_line_makes_such_a_token_and_lists_it(self):
        gateway = self.start_gateway()
        made = self.musterctl(gateway, "tokens", "create", "--from", "10.0.0.0/8", "--from", "::1",
                              "--hostname", "web-*", "--approval", "--ephemeral",
                              "--expire", "36h")
        self.assertIn("musterctl agents approve", made.stderr)
        listed = self.musterctl(gateway, "tokens", "ls", "-o", "json").stdout
        for part in ('"10.0.0.0/8"', '"::1"', '"web-*"', '"129600s"'):
            self.assertIn(part, listed)
        table = self.musterctl(gateway, "tokens", "ls").stdout
        self.assertIn("from 10.0.0.0/8 ::1, host web-*, approval, ephemeral", table)


class ApprovalTest(JoinTokensTest):
    def test_a_machine_waits_until_it_is_approved(self):
        gateway = self.start_gateway()
        agent = self.new_agent()
        joined = agent.join(gateway.url, self.new_token(gateway, approval=True)["secret"])
        self.assertEqual(joined.returncode, 0, joined.stderr)
        self.assertIn("It waits for approval:  musterctl agents approve ", joined.stdout)
        name = joined.stdout.split("approve ")[1].split()[0]
        agent.start()
        wait_until(lambda: f"waits for approval: musterctl agents approve {name}" in agent.text(),
                   30, "its log says so")
        wait_until(lambda: "waits for approval" in agent.verb("status").stdout, 10,
                   "its status says so")
        machine = gateway.get(f"/api/agents/{agent.agent_id}")
        self.assertTrue(machine["pending"])
        self.assertNotEqual(machine["status"], "online")
        self.assertEqual((machine["cause"], machine["summary"]),
                         ("never_connected", "waits for approval"))
        answer = gateway.call("POST", f"/api/agents/{agent.agent_id}/commands",
                              {"command": "true"})
        self.assertEqual((answer.status, answer.data["code"]), (400, "agent_unreachable"))
        gateway.kill()
        gateway.start()
        self.assertTrue(gateway.get(f"/api/agents/{agent.agent_id}")["pending"])
        self.assertIn("is approved", self.musterctl(gateway, "agents", "approve", name).stderr)
        agent.stop()
        agent.start()  # Else it asks again within half a minute.
        machine = self.wait_status(gateway, agent.agent_id, "online", 20)
        self.assertFalse(machine["pending"])
        self.assertEqual(gateway.run(agent.agent_id, "true")["state"], "succeeded")

    def test_one_that_is_refused_is_told_so_and_stops(self):
        gateway = self.start_gateway()
        agent = self.new_agent()
        joined = agent.join(gateway.url, self.new_token(gateway, approval=True)["secret"])
        self.assertEqual(joined.returncode, 0, joined.stderr)
        path = f"/api/agents/{agent.agent_id}"
        self.assertEqual(gateway.call("DELETE", path).status, 200)
        agent.start()
        wait_until(lambda: "deregistered" in agent.text(), 20, "it is told so")
        self.assertEqual(gateway.agents(), [])


class EphemeralTest(JoinTokensTest):
    def test_what_is_ephemeral_is_shown_and_stored(self):
        gateway = self.start_gateway()
        agent = self.new_agent()
        secret = self.new_token(gateway, ephemeral=True)["secret"]
        self.assertEqual(agent.join(gateway.url, secret).returncode, 0)
        gateway.kill()
        gateway.start()
        machine = gateway.get(f"/api/agents/{agent.agent_id}")
        self.assertEqual(machine["ephemeral_for"], "86400s")

    def test_one_that_was_offline_for_so_long_leaves_the_list_for_good(self):
        gateway = self.start_gateway()
        stays, agent = self.start_agent(gateway), self.new_agent()
        secret = self.new_token(gateway, ephemeral=True, expire="1h")["secret"]
        self.assertEqual(agent.join(gateway.url, secret).returncode, 0)
        gateway.stop()
        with sqlite3.connect(gateway.data_dir / "muster.db", timeout=10) as db:
            db.execute("UPDATE machines SET ephemeral_for_us = 6000000 "
                       "WHERE ephemeral_for_us IS NOT NULL")  # Less than may be asked for.
        gateway.start()
        agent.start()
        self.wait_status(gateway, agent.agent_id, "online", 20)
        for either in (stays, agent):
            either.kill()
        self.wait_status(gateway, agent.agent_id, "offline", 20)
        wait_until(lambda: [a["agent_id"] for a in gateway.agents()] == [stays.agent_id], 30,
                   "it has left, and the other stays")
        path = f"/api/agents/{agent.agent_id}"
        self.assertEqual(gateway.call("GET", path).status, 404)
        wait_until(lambda: gateway.query("SELECT deleted_at_us FROM machines WHERE id=?",
                                         agent.agent_id)[0][0], 10, "it is stored")
        gateway.kill()
        gateway.start()
        self.assertEqual(gateway.call("GET", path).status, 404)
        agent.start()
        wait_until(lambda: "deregistered" in agent.text(), 20, "it is told so")


class EnvironmentTest(JoinTokensTest):
    def test_a_daemon_that_was_given_the_token_shows_it_to_nobody(self):
        gateway = self.start_gateway()
        agent = self.new_agent()
        secret = gateway.create_token()
        self.assertEqual(agent.join(gateway.url, secret).returncode, 0)
        agent.environment = {"MUSTER_TOKEN": secret}
        program = agent.start()
        self.wait_status(gateway, agent.agent_id, "online", 20)
        shown = pathlib.Path(f"/proc/{program.pid}/environ").read_bytes()
        self.assertNotIn(secret.encode(), shown)
        command = gateway.run(agent.agent_id, "tr '\\0' '\\n' < /proc/$PPID/environ; env")
        self.assertEqual(command["state"], "succeeded")
        output = gateway.call("GET", f"/api/commands/{command['command_id']}/output/stdout").body
        self.assertIn("PATH=", output)
        self.assertNotIn(secret, output)


if __name__ == "__main__":
    muster_e2e.main()
