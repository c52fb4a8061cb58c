"""kill -9 at random of agents, shims and the gateway, alone and together, while commands are
asked for: whoever heard 202 gets exactly one true answer.

Every command appends its number to a file, so that a second run shows. A shim that is killed
takes the truth with it: only then an outcome may be unknown.
"""
import http.client
import os
import pathlib
import random
import threading
import time

import muster_e2e
from muster_e2e import wait_until

KILLS = 5000 if muster_e2e.LONG else 200
AGENTS, CALLERS = 2, 4
# Between two kills, and until what was killed is started again.
PAUSE_S, AWAY_S = 0.15, 0.3
NEVER_RAN = ("expired", "rejected", "cancelled")


class Caller(threading.Thread):
    """Asks for one command after the other until stop(), each again and again until the
    gateway has said what it makes of it."""

    def __init__(self, number, test):
        super().__init__(daemon=True)
        self.number, self.test = number, test
        self.random = random.Random(number)
        self.ends = threading.Event()
        self.asked = 0
        self.accepted = {}  # By id: (its number, the exit code that it will have).

    def stop(self):
        self.ends.set()
        self.join()

    def run(self):
        while not self.ends.is_set():
            self.asked += 1
            name = f"{self.number}-{self.asked}"
            code = self.random.choice((0, 0, 0, 3))
            text = (f"echo {name} >> {self.test.ran}; echo out {name}; "
                    f"sleep 0.{self.random.randrange(4)}; exit {code}")
            agent = self.random.choice(self.test.agents)
            self.submit(agent, name, code, {
                "command": text, "shell_type": "sh", "if_offline": "queue",
                "delivery_timeout": "60s", "timeout": "60s"})
            self.ends.wait(self.random.random() * 0.2)

    def submit(self, agent, name, code, body):
        while True:
            try:
                answer = self.test.gateway.call(
                    "POST", f"/api/agents/{agent.agent_id}/commands", body,
                    headers={"Idempotency-Key": name})
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            if answer.status == 202:
                self.accepted[answer.data["command_id"]] = (name, code)
            if answer.status < 500:
                return
            time.sleep(0.05)


class KillStormTest(muster_e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.ran = self.folder / "ran"
        self.ran.touch()
        self.gateway = self.start_gateway(drain="1s")
        for _ in range(AGENTS):
            self.start_agent(self.gateway)
        self.unsure = set()  # Commands whose shim was killed.

    def shims(self):
        """(pid, command id) of those that run."""
        found = []
        for process in pathlib.Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if len(words) > 1 and words[0].endswith(b"muster-exec") and any(
                    words[1].startswith(os.fsencode(agent.state_dir)) for agent in self.agents):
                found.append((int(process.name), pathlib.Path(os.fsdecode(words[1])).name))
        return found

    def kill_shim(self, chance):
        shims = self.shims()
        if not shims:
            return False
        pid, command_id = chance.choice(shims)
        self.unsure.add(command_id)
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            return False
        return True

    def storm(self, chance, kills):
        """So many processes are killed, and all but shims come back."""
        killed = {"agent": 0, "shim": 0, "gateway": 0}
        while sum(killed.values()) < kills:
            victims = set(chance.choices(("agent", "shim", "gateway"), (5, 3, 2),
                                         k=chance.choice((1, 1, 2, 3))))
            agents = chance.sample(self.agents, chance.randint(1, AGENTS))
            if "shim" in victims:
                killed["shim"] += self.kill_shim(chance)
            if "agent" in victims:
                for agent in agents:
                    agent.kill()
                    killed["agent"] += 1
            if "gateway" in victims:
                self.gateway.kill()
                killed["gateway"] += 1
            time.sleep(chance.random() * AWAY_S)
            if "agent" in victims:
                for agent in agents:
                    agent.start()
            if "gateway" in victims:
                self.gateway.start()
            time.sleep(chance.random() * PAUSE_S)
        return killed

    def ended(self, command_id):
        command = self.gateway.get(f"/api/commands/{command_id}?wait=5s", timeout_s=20)
        if not command.get("finished_at"):
            return None
        return command if command["output_complete"] or command_id in self.unsure else None

    def expect_true(self, command_id, name, code, runs):
        command = wait_until(lambda: self.ended(command_id), 90, f"command {name} has ended")
        state = command["state"]
        self.assertLessEqual(runs, 1, f"a second run: {command}")
        if state in ("succeeded", "failed"):
            self.assertEqual((runs, command["exit_code"]), (1, code), command)
            output = self.gateway.call("GET", f"/api/commands/{command_id}/output/stdout").body
            self.assertEqual(output, f"out {name}\n")
        elif state in NEVER_RAN:
            self.assertEqual(runs, 0, f"it was said that it did not run: {command}")
        else:
            # A shim's child has its name until it has become the command.
            self.assertIn((state, command.get("signal")),
                          (("outcome_unknown", None), ("signaled", 9)), command)
            self.assertIn(command_id, self.unsure, f"nothing was lost, and yet: {command}")
        return state

    def test_whoever_heard_that_it_was_taken_gets_one_true_answer(self):
        seed = int(os.environ.get("MUSTER_SEED", "20261130"))
        callers = [Caller(number, self) for number in range(CALLERS)]
        for caller in callers:
            caller.start()
        killed = self.storm(random.Random(seed), KILLS)
        for caller in callers:
            caller.stop()
        for agent in self.agents:
            self.wait_status(self.gateway, agent.agent_id, "online", 30)
        states = {}
        for caller in callers:
            for command_id, (name, code) in caller.accepted.items():
                wait_until(lambda c=command_id: self.ended(c), 90, f"command {name} has ended")
        runs = self.ran.read_text().split()
        for caller in callers:
            for command_id, (name, code) in caller.accepted.items():
                state = self.expect_true(command_id, name, code, runs.count(name))
                states[state] = states.get(state, 0) + 1
        print(f"seed {seed}: killed {killed}; {states}")
        self.assertGreater(states.get("succeeded", 0), KILLS // 4)
        known = {name for caller in callers for name, _ in caller.accepted.values()}
        self.assertLessEqual(set(runs), known, "what was never taken ran")
        for agent in self.agents:
            folders = agent.state_dir / "commands/commands"
            wait_until(lambda f=folders: not list(f.iterdir()), 30, "the folders are deleted")


if __name__ == "__main__":
    muster_e2e.main()
