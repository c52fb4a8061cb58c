"""What happened to a machine, as an operator reads it with curl and musterctl."""
import contextlib
import json
import sqlite3
import time

import muster_e2e


class HistoryTest(muster_e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.gateway = self.start_gateway(drain="1s")
        self.agent = self.start_agent(self.gateway)
        self.path = f"/api/agents/{self.agent.agent_id}"

    def ctl(self, *arguments, code=0):
        done = muster_e2e.run_once(
            "musterctl", "-s", self.gateway.url, *arguments,
            environment={"MUSTER_TOKEN": self.gateway.token, "TZ": "UTC",
                         "HOME": str(self.folder)})
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def transitions(self, limit):
        """Oldest first, read in pages of `limit`."""
        found, token = [], ""
        while True:
            page = self.gateway.get(
                f"{self.path}/transitions?limit={limit}&page_token={token}")
            self.assertLessEqual(len(page["transitions"]), limit)
            found += page["transitions"]
            token = page["next_page_token"]
            if not token:
                return found[::-1]

    def transitions_on_disk(self):
        self.wait_until(lambda: all(t["durable"] for t in self.transitions(100)), 20,
                        "all of it is on disk")
        return self.transitions(100)

    def test_a_stop_is_told_and_a_killed_gateway_adds_nothing(self):
        self.agent.stop()
        self.wait_status(self.gateway, self.agent.agent_id, "stale", 20)
        self.agent.start()
        self.wait_status(self.gateway, self.agent.agent_id, "online", 20)
        self.agent.kill()  # It promised nothing this time.
        self.wait_status(self.gateway, self.agent.agent_id, "offline", 20)
        told = self.transitions_on_disk()
        self.assertEqual([t["sequence"] for t in told], list(range(1, len(told) + 1)))
        for before, after in zip(told, told[1:]):
            self.assertEqual(before["to"], after["from"])
        self.assertEqual([t["to"] for t in told],
                         ["online", "stale", "online", "stale", "offline"])
        self.assertEqual(told[1]["cause"], "agent_stopped")
        self.assertEqual(self.transitions(1), told, "the pages are the whole")
        links = self.gateway.get(f"{self.path}/links")["links"]
        self.assertEqual([l["ended"] for l in links], ["closed_by_peer", "goodbye"])

        self.agent.start()
        machine = self.wait_status(self.gateway, self.agent.agent_id, "online", 20)
        told = self.transitions_on_disk()
        self.gateway.kill()
        self.gateway.start()
        self.wait_new_link(self.gateway, self.agent.agent_id, machine["epoch"], 20)
        self.assertEqual(self.transitions(2), told, "a killed gateway judges nobody")
        blind = self.gateway.get("/api/blind-intervals")["blind_intervals"]
        self.assertEqual(blind[0]["reason"], "not_running")
        links = self.gateway.get(f"{self.path}/links")["links"]
        self.assertEqual([l.get("ended") for l in links[:2]], [None, "gateway_stopped"])
        self.musterctl_tells_it(told)

    def test_a_gateway_that_was_away_for_long_confirms_nobody_and_keeps_nobody_out(self):
        self.wait_until(lambda: self.gateway.query("SELECT * FROM last_heard"), 20, "a batch")
        self.transitions_on_disk()
        self.agent.kill()
        self.gateway.kill()
        long_ago = int((time.time() - 20 * 60) * 1e6)
        with contextlib.closing(sqlite3.connect(self.gateway.data_dir / "muster.db")) as db, db:
            db.execute("UPDATE gateway SET proved_at_us=?", (long_ago,))
            db.execute("UPDATE last_heard SET at_us=?", (long_ago,))
            db.execute("UPDATE machines SET status_since_us=?", (long_ago,))
        self.gateway.start()
        ready = self.gateway.call("GET", "/ready")
        self.assertEqual((ready.status, ready.data["presence"], ready.data["why"]),
                         (200, "unconfirmed", "the gateway was not running"))
        listed = self.ctl("agents", "ls")
        self.assertIn(" online? ", listed.stdout)
        self.assertRegex(listed.stderr, "^warning: not confirmed since .* UTC: "
                                        "the gateway was not running\n$")
        self.wait_status(self.gateway, self.agent.agent_id, "offline", 20)
        self.wait_until(lambda: self.gateway.get("/ready")["presence"] == "confirmed", 20,
                        "everybody is judged")

    def musterctl_tells_it(self, told):
        name = self.gateway.get(self.path)["hostname"]
        table = self.ctl("agents", "history", name, "--since", "1h", "--links").stdout
        lines = table.splitlines()
        self.assertEqual(lines[0].split(), ["WHEN", "WHAT", "FOR", "WHY"])
        for what in ("stale -> offline", "gateway blind", "link opened", "goodbye",
                     "the gateway was not running", "the gateway stopped"):
            self.assertIn(what, table)
        names = self.ctl("agents", "history", name, "-o", "name").stdout.split()
        self.assertEqual(names, [str(t["sequence"]) for t in told[::-1]])
        tree = json.loads(self.ctl("agents", "history", name, "-o", "json").stdout)
        self.assertEqual(tree["transitions"], told[::-1])
        self.assertIn("gateway  ", self.ctl("incidents", "--since", "1h").stdout)
        self.ctl("agents", "history", "no-such-machine", code=3)

    def test_heartbeats_are_watched_as_they_arrive(self):
        name = self.gateway.get(self.path)["hostname"]
        lines = self.ctl("agents", "watch", name, "--count", "3", "-o", "json").stdout
        beats = [json.loads(line) for line in lines.splitlines()]
        first = beats[0]["sequence"]
        self.assertEqual([b["sequence"] for b in beats], [first, first + 1, first + 2])
        self.assertTrue(all("clock_skew" in b for b in beats))

    def test_watching_goes_on_over_a_restart_of_the_gateway(self):
        name = self.gateway.get(self.path)["hostname"]
        watch = self.start_program(
            "musterctl", "-s", self.gateway.url, "agents", "watch", name, "-o", "name",
            environment={"MUSTER_TOKEN": self.gateway.token, "HOME": str(self.folder)})
        self.wait_until(lambda: "is online" in watch.text(), 20, "it watches")
        self.gateway.kill()
        self.wait_until(lambda: "asking again" in watch.text(), 20, "it says that nobody answers")
        self.gateway.start()
        self.wait_until(lambda: "the gateway answers again" in watch.text(), 30, "it goes on")
        seen = len(watch.text())
        self.wait_until(lambda: any(line.isdigit() for line in watch.text()[seen:].split()), 20,
                        "heartbeats are shown again")


if __name__ == "__main__":
    muster_e2e.main()
