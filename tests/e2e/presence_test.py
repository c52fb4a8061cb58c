"""What silence alone does not mean: two that use one identity, and a whole group at once."""
import concurrent.futures
import contextlib
import datetime
import shutil
import signal
import sqlite3
import time

import muster_e2e


class PresenceTest(muster_e2e.TestCase):
    def test_two_live_agents_with_one_identity_are_named_and_take_no_commands(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        copy = self.new_agent()
        shutil.copytree(agent.state_dir, copy.state_dir,
                        ignore=lambda _, names: [n for n in names if n.endswith((".sock", "lock"))])
        copy.start()
        stale = self.wait_status(gateway, agent.agent_id, "stale", 30)
        self.assertEqual((stale["domain"], stale["cause"]), ("identity", "duplicate_identity"))
        # Neither of the two makes it healthy, however often they speak.
        end = time.monotonic() + 5
        while time.monotonic() < end:
            machine = gateway.get(f"/api/agents/{agent.agent_id}")
            self.assertEqual(machine["status"], "stale", machine)
            time.sleep(0.1)
        answer = gateway.call("POST", f"/api/agents/{agent.agent_id}/commands",
                              {"command": "true", "shell_type": "bash"})
        self.assertEqual((answer.status, answer.data["code"]), (400, "agent_unreachable"))
        copy.kill()
        self.wait_status(gateway, agent.agent_id, "online", 20)
        self.assertEqual(gateway.run(agent.agent_id, "true")["state"], "succeeded")
        notes = [row[0] for row in gateway.query("SELECT note FROM notes WHERE kind=5")]
        self.assertEqual(len(notes), 1, notes)
        self.assertRegex(notes[0], r"^two live instances .*process \S+ of boot \S+ at 127.0.0.1; ")

    def test_an_operator_ends_a_dispute_by_reissuing_the_identity_to_one(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway, "--label", "role=db")
        identity = agent.agent_id
        copy = self.new_agent()
        shutil.copytree(agent.state_dir, copy.state_dir,
                        ignore=lambda _, names: [n for n in names if n.endswith((".sock", "lock"))])
        copy.start()
        self.wait_status(gateway, identity, "stale", 30)
        made = gateway.call("POST", f"/api/agents/{identity}/reissue", {})
        self.assertEqual(made.status, 201, made)
        self.assertIn("muster-agent join --server", made.data["join_script"])
        self.assertIn(" --replace ", made.data["join_script"])
        self.assertEqual(made.data["token"]["agent_id"], identity)
        gone = gateway.get(f"/api/agents/{identity}")
        self.assertEqual((gone["status"], gone["cause"]), ("stale", "credential_revoked"))
        for each in (agent, copy):
            self.wait_until(lambda: "this key does not speak" in each.text(), 20, "it is told so")

        # Only the rightful one is given the line: the same identity, nothing of it is lost.
        joined = agent.join(gateway.url, made.data["secret"], "--replace")
        self.assertEqual(joined.returncode, 0, joined.stderr)
        self.assertEqual(agent.agent_id, identity)
        back = self.wait_status(gateway, identity, "online", 20)
        self.assertEqual(back["labels"], {"role": "db"})
        self.assertEqual(gateway.run(identity, "true")["state"], "succeeded")
        copy.kill()
        copy.start()
        seen = copy.text().count("this key does not speak")
        self.wait_until(lambda: copy.text().count("this key does not speak") > seen, 20, "and again")
        self.assertEqual(gateway.get(f"/api/agents/{identity}")["status"], "online")
        again = copy.join(gateway.url, made.data["secret"], "--replace")
        self.assertEqual(again.returncode, 1)
        self.assertIn("token used up", again.stderr)
        # After a restart of the gateway too.
        gateway.kill()
        gateway.start()
        self.wait_status(gateway, identity, "online", 20)
        tokens = gateway.get("/api/tokens")["tokens"]
        self.assertEqual([t["state"] for t in tokens if t.get("agent_id") == identity], ["used"])

    def test_a_promise_to_be_back_holds_a_machine_and_none_does_not(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        path = f"/api/agents/{agent.agent_id}"
        refused = agent.verb("stop", "--back-within", "61m")
        self.assertEqual(refused.returncode, 2)
        self.assertIn("--back-within: must be 1s to 1h, got 1h1m", refused.stderr)
        self.assertEqual(gateway.get(path)["status"], "online")

        for words, summary, back_within_s in [
                (["--back-within", "20m"], "agent was stopped, expected back within 20 min", 1200),
                (["--for-upgrade"], "agent is upgrading, expected back within 30 s", 30)]:
            done = agent.verb("stop", *words)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("stopped, and said so to the gateway: back within", done.stdout)
            self.assertEqual(agent.program.wait(5), 0)
            gone = self.wait_status(gateway, agent.agent_id, "stale", 5)
            self.assertEqual(gone["summary"], summary)
            until = datetime.datetime.fromisoformat(gone["promised_back"]).timestamp() - time.time()
            self.assertTrue(back_within_s - 10 < until <= back_within_s, gone)
            agent.start()
            back = self.wait_status(gateway, agent.agent_id, "online", 20)
            self.assertNotIn("promised_back", back)

        self.assertEqual(agent.verb("stop").returncode, 0)
        self.assertIsNone(self.wait_status(gateway, agent.agent_id, "offline", 15)
                          .get("promised_back"))

    def test_a_goodbye_that_nobody_heard_is_not_claimed(self):
        gateway = self.start_gateway()
        stays, leaves = self.start_agent(gateway), self.start_agent(gateway)
        gateway.program.freeze()
        done = stays.verb("stop", "--back-within", "10m")
        self.assertEqual(
            (done.returncode, done.stdout),
            (0, "stopped; the gateway did not answer, and may not have heard the goodbye\n"))
        self.assertEqual(stays.program.wait(5), 0)
        left = leaves.verb("leave")
        self.assertEqual(left.returncode, 1)
        self.assertIn("the gateway did not confirm it: nothing was removed here, but it may "
                      "delete this machine all the same", left.stderr)
        self.assertIsNotNone(leaves.agent_id)
        # As if it had not heard it: what was on the way dies with it.
        gateway.program.kill()
        gateway.start()
        self.assertTrue(leaves.program.running())
        muster_e2e.wait_until(lambda: leaves.verb("leave").returncode == 0, 20,
                              "it goes on, and can leave")
        self.assertEqual(leaves.program.wait(5), 0)

    def test_a_leave_that_was_heard_later_leaves_nothing_behind(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        gateway.program.freeze()
        self.assertEqual(agent.verb("leave").returncode, 1)
        gateway.program.send(signal.SIGCONT)
        muster_e2e.wait_until(lambda: gateway.get("/api/agents")["agents"] == [], 20,
                              "the gateway deletes it")
        muster_e2e.wait_until(lambda: "class=deregistered" in agent.text(), 20,
                              "the agent hears of it")

    def test_a_leave_is_done_when_nothing_can_bring_the_machine_back(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        with contextlib.closing(sqlite3.connect(gateway.data_dir / "muster.db")) as store:
            store.execute("BEGIN IMMEDIATE")
            left = agent.verb("leave")
        self.assertEqual(left.returncode, 1)
        self.assertIn("did not confirm it", left.stderr)
        self.assertIsNotNone(agent.agent_id)
        agent.stop()

    def test_a_signal_during_a_leave_that_fails_ends_the_agent(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        with contextlib.closing(sqlite3.connect(gateway.data_dir / "muster.db")) as store:
            store.execute("BEGIN IMMEDIATE")
            with concurrent.futures.ThreadPoolExecutor() as pool:
                leave = pool.submit(agent.verb, "leave")
                muster_e2e.wait_until(lambda: "machine deleted" in gateway.log.read_text(), 10,
                                      "the gateway has heard it")
                self.assertEqual(agent.stop()[0], 0)
                leave.result()

    def test_a_machine_may_sleep_where_others_may_not(self):
        gateway = self.start_gateway()
        laptop = self.start_agent(gateway, "--label", "kind=laptop")
        server = self.start_agent(gateway)

        def presence(*arguments):
            done = muster_e2e.run_once("musterctl", "--server", gateway.url, "presence", *arguments,
                                       environment={"MUSTER_TOKEN": gateway.token})
            self.assertEqual(done.returncode, 0, done.stderr)
            return done

        written = presence("set", "-l", "kind=laptop", "--offline-after", "never")
        self.assertIn("Written to 1 machine;", written.stderr)
        muster_e2e.wait_until(
            lambda: not gateway.get(f"/api/agents/{laptop.agent_id}")["presence"]["pending"],
            10, "it holds from the next heartbeat on")
        laptop.kill()
        server.kill()
        self.wait_status(gateway, server.agent_id, "offline", 20)
        sleeping = gateway.get(f"/api/agents/{laptop.agent_id}")
        self.assertEqual(sleeping["status"], "online", sleeping)
        self.assertEqual(sleeping["presence"]["offline_after"],
                         {"value": "never", "source": "machine"})
        self.assertRegex(presence("get", laptop.agent_id).stdout,
                         r"(?m)^offline_after +never +machine$")
        refused = gateway.call("PATCH", f"/api/agents/{server.agent_id}/presence",
                               {"set": {"heartbeat_interval": "50ms"}})
        self.assertEqual(refused.status, 400)
        self.assertEqual(refused.data["detail"],
                         "heartbeat_interval must be 100ms … 1h, got 50ms")

    def test_a_group_that_falls_silent_at_once_is_one_incident_and_is_given_time(self):
        gateway = self.start_gateway()
        rack = [self.start_agent(gateway, "--label", "muster.group=rack-7") for _ in range(6)]
        alone = self.start_agent(gateway)
        for agent in rack + [alone]:
            agent.kill()
        self.wait_status(gateway, alone.agent_id, "offline", 20)
        time.sleep(1)
        for agent in rack:
            machine = gateway.get(f"/api/agents/{agent.agent_id}")
            self.assertEqual((machine["status"], machine["cause"]), ("stale", "network_group"))
            self.assertIn("muster.group=rack-7", machine["summary"])
        self.assertEqual(
            gateway.query("SELECT machine_group, closed_at_us FROM incidents"),
            [("muster.group=rack-7", None)])
        for agent in rack[:3]:
            agent.start()
        for agent in rack[:3]:
            self.wait_status(gateway, agent.agent_id, "online", 20)
        for agent in rack[3:]:
            self.wait_status(gateway, agent.agent_id, "offline", 10)
        self.wait_until(
            lambda: gateway.query("SELECT machines FROM incidents WHERE closed_at_us>0") == [(6,)],
            5, "the incident is closed, in the store too")


if __name__ == "__main__":
    muster_e2e.main()
