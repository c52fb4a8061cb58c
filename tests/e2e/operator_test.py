"""What an operator does without thinking, and what comes of it: a terminal that is
closed, a pipe that ends early, an identity that is given up."""
import signal
import subprocess

import muster_e2e
from muster_e2e import BUILD, wait_until


class OperatorTest(muster_e2e.TestCase):
    def musterctl(self, gateway, *arguments):
        return muster_e2e.run_once("musterctl", "--server", gateway.url, *arguments,
                                   environment={"MUSTER_TOKEN": gateway.token})

    def agent(self, gateway, agent_id):
        return next(a for a in gateway.agents() if a["agent_id"] == agent_id)

    def test_a_closed_terminal_does_not_take_the_agent_with_it(self):
        gateway = self.start_gateway()
        agent = self.new_agent()
        agent.start()  # Before it has joined, too.
        wait_until(lambda: "not joined" in agent.text(), 5, "the agent waits")
        agent.program.send(signal.SIGHUP)
        wait_until(lambda: agent.text().count("SIGHUP is ignored") == 1, 5, "it says so")
        joined = agent.join(gateway.url, gateway.create_token(), "--wait", "10s")
        self.assertEqual(joined.returncode, 0, joined.stderr)
        agent.program.send(signal.SIGHUP)
        wait_until(lambda: agent.text().count("SIGHUP is ignored") == 2, 5, "it says so")
        self.assertEqual(agent.verb("heartbeat-now").returncode, 0)
        self.assertEqual(agent.stop()[0], 0)

    def test_a_pipe_that_ends_early_ends_the_command(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        for command, reader in (("yes", "head -2"), ("echo up; sleep 3600", "head -1")):
            with self.subTest(command):
                line = f'"$0" run "$1" -- {command!r} | {reader}; exit "${{PIPESTATUS[0]}}"'
                done = subprocess.run(
                    ["bash", "-c", line, BUILD / "bin/musterctl", agent.agent_id],
                    capture_output=True, text=True, timeout=60,
                    env={"MUSTER_TOKEN": gateway.token, "MUSTER_SERVER": gateway.url,
                         "PATH": "/usr/bin:/bin", "HOME": str(self.folder)})
                self.assertEqual(done.returncode, 128 + signal.SIGTERM, done.stderr)
                # Between them, if the machine was fast: what it had to drop.
                first, *_, last = done.stderr.splitlines()
                self.assertRegex(
                    first, "^musterctl: standard output: Broken pipe; cancelling command ")
                self.assertRegex(last, "^musterctl: the command was cancelled ")
                commands = gateway.get("/api/commands")["commands"]
                self.assertEqual(commands[0]["state"], "cancelled")

    def test_an_identity_that_is_given_up_while_it_runs_is_replaced(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        first = agent.agent_id
        joined = agent.join(gateway.url, gateway.create_token(), "--replace", "--wait", "10s")
        self.assertEqual(joined.returncode, 0, joined.stderr)
        second = agent.agent_id
        self.assertNotEqual(first, second)
        self.wait_status(gateway, second, "online", 10)
        hostname = self.agent(gateway, second)["hostname"]
        wait_until(lambda: self.agent(gateway, first).get("replaced_by") == second, 10,
                   "the old row says by whom it was replaced")
        self.assertEqual(self.agent(gateway, second)["name"], hostname)
        named = self.musterctl(gateway, "agents", "get", hostname, "-o", "name")
        self.assertEqual((named.returncode, named.stdout), (0, hostname + "\n"), named.stderr)
        ran = self.musterctl(gateway, "run", hostname, "--", "echo it ran")
        self.assertEqual((ran.returncode, ran.stdout), (0, "it ran\n"), ran.stderr)

        # Every name that is listed can be typed.
        third = self.start_agent(gateway)
        for arguments in ((), ("--status", "online"), ("--limit", "1")):
            listed = self.musterctl(gateway, "agents", "ls", "-o", "name", *arguments)
            names = listed.stdout.split()
            self.assertEqual(len(names), len(set(names)))
            for name in names:
                again = self.musterctl(gateway, "agents", "get", name, "-o", "name")
                self.assertEqual(again.stdout, name + "\n", again.stderr)
        self.assertNotEqual(self.agent(gateway, third.agent_id)["name"], hostname)


if __name__ == "__main__":
    muster_e2e.main()
