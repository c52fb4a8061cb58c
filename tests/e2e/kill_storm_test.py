"""kill -9 at random of agents, shims and the gateway, alone and together, and folders of theirs
put back from older copies, while commands are asked for: whoever heard 202 gets exactly one true
answer.

Every command appends its number to a file, so that a second run shows. What nobody can know is
outcome_unknown, and nothing else may be: of a command whose shim was killed, that was open in a
copy, or that waited for a machine which the gateway had not met since it was put back. What a
gateway took after its copy was made it has forgotten; nobody can tell it.

Three things are beyond any rule, and the storm keeps from them: a question repeated to a gateway
that was put back is a new one; both sides put back behind the same command know nothing of it;
and a machine put back before its word of a command was heard is sent it again.
"""
import collections
import concurrent.futures
import contextlib
import http.client
import os
import pathlib
import random
import shutil
import signal
import subprocess
import threading
import time

import muster_e2e
from muster_e2e import wait_until

KILLS = 5000 if muster_e2e.LONG else 200
AGENTS, CALLERS = 2, 4
PATIENCE_S = 120  # Of a busy machine.
# Between two kills, and until what was killed is started again.
PAUSE_S, AWAY_S = 0.15, 0.3
# Of the commands, before the next is asked for.
WAITED_FOR = 0.5
# Of the deaths of a gateway or an agent: a copy is made, or one is put back.
COPIES, PUT_BACK = 0.25, 0.1
QUEUED, DISPATCHED = 1, 2  # As stored.
NEVER_RAN = ("expired", "rejected", "cancelled")


def state_of(pid):
    """As /proc has it: "T" stands still, "Z" has ended, "X" is gone."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


class Caller(threading.Thread):
    """Asks for one command after the other until stop(), each again and again until the
    gateway has said what it makes of it."""

    def __init__(self, number, test):
        super().__init__(daemon=True)
        self.number, self.test = number, test
        self.random = random.Random(number)
        self.ends = threading.Event()
        self.asking = threading.Lock()  # Held while it waits for an answer.
        self.asked = 0
        self.accepted = {}  # By id: (its number, the exit code that it will have).
        self.given_up = set()  # Numbers of which it does not know whether they were taken.

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
            command_id = self.submit(agent, name, code, {
                "command": text, "shell_type": "sh", "if_offline": "queue",
                "queue_ttl": "60s", "timeout": "60s"})
            if command_id and self.random.random() < WAITED_FOR:
                self.wait_for(command_id)
            self.ends.wait(self.random.random() * 0.2)

    def wait_for(self, command_id):
        """A little: or a slow machine is asked for more and more at once."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.test.gateway.call("GET", f"/api/commands/{command_id}?wait=5s")

    def submit(self, agent, name, code, body):
        """Its id; None if it was not taken, or nobody can say."""
        life = self.test.put_back["gateway"]
        while True:
            with self.asking, contextlib.suppress(OSError, http.client.HTTPException):
                if self.test.put_back["gateway"] != life:
                    self.given_up.add(name)  # Asked again, it would be another command.
                    return None
                answer = self.test.gateway.call(
                    "POST", f"/api/agents/{agent.agent_id}/commands", body,
                    headers={"Idempotency-Key": name})
                if answer.status == 202:
                    self.accepted[answer.data["command_id"]] = (name, code)
                    self.test.doubt_if_behind(agent, answer.data["command_id"])
                    return answer.data["command_id"]
                if answer.status < 500:
                    return None
            time.sleep(0.05)


class KillStormTest(muster_e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.ran = self.folder / "ran"
        self.ran.touch()
        self.gateway = self.start_gateway(drain="1s")
        for _ in range(AGENTS):
            self.start_agent(self.gateway)
        self.callers = [Caller(number, self) for number in range(CALLERS)]
        self.killed = {"agent": 0, "shim": 0, "gateway": 0}
        self.put_back = {"agent": 0, "gateway": 0}
        self.copies = {}  # By agent, or gateway: a folder.
        self.in_doubt = set()  # Commands of which perhaps nobody can know what became.
        self.forgotten = set()  # Commands that the gateway was put back behind.
        self.behind = {}  # Agents that the gateway has not met since; their last known epochs.

    # --- Shims --------------------------------------------------------------

    def shims(self, agents):
        """(pid, command id) of those that run for them."""
        found = []
        for process in pathlib.Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if len(words) > 1 and words[0].endswith(b"muster-exec") and any(
                    words[1].startswith(os.fsencode(agent.state_dir)) for agent in agents):
                found.append((int(process.name), pathlib.Path(os.fsdecode(words[1])).name))
        return found

    def signal_shim(self, shim, number):
        """True if it was still there."""
        pid, command_id = shim
        if number == signal.SIGKILL:
            self.in_doubt.add(command_id)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            return True
        return False

    # --- Copies -------------------------------------------------------------

    def copy(self, whose, folder):
        """Of a folder in which nothing moves; it takes the place of an older copy."""
        self.copies[whose] = self.folder / f"copy-of-{folder.parent.name}"
        self.replace(self.copies[whose], folder)

    def copy_machine(self, agent):
        """Its agent is dead, and its shims stand still, one that it has just begun included."""
        stopped = []
        while new := [shim for shim in self.shims([agent]) if shim not in stopped]:
            for shim in new:
                self.signal_shim(shim, signal.SIGSTOP)
                wait_until(lambda pid=shim[0]: state_of(pid) in "TZX", 10, f"{shim} stands still",
                           every_s=0.001)
            stopped += new
        self.copy(agent, agent.state_dir)
        for shim in stopped:
            self.signal_shim(shim, signal.SIGCONT)

    @staticmethod
    def replace(folder, copy):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["cp", "-a", copy, folder], check=True)

    @contextlib.contextmanager
    def nobody_asks(self):
        with contextlib.ExitStack() as all_callers:
            for caller in self.callers:
                all_callers.enter_context(caller.asking)
            yield

    def open_commands(self):
        """Ids of those of which the gateway's folder does not hold all."""
        return {row[0] for row in self.gateway.query(
            "SELECT id FROM commands WHERE finished_at_us IS NULL OR stdout_bytes < stdout_total"
            " OR stderr_bytes < stderr_total")}

    def put_machine_back(self, agent):
        """It dies as a whole, when the gateway has heard of every order that it was sent."""
        def all_heard_of():
            return not self.gateway.query(
                "SELECT 1 FROM commands WHERE agent = ? AND state IN (?, ?)",
                agent.agent_id, QUEUED, DISPATCHED)

        with self.nobody_asks():
            wait_until(all_heard_of, PATIENCE_S, "the machine has said what it was sent")
            agent.kill()
            for shim in self.shims([agent]):
                self.signal_shim(shim, signal.SIGKILL)
            self.in_doubt |= self.open_commands()
            self.replace(agent.state_dir, self.copies[agent])
        self.copies.pop(self.gateway, None)
        self.put_back["agent"] += 1

    def put_gateway_back(self):
        """It is dead."""
        with self.nobody_asks():
            self.replace(self.gateway.data_dir, self.copies[self.gateway])
            self.in_doubt |= self.open_commands()
            kept = {row[0] for row in self.gateway.query("SELECT id FROM commands")}
            self.forgotten |= {c for caller in self.callers for c in caller.accepted} - kept
            self.behind = {agent: self.gateway.query("SELECT epoch FROM machines WHERE id = ?",
                                                     agent.agent_id)[0][0]
                           for agent in self.agents}
            self.put_back["gateway"] += 1
        for agent in self.agents:
            self.copies.pop(agent, None)

    def doubt_if_behind(self, agent, command_id):
        """What waits for a machine when the gateway learns from it that it was put back
        may be of either life."""
        if agent in self.behind:
            self.in_doubt.add(command_id)

    def meet(self):
        """Finds out which agents the gateway has met."""
        for agent, epoch in list(self.behind.items()):
            if int(self.gateway.get(f"/api/agents/{agent.agent_id}")["epoch"]) > epoch:
                del self.behind[agent]

    # --- The storm ----------------------------------------------------------

    def end_agent(self, agent, chance):
        if agent in self.copies and chance.random() < PUT_BACK:
            self.put_machine_back(agent)
        else:
            agent.kill()
            if chance.random() < COPIES:
                self.copy_machine(agent)
        self.killed["agent"] += 1

    def end_gateway(self, chance):
        self.gateway.kill()
        if self.gateway in self.copies and chance.random() < PUT_BACK:
            self.put_gateway_back()
        elif chance.random() < COPIES:
            self.copy(self.gateway, self.gateway.data_dir)
        self.killed["gateway"] += 1

    def blow(self, chance):
        """Some die, and all but shims come back."""
        self.meet()
        victims = set(chance.choices(("agent", "shim", "gateway"), (5, 3, 2),
                                     k=chance.choice((1, 1, 2, 3))))
        agents = chance.sample(self.agents, chance.randint(1, AGENTS))
        if "shim" in victims:
            shims = self.shims(self.agents)
            self.killed["shim"] += bool(shims) and self.signal_shim(
                chance.choice(shims), signal.SIGKILL)
        if "agent" in victims:
            for agent in agents:
                self.end_agent(agent, chance)
        if "gateway" in victims:
            self.end_gateway(chance)
        time.sleep(chance.random() * AWAY_S)
        if "agent" in victims:
            for agent in agents:
                agent.start()
        if "gateway" in victims:
            self.gateway.start(PATIENCE_S)
        time.sleep(chance.random() * PAUSE_S)

    # --- The truth ----------------------------------------------------------

    def wait_ended(self, command_id):
        """The command, and all that it wrote."""
        command = {}

        def ended():
            command.update(self.gateway.get(f"/api/commands/{command_id}?wait=5s", timeout_s=20))
            return command.get("finished_at") and (
                command["output_complete"] or command_id in self.in_doubt)

        try:
            wait_until(ended, PATIENCE_S, "it has ended")
        except AssertionError as error:
            raise AssertionError(f"{error}: {command}") from error
        return command

    def expect_true(self, command_id, name, code, runs):
        """What was said of it; its state, or "forgotten"."""
        if command_id in self.forgotten:
            self.assertEqual(self.gateway.call("GET", f"/api/commands/{command_id}").status, 404)
            return "forgotten"
        command = self.wait_ended(command_id)
        state = command["state"]
        if state in ("succeeded", "failed"):
            self.assertEqual((runs, command["exit_code"]), (1, code), command)
            self.expect_output(command, f"out {name}\n")
        elif state in NEVER_RAN:
            self.assertEqual(runs, 0, f"it was said that it did not run: {command}")
        else:
            # A shim's child has its name until it has become the command.
            self.assertIn((state, command.get("signal")),
                          (("outcome_unknown", None), ("signaled", 9)), command)
            self.assertIn(command_id, self.in_doubt, f"nothing was lost, and yet: {command}")
        return state

    def expect_output(self, command, whole):
        output = self.gateway.call(
            "GET", f"/api/commands/{command['command_id']}/output/stdout").body
        if output == whole:
            return
        self.assertIn(command["command_id"], self.in_doubt, f"{output!r} of {command}")
        self.assertTrue(whole.startswith(output), f"{output!r} of {command}")
        self.assertGreater(int(command["output_dropped_bytes"]) or not command["output_complete"],
                           0, command)

    def test_whoever_heard_that_it_was_taken_gets_one_true_answer(self):
        seed = int(os.environ.get("MUSTER_SEED", "20261130"))
        chance = random.Random(seed)
        for caller in self.callers:
            caller.start()
        while sum(self.killed.values()) < KILLS or not all(self.put_back.values()):
            self.blow(chance)
        for caller in self.callers:
            caller.stop()
        for agent in self.agents:
            self.wait_status(self.gateway, agent.agent_id, "online", PATIENCE_S)
        accepted = {command_id: told for caller in self.callers
                    for command_id, told in caller.accepted.items()}
        wait_until(lambda: not self.gateway.query(
            "SELECT id FROM commands WHERE finished_at_us IS NULL"), PATIENCE_S, "all have ended")
        runs = collections.Counter(self.ran.read_text().split())

        def truth_of(command_id):
            name, code = accepted[command_id]
            try:
                return self.expect_true(command_id, name, code, runs[name])
            except AssertionError as lie:
                return f"not the truth: {lie}"

        with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
            states = collections.Counter(pool.map(truth_of, accepted))
        print(f"seed {seed}: killed {self.killed}, put back {self.put_back}; {dict(states)}")
        self.assertEqual([state for state in states if state.startswith("not the truth")], [])
        self.assertEqual({name for name, times in runs.items() if times > 1}, set(),
                         "a second run")
        self.assertGreater(states["succeeded"], KILLS // 4)
        known = {name for name, _ in accepted.values()}
        known |= {name for caller in self.callers for name in caller.given_up}
        self.assertLessEqual(set(runs), known, "what was never taken ran")
        for agent in self.agents:
            folders = agent.state_dir / "commands/commands"
            wait_until(lambda f=folders: not list(f.iterdir()), PATIENCE_S, "the folders are deleted")


if __name__ == "__main__":
    muster_e2e.main()
