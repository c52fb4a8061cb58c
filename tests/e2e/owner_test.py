"""What the owner of a machine finds there of what was run."""
import json
import os

import muster_e2e


class OwnerTest(muster_e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.gateway = self.start_gateway()
        self.agent = self.start_agent(self.gateway)

    def submit(self, **fields):
        answer = self.gateway.call("POST", f"/api/agents/{self.agent.agent_id}/commands", fields)
        self.assertEqual(answer.status, 202, answer)
        return answer.data["command_id"]

    def end(self, command_id):
        return self.gateway.get(f"/api/commands/{command_id}?wait=30s", timeout_s=60)

    def told(self):
        """By `muster-agent commands --json`, by id."""
        said = self.agent.verb("commands", "--json")
        self.assertEqual(said.returncode, 0, said.stderr)
        return {entry["command_id"]: entry
                for entry in map(json.loads, said.stdout.splitlines())}

    def test_he_finds_who_ran_what_and_how_it_ended(self):
        said = self.agent.verb("commands")
        self.assertEqual((said.returncode, said.stdout, said.stderr),
                         (0, "", "Nothing was run here.\n"))
        failed = self.submit(command="echo \u001b[31mred; exit 3", shell_type="sh",
                             purpose="disk full",
                             surroundings={"environment": {"TOKEN": "canary-variable"},
                                           "input": "Y2FuYXJ5LWlucHV0"})
        self.assertEqual(self.end(failed)["state"], "failed")
        words = self.submit(argv=["/bin/echo", "two words"], shell_type="exec")
        self.assertEqual(self.end(words)["state"], "succeeded")
        self.wait_until(lambda: all("end" in e for e in self.told().values()), 10, "both ended")
        told = self.told()
        self.assertEqual(list(told), [failed, words])
        entry = told[failed]
        self.assertEqual((entry["issued_by"], entry["purpose"], entry["shell"], entry["text"]),
                         ("admin-token", "disk full", "sh", "echo \u001b[31mred; exit 3"))
        self.assertEqual((entry["end"]["state"], entry["end"]["exit_code"]), ("failed", 3))
        self.assertEqual(told[words]["text"], "/bin/echo 'two words'")
        said = self.agent.verb("commands", "-n", "1")
        self.assertRegex(said.stdout, rf"^[-0-9]+ [:0-9]+ [+-]\d+  ~{words[-6:]}  admin-token as \S+"
                         r"  exec  succeeded  /bin/echo 'two words'\n$")
        said = self.agent.verb("commands")
        self.assertIn("sh  failed 3  [disk full]  echo ·[31mred; exit 3\n", said.stdout)
        log = self.agent.state_dir / "ran" / "log"
        self.assertEqual((log.stat().st_mode & 0o7777, log.stat().st_uid), (0o600, os.geteuid()))
        self.assertNotIn("canary", log.read_text())

    def test_he_finds_what_his_policy_refused_and_which_rule_it_was(self):
        policy = self.folder / "policy.toml"
        policy.write_text('shells = ["exec"]\n')
        self.agent.stop()
        self.agent.arguments = ["--policy-file", policy]
        self.agent.start()
        self.wait_status(self.gateway, self.agent.agent_id, "online", 10)
        refused = self.submit(command="true", shell_type="sh")
        self.assertEqual(self.end(refused)["reason"], "policy: shells")
        entry = self.wait_until(lambda: (e := self.told()[refused]) and "end" in e and e, 10,
                                "how it ended")
        self.assertEqual((entry["end"]["state"], entry["end"]["reason"]),
                         ("rejected", "policy: shells"))
        self.assertIn("rejected: policy: shells", self.agent.verb("commands").stdout)

    def test_he_needs_neither_the_gateway_nor_the_agent(self):
        command_id = self.submit(command="sleep 0.5; exit 4", shell_type="sh")
        self.wait_until(lambda: command_id in self.told(), 10, "the order is told")
        self.gateway.kill()
        entry = self.wait_until(lambda: (e := self.told()[command_id]) and "end" in e and e, 10,
                                "the end is told without a gateway")
        self.assertEqual(entry["end"]["exit_code"], 4)
        self.agent.kill()
        self.assertEqual(self.told()[command_id]["end"]["exit_code"], 4)
        # And it stays when the machine leaves.
        self.assertEqual(self.agent.verb("leave", "--force").returncode, 0)
        self.assertIn(command_id, self.told())


if __name__ == "__main__":
    muster_e2e.main()
