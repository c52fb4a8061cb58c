"""`muster-agent join --start`: the printed line alone brings a machine online."""
import os
import pathlib
import subprocess

import muster_e2e
from muster_e2e import wait_until


class StartTest(muster_e2e.TestCase):
    def setUp(self):
        super().setUp()
        if pathlib.Path("/run/systemd/system").exists():
            self.skipTest("systemd would run the agent")

    def end_daemon(self, agent):
        """The daemon is nobody's child: it is found by its control socket."""
        agent.verb("stop")
        wait_until(lambda: agent.verb("status").returncode == 3, 10, "the daemon has ended")

    def test_the_printed_lines_bring_the_machine_online(self):
        gateway = self.start_gateway()
        agent = self.new_agent()
        lines = gateway.call("POST", "/api/tokens", {}).data["join_script"]
        self.assertIn("--start", lines)
        path = f"{muster_e2e.BUILD / 'bin'}:{os.environ['PATH']}"
        self.addCleanup(self.end_daemon, agent)
        done = subprocess.run(["sh", "-c", lines], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "PATH": path,
                                   "MUSTER_STATE_DIR": str(agent.state_dir)})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("in the background", done.stdout)
        self.assertIn("This machine is online.", done.stdout)
        self.wait_status(gateway, agent.agent_id, "online", 5)

        # It outlives the shell, and a second time is no second agent.
        again = agent.join(gateway.url, "", "--start")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertIn("Already joined", again.stdout)
        self.assertIn("The agent is already running.", again.stdout)
        self.assertIn("This machine is online.", again.stdout)
        self.assertEqual(gateway.run(agent.agent_id, "env")["state"], "succeeded")
        self.assertEqual(len(gateway.agents()), 1)

    def test_it_says_when_the_machine_does_not_come_online(self):
        gateway = self.start_gateway()
        agent = self.new_agent()
        self.assertEqual(agent.join(gateway.url, gateway.create_token()).returncode, 0)
        gateway.stop()
        self.addCleanup(self.end_daemon, agent)
        joined = agent.join(gateway.url, "", "--start", "--wait", "1s")
        self.assertEqual(joined.returncode, 1, joined.stdout)
        self.assertIn("not online after 1s", joined.stderr)
        gateway.start()
        self.wait_status(gateway, agent.agent_id, "online", 30)


if __name__ == "__main__":
    muster_e2e.main()
