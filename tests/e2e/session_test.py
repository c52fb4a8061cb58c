"""A terminal on a machine, as a person has it: musterctl on a terminal of its own."""
import hashlib
import json
import os
import re
import signal
import subprocess

import muster_e2e
from muster_e2e import BUILD
from terminal import Terminal


class SessionTest(muster_e2e.TestCase):
    def terminal(self, gateway, *arguments):
        terminal = Terminal(str(BUILD / "bin/musterctl"), "--server", gateway.url, *arguments,
                            environment={"MUSTER_TOKEN": gateway.token})
        self.addCleanup(terminal.kill)
        return terminal

    def musterctl(self, gateway, *arguments, stdin=""):
        return muster_e2e.run_once("musterctl", "--server", gateway.url, *arguments, stdin=stdin,
                                   environment={"MUSTER_TOKEN": gateway.token})

    def one_machine(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        self.wait_status(gateway, agent.agent_id, "online", 20)
        return gateway, agent

    def test_a_shell_is_typed_into_and_its_exit_code_is_ours(self):
        gateway, agent = self.one_machine()
        terminal = self.terminal(gateway, "exec", "-it", agent.agent_id, "--", "bash", "--norc")
        terminal.wait_for("[#$] ")
        terminal.type("stty size; echo $TERM\r")
        terminal.wait_for(r"[\r\n]33 111\r\nxterm\r\n")
        terminal.resize(20, 70)
        terminal.type("sleep 0.3; stty size\r")
        terminal.wait_for(r"[\r\n]20 70\r\n")
        terminal.type("sleep 600\r")
        terminal.wait_for("sleep 600\r\n")
        terminal.type("\x03")  # Ctrl-C is the program's.
        terminal.type("exit 7\r")
        self.assertEqual(terminal.wait(), 7, terminal.shown)

    def test_it_is_left_and_attached_to_again(self):
        gateway, agent = self.one_machine()
        first = self.terminal(gateway, "exec", agent.agent_id, "--", "sh")
        first.type("x=kept; echo be''gun\r")
        first.wait_for("begun")
        first.type("\r~d")
        self.assertEqual(first.wait(), 0)
        session = re.search(r"musterctl sessions attach (\S+)", first.shown)[1]
        listed = self.musterctl(gateway, "sessions", "ls")
        self.assertRegex(listed.stdout, rf"{session} +\S+ +running +")
        second = self.terminal(gateway, "sessions", "attach", session)
        second.wait_for("begun")  # What was shown before.
        second.type("echo $x; exit\r")
        second.wait_for(r"\nkept\r\n")
        self.assertEqual(second.wait(), 0)
        self.assertNotIn(session, self.musterctl(gateway, "sessions", "ls").stdout)
        self.assertIn(session, self.musterctl(gateway, "sessions", "ls", "--all").stdout)

    def test_leaving_needs_no_answer_of_the_gateway(self):
        gateway, agent = self.one_machine()
        terminal = self.terminal(gateway, "exec", agent.agent_id, "--", "sh")
        terminal.wait_for("[#$] ")
        gateway.program.freeze()
        self.addCleanup(gateway.program.send, signal.SIGCONT)
        terminal.type("\r~d")
        self.assertEqual(terminal.wait(), 0)
        self.assertIn("left; the session lives on", terminal.shown)

    def test_it_outlives_its_viewer_its_agent_and_its_gateway(self):
        gateway, agent = self.one_machine()
        terminal = self.terminal(gateway, "exec", agent.agent_id, "--", "sh")
        terminal.type("x=1; echo ste''p1\r")
        terminal.wait_for("step1")
        agent.kill()
        agent.start()
        terminal.type("x=$x.2; echo ste''p2\r")
        terminal.wait_for("step2", 40)
        gateway.kill()
        gateway.start()
        terminal.type("x=$x.3; echo ste''p3\r")
        terminal.wait_for("step3", 60)
        terminal.wait_for("the gateway is back")
        terminal.kill()
        session = gateway.get("/api/sessions")["sessions"][0]["session_id"]
        again = self.terminal(gateway, "sessions", "attach", session)
        again.type("echo $x.4; exit 4\r")
        again.wait_for(r"\n1\.2\.3\.4\r\n")
        self.assertEqual(again.wait(), 4)

    def test_a_kill_ends_all_that_runs_in_it(self):
        gateway, agent = self.one_machine()
        terminal = self.terminal(gateway, "exec", agent.agent_id, "--", "bash", "--norc")
        terminal.wait_for("[#$] ")
        terminal.type("trap '' HUP TERM; sleep 4711 & sleep 4711\r")
        terminal.wait_for("sleep 4711\r\n")
        session = gateway.get("/api/sessions")["sessions"][0]["session_id"]
        looks = self.terminal(gateway, "sessions", "attach", "--read-only", session)
        self.assertEqual(self.musterctl(gateway, "sessions", "kill", session).returncode, 0)
        self.assertNotEqual(terminal.wait(30), 0)
        self.assertIn("the session was cancelled (ended by admin-token)", terminal.shown)
        self.assertNotEqual(looks.wait(30), 0)
        self.assertEqual(subprocess.run(["pgrep", "-f", "^sleep 4711"],
                                        stdout=subprocess.PIPE, check=False).stdout, b"")

    def test_a_recording_is_announced_and_played(self):
        gateway, agent = self.one_machine()
        terminal = self.terminal(gateway, "exec", "--record", agent.agent_id, "--", "echo", "hällo")
        self.assertEqual(terminal.wait(), 0)
        self.assertIn("This session is recorded.\r\nhällo\r\n", terminal.shown)
        session = gateway.get("/api/sessions?ended=true")["sessions"][0]["session_id"]
        played = self.musterctl(gateway, "sessions", "play", session)
        self.assertIn("hällo\n", played.stdout)
        cast = self.folder / "web.cast"
        self.musterctl(gateway, "sessions", "play", session, "--to", str(cast))
        lines = [json.loads(line) for line in cast.read_text().splitlines()]
        self.assertEqual((lines[0]["version"], lines[0]["width"]), (2, 111))
        self.assertIn("hällo\r\n", "".join(event[2] for event in lines[1:]))

    def test_a_machine_that_is_away_says_why(self):
        gateway, agent = self.one_machine()
        agent.kill()
        self.wait_status(gateway, agent.agent_id, "offline", 20)
        terminal = self.terminal(gateway, "exec", agent.agent_id)
        self.assertEqual(terminal.wait(), 7)
        self.assertRegex(terminal.shown, "is offline .*last heartbeat")
        self.assertNotIn("--if-offline", terminal.shown)

    def test_what_is_piped_arrives_exactly_over_a_restart_of_the_gateway(self):
        gateway, agent = self.one_machine()
        data = os.urandom(3_000_000)
        ctl = subprocess.Popen(
            [BUILD / "bin/musterctl", "--server", gateway.url, "run", "--stdin", agent.agent_id,
             "--", "sha256sum"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, "MUSTER_TOKEN": gateway.token})
        self.addCleanup(ctl.kill)
        ctl.stdin.write(data[:1_500_000])
        ctl.stdin.flush()
        gateway.kill()
        gateway.start()
        ctl.stdin.write(data[1_500_000:])
        ctl.stdin.close()
        out = ctl.stdout.read()
        self.assertEqual(ctl.wait(60), 0, ctl.stderr.read())
        self.assertEqual(out.split()[0].decode(), hashlib.sha256(data).hexdigest())


if __name__ == "__main__":
    muster_e2e.main()
