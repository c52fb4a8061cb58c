"""One command on many machines, as it is typed."""
import os
import re
import signal
import subprocess

import muster_e2e
from muster_e2e import BUILD, wait_until


class BatchTest(muster_e2e.TestCase):
    def musterctl(self, gateway, *arguments):
        return muster_e2e.run_once("musterctl", "--server", gateway.url, *arguments,
                                   environment={"MUSTER_TOKEN": gateway.token})

    def name(self, gateway, agent):
        return gateway.get(f"/api/agents/{agent.agent_id}")["name"]

    def test_each_line_stands_behind_its_machine_and_the_sum_at_the_end(self):
        gateway = self.start_gateway()
        agents = [self.start_agent(gateway, "--label", "role=web") for _ in range(3)]
        self.start_agent(gateway, "--label", "role=db")
        names = [self.name(gateway, agent) for agent in agents]
        done = self.musterctl(gateway, "run", "-l", "role=web", "--", "echo yes; echo no >&2")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(done.stdout.splitlines()), sorted(f"{n} | yes" for n in names))
        for name in names:
            self.assertIn(f"{name} | no\n", done.stderr)
        self.assertIn("musterctl: 3 of 3 machines: 3 succeeded; ", done.stderr)
        agents[1].kill()
        self.wait_status(gateway, agents[1].agent_id, "offline", 20)
        done = self.musterctl(gateway, "run", "-l", "role=web", "--", "exit 3")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{names[0]}: failed with 3\n", done.stderr)
        self.assertRegex(done.stderr, rf"{names[1]} \| did not run: agent_unreachable: .*offline")
        self.assertIn("2 failed, 1 not delivered", done.stderr)
        batch = re.search(r"musterctl batches get (\S+)", done.stderr)[1]
        shown = self.musterctl(gateway, "batches", "get", batch)
        self.assertRegex(shown.stdout, rf"{names[2]} +\S+ +failed with 3\n")
        self.assertIn("label=role=web", shown.stdout)
        self.assertRegex(self.musterctl(gateway, "batches", "ls").stdout, rf"{batch} +finished +3 ")

    def test_an_interrupt_cancels_it_and_starts_no_more(self):
        gateway = self.start_gateway()
        first = [self.start_agent(gateway) for _ in range(3)][0]
        name = self.name(gateway, first)
        ctl = subprocess.Popen(
            [BUILD / "bin/musterctl", "--server", gateway.url, "run", "--all", "--concurrency", "1",
             "--", "echo begun; sleep 600"], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, "MUSTER_TOKEN": gateway.token})
        self.addCleanup(ctl.kill)
        self.assertEqual(ctl.stdout.readline(), f"{name} | begun\n")
        ctl.send_signal(signal.SIGINT)
        out, err = ctl.communicate(timeout=30)
        self.assertEqual((ctl.returncode, out), (1, ""), err)
        self.assertIn(f"{name}: cancelled after it had started", err)
        self.assertIn("1 of 3 machines: 1 failed, 2 never begun", err)
        wait_until(lambda: gateway.get("/api/batches")["batches"][0]["state"] == "cancelled", 10,
                   "it has ended")

    def test_who_is_meant_is_said_by_name_or_by_what_selects(self):
        gateway = self.start_gateway()
        name = self.name(gateway, self.start_agent(gateway))
        for arguments, said in (
                (["run", "--", "true"], "AGENT is required, or -l, --status, --hostname, --all"),
                (["run", name, "--all", "--", "true"], "AGENT stands alone"),
                (["run", "-l", "role=none", "--", "true"],
                 "no machine is selected: label=role=none"),
                (["run", "--all", "--concurrency", "0%", "--", "true"],
                 "concurrency: must be a number of at least 1, or 1% to 100%, got '0%'"),
                (["run", "--all", "--stop-after", "many", "--", "true"], "stop_after: must be")):
            with self.subTest(arguments):
                done = self.musterctl(gateway, *arguments)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(said, done.stderr)
        dry = self.musterctl(gateway, "run", "--all", "--dry-run", "--", "true")
        self.assertEqual((dry.returncode, dry.stdout),
                         (0, "would run on 1 machine (all), 1 at a time\n"), dry.stderr)
        self.assertEqual(gateway.get("/api/batches")["batches"], [])


if __name__ == "__main__":
    muster_e2e.main()
