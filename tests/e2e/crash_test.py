"""kill -9 of the agent, the gateway, and both, at every step of a registration
and of a command: the fleet is the same afterwards.

The moments are exact where a relay can hold a message or a file shows the
step; besides, kills are spread over the time that the whole takes.
"""
import itertools
import os
import pathlib
import signal
import threading

import muster_e2e
from muster_e2e import wait_until
from relay import Relay

VICTIMS = ("agent", "gateway", "both")
ROUNDS = 40 if muster_e2e.LONG else 4
OUTPUT_LINES = 3000


class CrashTest(muster_e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.gateway = self.start_gateway(drain="1s")

    def relay_to(self, port):
        relay = Relay("127.0.0.1", port)
        self.addCleanup(relay.end)
        return relay

    def kill(self, victim, agent_program):
        if victim in ("agent", "both"):
            agent_program.kill()
        if victim in ("gateway", "both"):
            self.gateway.kill()


class RegistrationTest(CrashTest):
    """Afterwards the same token and key have made exactly one machine."""

    def setUp(self):
        super().setUp()
        self.relay = self.relay_to(self.gateway.web_port)
        self.url = f"http://127.0.0.1:{self.relay.port}"
        self.machines = 0

    def begin_join(self, agent, token):
        return self.start_program("muster-agent", "join", "--server", self.url, "--state-dir",
                                  agent.state_dir, environment={"MUSTER_TOKEN": token})

    def recover(self, victim, agent, token):
        """What was killed starts again; joining is repeated as it was begun."""
        self.relay.cut()
        self.relay.release()
        if victim in ("gateway", "both"):
            self.gateway.start()
        joined = agent.join(self.url, token)
        self.assertEqual(joined.returncode, 0, joined.stderr)
        self.machines += 1
        ids = [a["agent_id"] for a in self.gateway.agents()]
        self.assertEqual(len(ids), self.machines)
        self.assertIn(agent.agent_id, ids)

    def uses(self):
        return [t["uses"] for t in self.gateway.get("/api/tokens")["tokens"]]

    def test_no_step_of_joining_loses_or_doubles_a_machine(self):
        for moment, victim in itertools.product(("asked", "answered"), VICTIMS):
            with self.subTest(f"{victim} killed when {moment}"):
                agent, token = self.new_agent(), self.gateway.create_token()
                held = self.relay.to_server if moment == "asked" else self.relay.to_client
                held.clear()
                join = self.begin_join(agent, token)
                if moment == "asked":
                    wait_until((agent.state_dir / "key.new.pem").exists, 5, "the key is written")
                else:
                    wait_until(lambda: len(self.gateway.agents()) == self.machines + 1, 5,
                               "the gateway has registered it")
                self.kill(victim, join)
                self.relay.cut()
                if victim == "gateway":
                    self.assertEqual(join.wait(20), 1, join.text())
                self.assertIsNone(agent.agent_id)
                self.recover(victim, agent, token)
        self.assertEqual(self.uses(), [1] * self.machines)

    def test_a_kill_between_saving_the_identity_and_the_key_changes_nothing(self):
        agent, token = self.new_agent(), self.gateway.create_token()
        self.assertEqual(agent.join(self.url, token).returncode, 0)
        # What a kill between the two renames leaves behind.
        (agent.state_dir / "key.pem").rename(agent.state_dir / "key.new.pem")
        agent.start()
        self.wait_status(self.gateway, agent.agent_id, "online", 10)
        self.assertTrue((agent.state_dir / "key.pem").exists())

    def test_kills_at_any_time_leave_the_same_fleet(self):
        for i, victim in itertools.product(range(ROUNDS), VICTIMS):
            delay_s = 0.002 + 0.1 * i / ROUNDS
            with self.subTest(f"{victim} killed after {delay_s * 1000:.0f} ms"):
                agent, token = self.new_agent(), self.gateway.create_token()
                join = self.begin_join(agent, token)
                threading.Event().wait(delay_s)
                self.kill(victim, join)
                join.wait(30)  # Else the repeated one would race it.
                self.recover(victim, agent, token)
        self.assertEqual(self.uses(), [1] * self.machines)
        last = self.agents[-1]
        last.start()
        self.wait_status(self.gateway, last.agent_id, "online", 10)


class CommandTest(CrashTest):
    """Afterwards a command ran at most once, has one end, and all its output."""

    def setUp(self):
        super().setUp()
        self.relay = self.relay_to(self.gateway.fleet_port)
        self.agent = self.new_agent()
        joined = self.agent.join(self.gateway.url, self.gateway.create_token())
        self.assertEqual(joined.returncode, 0, joined.stderr)
        self.agent.point_to(f"127.0.0.1:{self.relay.port}")
        self.agent.start()
        self.epoch = self.wait_new_link(self.gateway, self.agent.agent_id, 0, 10)
        self.ran = self.folder / "ran"
        self.number, self.ended = 0, {}

    def submit(self, wait_s=0.2):
        """A command that leaves a trace and much output; its id."""
        self.number += 1
        text = (f"echo {self.number} >> {self.ran}; "
                f"seq {OUTPUT_LINES}; sleep {wait_s}; echo end")
        answer = self.gateway.call("POST", f"/api/agents/{self.agent.agent_id}/commands",
                                   {"command": text, "timeout": "30s"})
        self.assertEqual(answer.status, 202, answer)
        return answer.data["command_id"]

    def folder_of(self, command_id):
        return self.agent.state_dir / "commands/commands" / command_id

    def state_of(self, command_id):
        return self.gateway.get(f"/api/commands/{command_id}")["state"]

    def recover(self, victim):
        self.relay.cut()
        self.relay.release()
        if victim in ("gateway", "both"):
            self.gateway.start()
        if victim in ("agent", "both"):
            self.agent.start()
        self.epoch = self.wait_new_link(self.gateway, self.agent.agent_id, self.epoch, 15)

    def expect_one_honest_end(self, command_id, states):
        ended = wait_until(lambda: self.ended_command(command_id), 20, "the command has ended")
        self.assertIn(ended["state"], states, ended)
        runs = self.ran.read_text().split().count(str(self.number)) if self.ran.exists() else 0
        self.assertEqual(runs, 1 if ended["state"] == "succeeded" else 0, ended)
        if ended["state"] == "succeeded":
            output = self.gateway.call("GET", f"/api/commands/{command_id}/output/stdout").body
            expected = "".join(f"{n}\n" for n in range(1, OUTPUT_LINES + 1)) + "end\n"
            self.assertEqual(len(output), len(expected))
            self.assertEqual(output, expected)
        self.ended[command_id] = ended["state"]

    def ended_command(self, command_id):
        command = self.gateway.get(f"/api/commands/{command_id}?wait=1s")
        complete = command["state"] == "succeeded" and not command["output_complete"]
        return command if command.get("finished_at") and not complete else None

    def check_all(self):
        """Nobody's end has changed, and the agent has forgotten all of it."""
        listed = {c["command_id"]: c["state"]
                  for c in self.gateway.get("/api/commands?limit=1000")["commands"]}
        self.assertEqual(listed, self.ended)
        commands = self.agent.state_dir / "commands/commands"
        wait_until(lambda: not list(commands.iterdir()), 10, "the folders are deleted")
        self.assertEqual(len(self.gateway.agents()), 1)

    def at(self, moment):
        """Submits a command and returns its id at the moment."""
        if moment == "dispatched":  # The order is on its way.
            self.relay.to_client.clear()
        if moment == "exit":  # No word of it reaches the gateway.
            self.relay.to_server.clear()
        command_id = self.submit()
        folder = self.folder_of(command_id)
        if moment == "dispatched":
            wait_until(lambda: self.state_of(command_id) == "dispatched", 5, moment)
        elif moment in ("spec", "started"):
            wait_until((folder / moment).exists, 5, moment, every_s=0.0005)
        elif moment == "output":
            wait_until(lambda: self.gateway.get(f"/api/commands/{command_id}")["stdout_bytes"], 5,
                       moment, every_s=0.002)
        elif moment == "exit":
            if not folder.exists():  # A held direction also holds acknowledgements of TCP data.
                wait_until(folder.exists, 5, "received")
            wait_until((folder / "exit").exists, 10, moment)
        elif moment == "stored":  # The gateway has the end, the agent does not know it.
            wait_until((folder / "started").exists, 5, "started", every_s=0.0005)
            self.relay.to_client.clear()
            wait_until(lambda: self.state_of(command_id) == "succeeded", 10, moment)
        return command_id

    def test_no_step_of_a_command_loses_or_doubles_it(self):
        moments = ("accepted", "dispatched", "spec", "started", "output", "exit", "stored")
        for moment, victim in itertools.product(moments, VICTIMS):
            with self.subTest(f"{victim} killed at {moment}"):
                command_id = self.at(moment)
                self.kill(victim, self.agent.program)
                self.recover(victim)
                # The agent may die before there is a shim; then it never ran.
                early = moment in ("accepted", "spec") and victim != "gateway"
                self.expect_one_honest_end(
                    command_id, ("succeeded", "rejected") if early else ("succeeded",))
        self.check_all()

    def test_kills_at_any_time_leave_one_honest_end(self):
        for i, victim in itertools.product(range(ROUNDS), VICTIMS):
            delay_s = 0.15 * i / ROUNDS
            with self.subTest(f"{victim} killed after {delay_s * 1000:.0f} ms"):
                command_id = self.submit(wait_s=0.05)
                threading.Event().wait(delay_s)
                self.kill(victim, self.agent.program)
                self.recover(victim)
                self.expect_one_honest_end(command_id, ("succeeded", "rejected"))
        self.check_all()

    def test_a_killed_shim_leaves_an_unknown_outcome_and_no_guess(self):
        command_id = self.submit(wait_s=30)
        wait_until((self.folder_of(command_id) / "started").exists, 5, "started")
        wait_until(lambda: self.ran.exists(), 5, "it runs")
        os.kill(shim_of(command_id), signal.SIGKILL)
        ended = self.gateway.get(f"/api/commands/{command_id}?wait=15s", timeout_s=20)
        self.assertEqual((ended["state"], ended["reason"]), ("outcome_unknown", "shim_lost"))

    def test_a_machine_that_is_put_back_to_before_a_start_does_not_deny_it(self):
        command_id = self.submit(wait_s=30)
        wait_until(lambda: self.state_of(command_id) == "running", 10, "the gateway has heard")
        self.agent.kill()
        os.kill(shim_of(command_id), signal.SIGKILL)
        for file in self.folder_of(command_id).iterdir():  # As it was when it was taken.
            if file.name not in ("spec", "exit.reserve"):
                file.unlink()
        self.recover("agent")
        ended = self.gateway.get(f"/api/commands/{command_id}?wait=15s", timeout_s=20)
        self.assertEqual((ended["state"], ended["reason"]),
                         ("outcome_unknown", "agent_rolled_back"))


def shim_of(command_id):
    """Its process id."""
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            argv = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if argv[0].endswith(b"muster-exec") and command_id.encode() in argv[1]:
            return int(process.name)
    raise AssertionError(f"no shim of {command_id}")


if __name__ == "__main__":
    muster_e2e.main()
