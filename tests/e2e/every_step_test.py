"""kill -9 at literally every step: of joining, of a registration at the gateway,
of a gateway's first start, and of a command, on both sides.

A step is a call by which a program becomes visible outside itself: a file
created, synced, renamed, a message sent, a program started (kill_at_step.cc).
A scenario is repeated with the kill before its step 1, 2, 3, … until it runs
through untouched. The ordinary form takes a few steps of different kinds, the
long form (MUSTER_LONG_TESTS) all.
"""
import contextlib
import http.client
import itertools
import pathlib
import shlex
import subprocess
import unittest

import muster_e2e
from muster_e2e import BUILD, wait_until

KILL_AT_STEP = BUILD / "tests/e2e/kill_at_step"
NEVER = 0
PATIENCE_S = 60  # Of a busy machine.
OUTPUT_LINES = 20000  # More than one message and one row take.
SHIM, AGENT, GATEWAY = "muster-exec", "muster-agent", "muster-gateway"
OF_ITS_PARENT = "of-its-parent"  # The program that starts another, while it does.


class Killer:
    """The control of kill_at_step. Programs run under `under`; from arm() on
    their steps are counted, together, and the victims die before step `step`."""

    def __init__(self, folder):
        self.control, self.log = folder / "kill-control", folder / "kill-log"
        self.under = [KILL_AT_STEP, self.control, self.log, "--"]
        self.arms, self.step = 0, NEVER

    def arm(self, step, victims="self"):
        self.arms, self.step = self.arms + 1, step
        fresh = self.control.with_suffix(".new")
        fresh.write_text(f"{self.arms} {step} {victims}\n")
        fresh.rename(self.control)

    def disarm(self):
        self.control.unlink(missing_ok=True)

    def steps(self):
        """What was counted since arm(): "PROGRAM CALL OBJECT", step 1 first. The
        last may be one that did not happen any more."""
        mine = f"{self.arms} "
        return [line.removeprefix(mine).partition(" ")[2]
                for line in self._lines() if line.startswith(mine)]

    def killed(self):
        return f"killed {self.arms} {self.step}" in self._lines()

    def before_the_kill(self):
        return self.steps()[:self.step - 1]

    def the_step(self):
        return self.steps()[self.step - 1]

    def _lines(self):
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []


def spread(steps, few):
    """Numbers of `few` of the steps: of as many kinds as possible."""
    kinds = {}
    for number, step in enumerate(steps, 1):
        kinds.setdefault(tuple(step.split()[:2]), []).append(number)
    # The first of each kind, then the second, …
    mixed = [n for nth in itertools.zip_longest(*kinds.values()) for n in nth if n]
    mixed = mixed[:max(few, len(kinds))]
    return sorted(mixed[i * len(mixed) // few] for i in range(min(few, len(mixed))))


def may_trace():
    """Some containers forbid it."""
    return subprocess.run([KILL_AT_STEP, "/dev/null", "/dev/null", "--", "true"],
                          check=False).returncode == 0


@unittest.skipUnless(may_trace(), "ptrace is not allowed here")
class EveryStepTest(muster_e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.killer = Killer(self.folder)
        self.machines = 0

    def every_step(self, few, once):
        """Calls once(step), which runs the scenario armed for that step, and looks
        at what is left of it, for a few steps or for all."""
        if not muster_e2e.LONG:
            once(NEVER)
            chosen = spread(self.killer.steps(), few)
        else:
            chosen = itertools.count(1)
        for step in chosen:
            try:
                once(step)
            except AssertionError as error:  # What follows would fail for it too.
                raise AssertionError(f"step {step}: {error}") from error
            if self.killer.killed():
                print(f"  step {step}: {self.killer.the_step()}", flush=True)
            elif muster_e2e.LONG:
                print(f"  {self.id()}: {step - 1} steps", flush=True)
                return

    def begin_join(self, gateway, agent, token, under=()):
        return self.start_program("muster-agent", "join", "--server", gateway.url, "--state-dir",
                                  agent.state_dir, environment={"MUSTER_TOKEN": token},
                                  under=under)

    def expect_joined(self, gateway, agent, token):
        """The same line again makes it the one machine that it was to be."""
        joined = agent.join(gateway.url, token)
        self.assertEqual(joined.returncode, 0, joined.stderr)
        self.machines += 1
        ids = [a["agent_id"] for a in gateway.agents()]
        self.assertEqual(len(ids), self.machines)
        self.assertIn(agent.agent_id, ids)
        self.assertEqual([t["uses"] for t in gateway.get("/api/tokens")["tokens"]],
                         [1] * self.machines)
        # The pace is written last, and nobody misses it.
        self.assertEqual({f.name for f in agent.state_dir.iterdir()} - {"pace.toml"},
                         {"identity.toml", "join.lock", "key.pem"})
        agent.start()
        self.wait_status(gateway, agent.agent_id, "online", PATIENCE_S)
        agent.stop()


class RegistrationTest(EveryStepTest):
    def test_a_machine_that_dies_at_any_step_of_joining_joins_by_the_same_line(self):
        gateway = self.start_gateway()

        def once(step):
            agent, token = self.new_agent(), gateway.create_token()
            self.killer.arm(step)
            join = self.begin_join(gateway, agent, token, self.killer.under)
            code = join.wait(PATIENCE_S)
            self.killer.disarm()
            self.assertEqual(code, 128 + 9 if self.killer.killed() else 0, join.text())
            self.expect_joined(gateway, agent, token)

        self.every_step(8, once)

    def test_a_gateway_that_dies_at_any_step_of_a_registration_has_one_machine(self):
        gateway = self.new_gateway(drain="1s")
        gateway.under = self.killer.under
        gateway.start(PATIENCE_S)

        def once(step):
            agent, token = self.new_agent(), gateway.create_token()
            self.killer.arm(step)
            join = self.begin_join(gateway, agent, token)
            join.wait(PATIENCE_S)
            self.killer.disarm()
            if self.killer.killed():
                gateway.program.wait(PATIENCE_S)
                gateway.start(PATIENCE_S)
            self.expect_joined(gateway, agent, token)

        self.every_step(4, once)

    def test_a_gateway_that_dies_at_any_step_of_its_first_start_starts_again(self):
        def once(step):
            self.machines = 0
            gateway = self.new_gateway(drain="1s")
            gateway.under = self.killer.under
            self.killer.arm(step)
            try:
                gateway.start(PATIENCE_S)
            except AssertionError:
                if not self.killer.killed():
                    raise
                gateway.program.wait(PATIENCE_S)
            self.killer.disarm()
            gateway.under = []
            if self.killer.killed():
                if gateway.program.running():  # It died after it was ready.
                    gateway.program.wait(PATIENCE_S)
                gateway.start(PATIENCE_S)
            agent = self.new_agent()
            self.expect_joined(gateway, agent, gateway.create_token())
            gateway.program.end()

        self.every_step(4, once)

    def test_a_machine_that_dies_at_any_step_of_leaving_can_leave_and_join_again(self):
        gateway = self.start_gateway()

        def once(step):
            agent = self.new_agent()
            agent.join(gateway.url, gateway.create_token())
            agent.under = self.killer.under
            agent.start()
            left_id = agent.agent_id
            self.wait_status(gateway, left_id, "online", PATIENCE_S)
            self.killer.arm(step)
            left = agent.verb("leave")
            self.killer.disarm()
            agent.under = []
            if not self.killer.killed():
                self.assertEqual(left.returncode, 0, left.stderr)
            self.leave_if_it_has_not(gateway, agent, left_id)
            self.assertEqual(gateway.agents(), [])
            joined = agent.join(gateway.url, gateway.create_token(), "--replace")
            self.assertEqual(joined.returncode, 0, joined.stderr)
            self.run_unless_it_does(agent)
            self.wait_status(gateway, agent.agent_id, "online", PATIENCE_S)
            self.assertEqual([a["agent_id"] for a in gateway.agents()], [agent.agent_id])
            self.assertEqual(agent.verb("leave").returncode, 0)

        self.every_step(4, once)

    def leave_if_it_has_not(self, gateway, agent, left_id):
        """Either the gateway knows it still, and it can leave, or it is told."""
        self.run_unless_it_does(agent)
        machine = wait_until(lambda: gateway.call("GET", f"/api/agents/{left_id}"), 5, "answer")
        if machine.status == 200:
            self.wait_new_link(gateway, left_id, 0, PATIENCE_S)
            wait_until(lambda: agent.verb("leave").returncode == 0, PATIENCE_S, "it leaves")
        wait_until(lambda: agent.agent_id is None, PATIENCE_S, "it knows that it has left")

    @staticmethod
    def run_unless_it_does(agent):
        with contextlib.suppress(subprocess.TimeoutExpired):
            agent.program.process.wait(0.5)  # It may be ending.
            agent.start()


class CommandTest(EveryStepTest):
    """A command runs at most once, has one end, which stays, and it is the truth."""

    def setUp(self):
        super().setUp()
        # Nobody is stale because the machine is busy: that would refuse commands.
        self.gateway = self.new_gateway(drain="1s", stale_after="20s", offline_after="60s")
        self.agent = self.new_agent()
        self.gateway.start(PATIENCE_S)
        joined = self.agent.join(self.gateway.url, self.gateway.create_token())
        self.assertEqual(joined.returncode, 0, joined.stderr)
        self.ran = self.folder / "ran"
        self.number, self.ended, self.epoch = 0, {}, 0

    def start_both(self):
        """As children of one tracer, which can end them at once."""
        script = " & ".join(shlex.join(map(str, p.argv())) for p in (self.gateway, self.agent))
        both = muster_e2e.Program([*self.killer.under, "sh", "-c", f"{script} & wait"],
                                  self.folder / "both.log")
        self.programs.append(both)
        self.gateway.program = self.agent.program = both
        self.gateway.wait_ready(PATIENCE_S)

    def start_agent(self):
        if self.agent.program:
            self.programs.append(self.agent.program)  # The tracer of a shim that lives.
        self.agent.start()

    def wait_linked(self):
        self.epoch = self.wait_new_link(self.gateway, self.agent.agent_id, self.epoch, PATIENCE_S)

    def linked(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.gateway.get("/api/status")["links"] == 1

    def submit(self, and_then=""):
        """A command that leaves a trace; its id, or None if nobody said 202."""
        self.number += 1
        text = f"echo {self.number} >> {self.ran}; seq {OUTPUT_LINES}; {and_then}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = self.gateway.call("POST", f"/api/agents/{self.agent.agent_id}/commands",
                                       {"command": text, "timeout": "30s"})
            self.assertEqual(answer.status, 202, answer)
            return answer.data["command_id"]

    def forgotten(self):
        """The machine has nothing left to say."""
        commands = self.agent.state_dir / "commands/commands"
        return not commands.exists() or not list(commands.iterdir())

    def done(self, command_id):
        """Looks into the store: a question would be a step of the gateway."""
        return command_id and self.forgotten() and self.gateway.query(
            "SELECT 1 FROM commands WHERE id = ? AND finished_at_us IS NOT NULL",
            command_id)

    def once_for(self, who, recover):
        """`who` dies; recover(victims) starts it again."""
        def once(step):
            self.killer.arm(step, who)
            command_id = self.submit()
            wait_until(lambda: self.killer.killed() or self.done(command_id), PATIENCE_S,
                       "killed or done", every_s=0.01)
            self.killer.disarm()
            self.victims = self.who_died(who)
            if self.victims:
                recover(self.victims)
            self.check_truth(self.the_one_end(command_id))
        return once

    def who_died(self, who):
        if not self.killer.killed():
            return set()
        if who != "self":
            return set(who.split(","))
        program, call, *rest = self.killer.the_step().split()
        if call == "execve" and rest[-1] != OF_ITS_PARENT:
            return {f"child of {program}"}
        return {program}

    def the_one_end(self, command_id):
        """The command when it has ended and nobody has more to say of it; None if it
        was never taken."""
        if command_id is None:  # Whether it was taken is for the store to say.
            new = [c for c in self.listed() if c not in self.ended]
            self.assertLessEqual(len(new), 1)
            if not new:
                return None
            command_id = new[0]
        wait_until(lambda: self.done(command_id), PATIENCE_S, "it has ended, for good")
        command = self.gateway.get(f"/api/commands/{command_id}")
        self.ended[command_id] = command["state"]
        self.assertEqual({i: c["state"] for i, c in self.listed().items()}, self.ended)
        self.assertEqual(len(self.gateway.agents()), 1)
        return command

    def listed(self):
        return {c["command_id"]: c for c in
                self.gateway.get("/api/commands?limit=1000")["commands"]}

    def runs(self):
        """How often the newest command was executed."""
        return self.ran.read_text().split().count(str(self.number)) if self.ran.exists() else 0

    def check_truth(self, command):
        runs = self.runs()
        if command is None:
            return self.assertEqual(runs, 0)
        state = command["state"]
        why = (command, self.killer.steps()[-20:])
        if state == "succeeded":
            self.assertEqual(runs, 1, why)
            self.assertTrue(command["output_complete"], why)
            output = self.gateway.call(
                "GET", f"/api/commands/{command['command_id']}/output/stdout")
            self.assertEqual(output.body, "".join(f"{n}\n" for n in range(1, OUTPUT_LINES + 1)))
        elif state == "outcome_unknown":
            self.assertLessEqual(runs, 1, why)
            self.assertTrue(self.nobody_can_know(), why)
        elif state == "signaled":  # The process that was to become the command.
            self.assertEqual((self.victims, runs), ({f"child of {SHIM}"}, 0), why)
        else:
            self.assertEqual((state, command["reason"], runs), ("rejected", "never_started", 0),
                             why)
            self.assertTrue(self.victims - {GATEWAY}, why)

    def nobody_can_know(self):
        """The shim died after `started` was complete and before `exit` was."""
        steps = [s.split() for s in self.killer.steps()[:self.killer.step - 1]]
        named = [path.rpartition("/")[2] for program, call, path, *_ in steps
                 if program == SHIM and call.startswith(("link", "rename"))]
        return SHIM in self.victims and "started" in named and "exit" not in named

    def test_an_agent_or_shim_that_dies_at_any_step_leaves_one_honest_end(self):
        self.agent.under = self.killer.under
        self.start_agent()
        self.wait_linked()

        def recover(victims):
            if AGENT in victims:
                self.start_agent()
                self.wait_linked()

        self.every_step(12, self.once_for("self", recover))

    def test_an_agent_that_dies_at_any_step_of_taking_up_what_was_left_says_it_once(self):
        self.agent.under = self.killer.under

        def once(step):
            self.agent.start()
            self.wait_linked()
            command_id = self.submit(and_then="sleep 60")
            wait_until(lambda: self.runs() == 1, PATIENCE_S, "it runs")
            self.agent.kill()  # With its tracer, and so with all that it traces.
            self.killer.arm(step)
            self.agent.start()
            wait_until(lambda: self.killer.killed() or self.done(command_id), PATIENCE_S,
                       "killed or done", every_s=0.01)
            self.killer.disarm()
            if self.killer.killed():
                self.agent.program.wait(PATIENCE_S)
                self.agent.start()
            end = self.the_one_end(command_id)
            self.assertEqual((end["state"], end["reason"], self.runs()),
                             ("outcome_unknown", "shim_lost", 1))
            self.agent.stop()

        self.every_step(4, once)

    def test_a_gateway_that_dies_at_any_step_of_a_command_forgets_nothing(self):
        self.gateway.stop()
        self.gateway.under = self.killer.under
        self.gateway.start(PATIENCE_S)
        self.start_agent()
        self.wait_linked()

        def recover(_):
            self.gateway.program.wait(PATIENCE_S)
            self.gateway.start(PATIENCE_S)
            self.wait_linked()

        self.every_step(8, self.once_for("self", recover))

    def cancel(self, command_id):
        """False if nobody answered."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = self.gateway.call("POST", f"/api/commands/{command_id}/cancel")
            self.assertEqual(answer.status, 200, answer)
            return True
        return False

    def once_cancelled(self, recover):
        """As once_for("self", …), of a command that runs and is cancelled."""
        def once(step):
            command_id = self.submit(and_then="sleep 600")
            wait_until(lambda: self.runs() == 1, PATIENCE_S, "it runs")
            self.killer.arm(step)
            answered = self.cancel(command_id)
            wait_until(lambda: self.killer.killed() or self.done(command_id), PATIENCE_S,
                       "killed or done", every_s=0.01)
            self.killer.disarm()
            self.victims = self.who_died("self")
            if self.victims:
                recover(self.victims)
            if not answered:
                self.assertTrue(self.cancel(command_id))
            end = self.the_one_end(command_id)
            if end["state"] != "cancelled":
                self.assertEqual((end["state"], self.victims), ("outcome_unknown", {SHIM}), end)
            self.assertEqual(self.runs(), 1)
            wait_until(lambda: not processes_of(command_id), PATIENCE_S, "nothing of it is left")
        return once

    def test_an_agent_or_shim_that_dies_at_any_step_of_a_cancel_leaves_one_honest_end(self):
        self.agent.under = self.killer.under
        self.start_agent()
        self.wait_linked()

        def recover(victims):
            if AGENT in victims:
                self.start_agent()
                self.wait_linked()

        self.every_step(6, self.once_cancelled(recover))

    def test_a_gateway_that_dies_at_any_step_of_a_cancel_leaves_one_honest_end(self):
        self.gateway.stop()
        self.gateway.under = self.killer.under
        self.gateway.start(PATIENCE_S)
        self.start_agent()
        self.wait_linked()

        def recover(_):
            self.gateway.program.wait(PATIENCE_S)
            self.gateway.start(PATIENCE_S)
            self.wait_linked()

        self.every_step(4, self.once_cancelled(recover))

    def ask_for_batch(self):
        """One that runs a command on every machine; its id, or None if nobody said 202."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = self.gateway.call("POST", "/api/batches", {
                "all": True, "idempotency_key": f"batch {self.number}",
                "run": {"command": f"echo {self.number} >> {self.ran}", "timeout": "30s"}})
            self.assertEqual(answer.status, 202, answer)
            return answer.data["batch_id"]

    def test_a_gateway_that_dies_at_any_step_of_a_batch_gives_no_machine_two_turns(self):
        self.gateway.stop()
        self.gateway.under = self.killer.under
        self.gateway.start(PATIENCE_S)
        self.start_agent()
        self.wait_linked()

        def finished(batch_id):
            return batch_id and self.forgotten() and self.gateway.query(
                "SELECT 1 FROM batches WHERE id = ? AND finished_at_us IS NOT NULL", batch_id)

        def once(step):
            self.number += 1
            self.killer.arm(step)
            batch_id = self.ask_for_batch()
            wait_until(lambda: self.killer.killed() or finished(batch_id), PATIENCE_S,
                       "killed or finished", every_s=0.01)
            self.killer.disarm()
            if self.killer.killed():
                self.gateway.program.wait(PATIENCE_S)
                self.gateway.start(PATIENCE_S)
                self.wait_linked()
            batch_id = batch_id or self.ask_for_batch()
            wait_until(lambda: finished(batch_id), PATIENCE_S, "it is finished")
            batch = self.gateway.get(f"/api/batches/{batch_id}")
            self.assertEqual((batch["state"], batch["counts"]["succeeded"], self.runs()),
                             ("finished", 1, 1), batch)

        self.every_step(4, once)

    def test_a_gateway_that_dies_at_any_step_of_its_start_forgets_no_command(self):
        self.start_agent()
        self.wait_linked()

        def once(step):
            go = self.folder / f"go-{self.number}"
            command_id = self.submit(and_then=f"until [ -e {go} ]; do sleep 0.05; done")
            wait_until(lambda: self.runs() == 1, PATIENCE_S, "it runs")
            self.gateway.kill()
            self.killer.arm(step)
            self.gateway.under = self.killer.under
            with contextlib.suppress(AssertionError):  # It died.
                self.gateway.start(PATIENCE_S)
            wait_until(lambda: self.killer.killed() or self.linked(), PATIENCE_S,
                       "killed or linked", every_s=0.01)
            self.killer.disarm()
            self.gateway.under = []
            if self.killer.killed():
                self.gateway.program.wait(PATIENCE_S)
                self.gateway.start(PATIENCE_S)
                self.wait_linked()
            go.touch()
            self.victims = self.who_died("self")
            end = self.the_one_end(command_id)
            self.assertEqual(end["state"], "succeeded", end)
            self.check_truth(end)

        self.every_step(4, once)

    def dying_together(self, few, who):
        self.gateway.stop()
        self.start_both()
        self.wait_linked()

        def recover(_):
            self.gateway.program.wait(PATIENCE_S)
            self.start_both()
            self.wait_linked()

        self.every_step(few, self.once_for(who, recover))

    def test_both_dying_at_any_step_leave_one_honest_end(self):
        self.dying_together(4, f"{GATEWAY},{AGENT}")

    def test_all_dying_at_any_step_leave_one_honest_end(self):
        self.dying_together(4, f"{GATEWAY},{AGENT},{SHIM}")


def processes_of(command_id):
    """Of the command itself: they have its id in their environment."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"MUSTER_COMMAND_ID={command_id}".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


if __name__ == "__main__":
    muster_e2e.main()
