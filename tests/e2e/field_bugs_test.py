"""What went wrong in the field with others' agents, where no smaller test shows it: the table in
docs/design/commands.md names them all."""
import os
import pathlib
import signal
import unittest

import muster_e2e
from crash_test import shim_of
from muster_e2e import wait_until

BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")


class FieldBugsTest(muster_e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.ran = self.folder / "ran"
        self.gateway = self.start_gateway()
        self.agent = self.start_agent(self.gateway)

    def submit(self, text):
        """Its id, once it runs: it has appended a line to `ran`."""
        answer = self.gateway.call("POST", f"/api/agents/{self.agent.agent_id}/commands",
                                   {"command": f"echo ran >> {self.ran}; {text}"})
        self.assertEqual(answer.status, 202, answer)
        wait_until(lambda: self.runs() == 1, 10, "it runs")
        return answer.data["command_id"]

    def runs(self):
        return self.ran.read_text().count("ran\n") if self.ran.exists() else 0

    def end_of(self, command_id):
        return self.gateway.get(f"/api/commands/{command_id}?wait=20s", timeout_s=30)

    def test_what_was_written_before_anybody_read_is_read_from_its_first_byte(self):
        go = self.folder / "go"
        command_id = self.submit(f"echo first; until [ -e {go} ]; do sleep 0.05; done; echo then")
        wait_until(lambda: self.gateway.get(f"/api/commands/{command_id}")["stdout_bytes"] == 6,
                   10, "it has written")
        output = f"/api/commands/{command_id}/output/stdout"
        self.assertEqual(self.gateway.call("GET", output).body, "first\n")
        go.touch()
        self.assertEqual(self.end_of(command_id)["state"], "succeeded")
        self.assertEqual(self.gateway.call("GET", output).body, "first\nthen\n")

    @unittest.skipUnless(os.geteuid() == 0, "another boot id needs root")
    def test_a_command_that_reboots_its_host_has_an_unknown_outcome_and_never_runs_again(self):
        command_id = self.submit("sleep 600")
        shim = shim_of(command_id)
        self.agent.kill()  # The reboot ends everything, and in this order or another.
        os.kill(shim, signal.SIGKILL)
        for boot in ("11111111", "22222222"):
            self.agent.under = self.as_after_boot(f"{boot}-1111-4111-8111-111111111111")
            self.agent.start()
            command = self.end_of(command_id)
            self.assertEqual((command["state"], command["reason"]),
                             ("outcome_unknown", "host_rebooted"))
            after = self.gateway.run(self.agent.agent_id, "true")
            self.assertEqual(after["state"], "succeeded")
            self.assertEqual(self.runs(), 1)
            self.agent.kill()

    def as_after_boot(self, boot_id):
        """What a program runs under to see another boot id."""
        file = self.folder / boot_id
        file.write_text(f"{boot_id}\n")
        return ["unshare", "--mount", "sh", "-c", f'mount --bind {file} {BOOT_ID} && exec "$@"',
                "sh"]

    def test_a_machine_that_is_offline_may_still_run_what_it_was_given(self):
        other = self.start_agent(self.gateway)
        go = self.folder / "go"
        command_id = self.submit(f"until [ -e {go} ]; do sleep 0.05; done; echo done; exit 3")
        wait_until(lambda: self.gateway.get(f"/api/commands/{command_id}")["state"] == "running",
                   10, "the gateway knows that it runs")
        self.agent.program.freeze()  # Its shim goes on.
        self.wait_status(self.gateway, self.agent.agent_id, "offline", 20)
        go.touch()
        wait_until((self.agent.state_dir / "commands/commands" / command_id / "exit").exists, 10,
                   "it ends")
        # An expired lease says nothing about what runs there, and moves nothing elsewhere.
        command = self.gateway.get(f"/api/commands/{command_id}")
        self.assertEqual((command["state"], command["agent_id"]),
                         ("running", self.agent.agent_id))
        self.assertEqual(self.gateway.run(other.agent_id, "true")["state"], "succeeded")
        self.agent.program.send(signal.SIGCONT)
        command = self.end_of(command_id)
        self.assertEqual((command["state"], command["exit_code"]), ("failed", 3))
        self.assertEqual(self.runs(), 1)
        output = self.gateway.call("GET", f"/api/commands/{command_id}/output/stdout")
        self.assertEqual(output.body, "done\n")


if __name__ == "__main__":
    muster_e2e.main()
