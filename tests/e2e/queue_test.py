"""Commands that wait for a machine: for how long, and for whom."""
import signal

import muster_e2e


class QueueTest(muster_e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.gateway = self.start_gateway()
        self.agent = self.start_agent(self.gateway)
        self.name = self.gateway.get(f"/api/agents/{self.agent.agent_id}")["name"]
        self.ran = self.folder / "ran"
        self.agent.kill()
        self.wait_status(self.gateway, self.agent.agent_id, "offline", 20)

    def musterctl(self, *arguments):
        return muster_e2e.run_once("musterctl", "--server", self.gateway.url, *arguments,
                                   environment={"MUSTER_TOKEN": self.gateway.token})

    def queue(self, command, **fields):
        answer = self.gateway.call(
            "POST", f"/api/agents/{self.agent.agent_id}/commands",
            {"command": command, "shell_type": "sh", "if_offline": "queue", **fields})
        self.assertEqual(answer.status, 202, answer)
        self.assertEqual(answer.data["state"], "queued")
        return answer.data["command_id"]

    def wait_state(self, command_id, state, within_s=20):
        def reached():
            command = self.gateway.get(f"/api/commands/{command_id}")
            return command if command["state"] == state else None
        return self.wait_until(reached, within_s, f"{command_id} is {state}")

    def come_back(self):
        self.agent.start()
        self.wait_status(self.gateway, self.agent.agent_id, "online", 20)

    def test_it_runs_when_the_machine_is_back_in_time(self):
        queued = self.musterctl("run", self.name, "--if-offline", "queue:2h", "--detach", "--",
                                f"echo late >>{self.ran}")
        self.assertEqual(queued.returncode, 0, queued.stderr)
        command_id = queued.stdout.strip()
        self.assertEqual(self.gateway.get(f"/api/commands/{command_id}")["delivery_timeout"],
                         "7200s")
        self.come_back()
        self.wait_state(command_id, "succeeded")
        self.assertEqual(self.ran.read_text(), "late\n")

    def test_it_expires_and_says_where_the_machine_was(self):
        done = self.musterctl("run", self.name, "--if-offline", "queue:1s", "--",
                              f"touch {self.ran}")
        self.assertEqual(done.returncode, 125, done.stderr)
        self.assertRegex(done.stderr, r"the command did not run \(delivery_timeout: "
                         rf"{self.name} is offline for .*\); safe to repeat; exit 125\n$")
        batch = self.musterctl("run", "--all", "--if-offline", "queue:1s", "--", f"touch {self.ran}")
        self.assertEqual(batch.returncode, 1)
        self.assertRegex(batch.stderr, rf"{self.name}(:| \|) did not run: delivery_timeout: .* offline")
        self.come_back()
        self.assertEqual(self.gateway.run(self.agent.agent_id, "true")["state"], "succeeded")
        self.assertFalse(self.ran.exists())

    def test_it_is_bounded_and_has_one_name(self):
        for fields, said in (({"queue_ttl": "169h"}, "queue_ttl: must be 1s to 168h"),
                             ({"delivery_timeout": "1h"}, "with if_offline queue give queue_ttl")):
            answer = self.gateway.call(
                "POST", f"/api/agents/{self.agent.agent_id}/commands",
                {"command": "true", "if_offline": "queue", **fields})
            self.assertEqual(answer.status, 400, answer)
            self.assertIn(said, answer.data["detail"])
        command = self.gateway.get(f"/api/commands/{self.queue('true')}")
        self.assertEqual(command["delivery_timeout"], "3600s")

    def reset_the_admin_token(self):
        reset = muster_e2e.run_once("muster-gateway", "reset-admin", "--data-dir",
                                    self.gateway.data_dir)
        self.assertEqual(reset.returncode, 0, reset.stderr)

    def is_rejected_and_never_runs(self, command_id):
        command = self.wait_state(command_id, "rejected")
        self.assertEqual(command["reason"], "permission_revoked")
        self.assertNotIn("started_at", command)
        # It would have come before.
        self.assertEqual(self.gateway.run(self.agent.agent_id, "true")["state"], "succeeded")
        self.assertFalse(self.ran.exists())

    def test_what_a_former_admin_token_asked_for_is_not_sent(self):
        command_id = self.queue(f"touch {self.ran}")
        former = self.gateway.token
        self.reset_the_admin_token()
        # Until the gateway takes the new one.
        late = self.gateway.call("POST", f"/api/agents/{self.agent.agent_id}/commands",
                                 {"command": f"touch {self.ran}", "if_offline": "queue"},
                                 token=former)
        self.assertEqual(late.status, 202, late)
        self.gateway.program.send(signal.SIGHUP)
        self.wait_until(lambda: self.gateway.call("GET", "/api/whoami").status == 200, 10,
                        "the new token is taken")
        self.come_back()
        self.is_rejected_and_never_runs(command_id)
        self.is_rejected_and_never_runs(late.data["command_id"])

    def test_a_restart_takes_the_new_admin_token_as_well(self):
        command_id = self.queue(f"touch {self.ran}")
        self.gateway.stop()
        self.reset_the_admin_token()
        self.gateway.start()
        self.come_back()
        self.is_rejected_and_never_runs(command_id)


if __name__ == "__main__":
    muster_e2e.main()
