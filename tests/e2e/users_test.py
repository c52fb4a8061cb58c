"""People and programs with tokens of their own, as an admin and as they have it."""
import re
import threading
import time

import muster_e2e
from muster_e2e import wait_until


class UsersTest(muster_e2e.TestCase):
    def musterctl(self, gateway, *arguments, token=None):
        return muster_e2e.run_once("musterctl", "--server", gateway.url, *arguments,
                                   environment={"MUSTER_TOKEN": token or gateway.token})

    def user(self, gateway, name, role, *flags):
        """The secret of a token of a new user."""
        done = self.musterctl(gateway, "users", "create", name, "--role", role)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.musterctl(gateway, "users", "token", "create", name, *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"^mst_[0-9A-Za-z]{43}\n$")
        return done.stdout.strip()

    def status(self, gateway, token, path):
        return gateway.call("GET", path, token=token, timeout_s=60).status

    def readers_waiting(self, gateway):
        text = gateway.call("GET", "/metrics").body
        return int(re.search(r"^muster_event_readers_waiting(?:{.*})? (\d+)$", text, re.M)[1])

    def test_each_may_what_its_role_may_and_is_named(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        self.wait_status(gateway, agent.agent_id, "online", 20)
        viewer = self.user(gateway, "vera", "viewer")
        operator = self.user(gateway, "otto", "operator")
        self.assertIn("vera", self.musterctl(gateway, "agents", "ls", token=viewer).stdout
                      + self.musterctl(gateway, "users", "ls").stdout)
        refused = self.musterctl(gateway, "run", agent.agent_id, "--", "true", token=viewer)
        self.assertEqual(refused.returncode, 125, refused.stderr)
        self.assertIn("needs role", refused.stderr)
        done = self.musterctl(gateway, "run", agent.agent_id, "--", "echo hello", token=operator)
        self.assertEqual((done.returncode, done.stdout), (0, "hello\n"), done.stderr)
        command = gateway.get("/api/commands")["commands"][0]
        self.assertEqual(command["issued_by"], "otto")
        self.assertNotEqual(
            self.musterctl(gateway, "users", "ls", token=operator).returncode, 0)
        unchanged = self.musterctl(gateway, "users", "role", "otto")
        self.assertEqual(unchanged.returncode, 2)
        self.assertIn("--role: is required", unchanged.stderr)

    def test_who_is_disabled_is_out_within_a_second_and_stays_out_over_a_restart(self):
        gateway = self.start_gateway()
        token = self.user(gateway, "vera", "viewer")
        position = gateway.get("/api/events")["next"]
        ended = []

        def wait_for_events():
            path = f"/api/events?after={position}&wait=50s"
            ended.append((self.status(gateway, token, path), time.monotonic()))
        waits = threading.Thread(target=wait_for_events)
        waits.start()
        wait_until(lambda: self.readers_waiting(gateway) == 1, 10, "it is let in, and waits")
        begin = time.monotonic()
        done = self.musterctl(gateway, "users", "disable", "vera")
        self.assertEqual(done.returncode, 0, done.stderr)
        waits.join(30)
        self.assertEqual(ended[0][0], 401)
        self.assertLess(ended[0][1] - begin, 1.0)
        self.assertEqual(self.status(gateway, token, "/api/agents"), 401)
        gateway.kill()
        gateway.start()
        self.assertEqual(self.status(gateway, token, "/api/agents"), 401)
        self.musterctl(gateway, "users", "enable", "vera")
        self.assertEqual(self.status(gateway, token, "/api/agents"), 200)

    def test_a_token_for_metrics_reads_metrics_and_nothing_else(self):
        gateway = self.start_gateway()
        token = self.user(gateway, "grafana", "viewer", "--scope", "metrics:read")
        self.assertEqual(self.status(gateway, token, "/metrics"), 200)
        self.assertEqual(self.status(gateway, token, "/api/agents"), 403)
        listed = self.musterctl(gateway, "users", "token", "ls", "grafana")
        self.assertIn("metrics:read", listed.stdout)
        token_id = listed.stdout.splitlines()[1].split()[0]
        self.musterctl(gateway, "users", "token", "revoke", "grafana", token_id)
        self.assertEqual(self.status(gateway, token, "/metrics"), 401)

    def test_what_waits_for_a_machine_is_not_sent_for_whom_may_no_more(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        self.wait_status(gateway, agent.agent_id, "online", 20)
        token = self.user(gateway, "otto", "operator")
        agent.kill()
        self.wait_status(gateway, agent.agent_id, "offline", 30)
        queued = self.musterctl(gateway, "run", agent.agent_id, "--if-offline", "queue:1h",
                                "--detach", "--", f"touch {self.folder / 'ran'}", token=token)
        self.assertEqual(queued.returncode, 0, queued.stderr)
        command = queued.stdout.strip()
        self.musterctl(gateway, "users", "role", "otto", "--role", "viewer")
        agent.start()
        ended = wait_until(
            lambda: (c := gateway.get(f"/api/commands/{command}"))["state"] == "rejected" and c,
            30, "it is rejected")
        self.assertEqual(ended["reason"], "permission_revoked")
        self.assertFalse((self.folder / "ran").exists())


if __name__ == "__main__":
    muster_e2e.main()
