"""A command that writes or computes without end delays nobody's heartbeats and fills nobody's
memory.

`yes`, on both streams, for 15 s; a minute with MUSTER_LONG_TESTS. What it writes beyond the bound
of a stream is dropped and counted; what is kept is on its way all the time.
"""
import os
import pathlib
import threading
import time

import harness
from muster_e2e import LONG, wait_until
from recorder import wall

FLOOD_S = 60 if LONG else 15
BESIDE_S = 0.25  # Nobody's heartbeats but its own wait for a flood; what a busy machine costs.
NARROW_S = 3.0
# By how much the most that either ever had in memory may grow meanwhile.
AGENT_GROWS_KIB, GATEWAY_GROWS_KIB = 8 << 10, 32 << 10


class Sleeper(threading.Thread):
    """Knows by how much somebody who only sleeps is woken too late, at most: what the machine
    itself costs, whoever keeps it busy."""

    NAP_S = 0.02

    def __init__(self):
        super().__init__(daemon=True)
        self.late = 0.0
        self.ends = threading.Event()

    def run(self):
        while not self.ends.is_set():
            due = time.monotonic() + self.NAP_S
            time.sleep(self.NAP_S)
            self.late = max(self.late, time.monotonic() - due)


class FloodTest(harness.TestCase):
    def begin(self, **options):
        super().begin(**options)
        self.sleeper = Sleeper()
        self.sleeper.start()
        self.addCleanup(self.sleeper.ends.set)

    def start(self, machine, text):
        """For FLOOD_S; its command."""
        answer = self.gateway.call(
            "POST", f"/api/agents/{machine.agent_id}/commands",
            {"command": text, "shell_type": "sh", "timeout": f"{FLOOD_S}s", "kill_grace": "1s"})
        self.assertEqual(answer.status, 202, answer)
        return answer.data["command_id"]

    def timed_out(self, command_id):
        """The command when its time has ended it, which must not be later for what it does."""
        path = f"/api/commands/{command_id}"
        wait_until(lambda: self.gateway.get(path).get("finished_at"), FLOOD_S + 15, "it ends")
        command = self.gateway.get(path)
        self.assertEqual(command["state"], "timed_out", command)
        took = wall(command["finished_at"]) - wall(command["started_at"])
        self.assertLess(took, FLOOD_S + 2, command)
        return command

    def flood(self, machine):
        """Until its end, and what it may cost."""
        self.flooded_since = self.recorder.now_wall()
        before = self.peaks(machine)
        command = self.timed_out(self.start(machine, "yes & exec yes >&2"))
        kept = int(command["stdout_bytes"]) + int(command["stderr_bytes"])
        grown = [now - then for now, then in zip(self.peaks(machine), before)]
        print(f"  {kept >> 10} KiB arrived; agent + {grown[0]} KiB, gateway + {grown[1]} KiB",
              flush=True)
        self.assertGreater(kept, 0)
        self.assertLess(grown[0], AGENT_GROWS_KIB)
        self.assertLess(grown[1], GATEWAY_GROWS_KIB)

    def peaks(self, machine):
        """KiB of memory that its agent, and the gateway, had at most."""
        return [int(line.split()[1]) for program in (machine.agent.program, self.gateway.program)
                for line in pathlib.Path(f"/proc/{program.pid}/status").read_text().splitlines()
                if line.startswith("VmHWM:")]

    def latest(self, machine):
        """Seconds from when a heartbeat was to be sent until its acknowledgement was there, at
        most, since the flood began."""
        interval = 1.1 * self.times["heartbeat_interval"]
        worst, before, waiting = 0.0, None, {}
        for at, message, fields in machine.log_lines("heartbeat_sent", "heartbeat_acknowledged",
                                                     "connected"):
            self.assertFalse(message == "connected" and at > self.flooded_since, "a new link")
            if message == "heartbeat_sent":
                due = min(at, before + interval) if before else at
                waiting[fields["sequence"]] = due
                before = at
            elif message == "heartbeat_acknowledged" and fields["sequence"] in waiting:
                due = waiting.pop(fields["sequence"])
                if at > self.flooded_since:
                    worst = max(worst, at - due)
        return max([worst, *(self.recorder.now_wall() - due for due in waiting.values())])

    def expect_within(self, bound_s, machines, who):
        """A heartbeat and its answer wait for a processor four times."""
        late = max(self.latest(machine) for machine in machines)
        turns = 4 * self.sleeper.late
        print(f"  the latest heartbeat of {who}: {late * 1000:.0f} ms; "
              f"four turns of this machine: {turns * 1000:.0f} ms", flush=True)
        self.assertLess(late, bound_s + turns, who)

    def test_a_flood_delays_no_heartbeat_of_its_own_machine_or_of_another(self):
        self.begin()
        self.lose()
        flooded, *others = self.healthy
        self.flood(flooded)
        self.expect_within(self.times["heartbeat_interval"] / 2, [flooded], "its machine")
        self.expect_within(BESIDE_S, others, "the others")
        self.judge()

    def test_commands_that_take_every_processor_delay_no_heartbeat(self):
        self.begin()
        self.lose()
        self.flooded_since = self.recorder.now_wall()
        loops = [self.start(self.healthy[0], "while :; do :; done")
                 for _ in range(2 * os.cpu_count())]
        for loop in loops:
            self.timed_out(loop)
        self.expect_within(self.times["heartbeat_interval"] / 2, self.healthy, "all")
        self.judge()

    def judge(self):
        self.ended()
        self.end(within_s=30)
        self.expect_untouched(self.healthy)
        self.expect_lost(self.lost)

    def test_a_flood_over_a_slow_way_delays_heartbeats_by_less_than_three_seconds(self):
        self.begin(healthy=2, far=2)
        self.country.narrow("1mbit")
        self.lose()
        flooded = self.far[0]
        self.flood(flooded)
        self.expect_within(NARROW_S, self.far, "those behind the slow way")
        self.expect_within(BESIDE_S, self.healthy, "the others")
        self.country.widen()
        self.judge()


if __name__ == "__main__":
    harness.main()
