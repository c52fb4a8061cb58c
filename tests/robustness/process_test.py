"""The gateway's process is stopped or killed. A machine that is lost meanwhile is
called offline at its honest time, and nobody else anything."""
import json
import time

import harness


class ProcessTest(harness.TestCase):
    def test_a_stopped_gateway_costs_nobody_and_still_finds_who_was_lost(self):
        self.begin()
        with self.gateway_stopped():
            time.sleep(2)
            self.lose()
            time.sleep(4)
        self.end()
        self.expect_untouched(self.healthy)
        self.expect_lost(self.lost)
        self.a_doctored_history_is_refused()

    def a_doctored_history_is_refused(self):
        """The history that was just believed, and three lies."""
        head, *lines = self.history.read_text().splitlines()
        events = [json.loads(line) for line in lines]
        stall = max((e for e in events if e["what"] == "stalled"), key=lambda e: e["length"])
        decided = [e for e in events if e["what"] == "decided" and e["at"] > stall["at"]]
        offline = next(e for e in decided if e["to"] == "offline")
        stale = next(e for e in decided if e["to"] == "stale")

        def judged(changed):
            file = self.folder / "doctored"
            file.write_text("\n".join([head] + [json.dumps(e) for e in changed]) + "\n")
            return self.check(file)

        number = self.healthy[0].number
        lies = {
            "a false offline": ("P1", events + [
                {**offline, "at": events[-1]["at"], "machine": number, "number": 2,
                 "from": "online"}]),
            "a gap in the chain": ("P8", [e for e in events if e is not stale]),
            "worse in the blind interval": ("P4", sorted(
                [e if e is not stale else {**e, "at": stall["at"] + 0.001} for e in events],
                key=lambda e: e["at"]))}
        for lie, (invariant, changed) in lies.items():
            with self.subTest(lie):
                said = judged(changed)
                self.assertEqual(said.returncode, 1, said.stdout)
                self.assertIn(f"{invariant} BROKEN", said.stdout)
        nothing = [e for e in events if e["what"] in ("opened", "tick")]
        said = judged(nothing)
        self.assertEqual(said.returncode, 1)
        self.assertIn("P1 had nothing to judge", said.stdout)

    def test_a_long_stop_starts_every_lease_anew(self):
        self.begin()
        self.lose()
        with self.gateway_stopped():
            time.sleep(harness.BLIND_RESTART_S + 1)
        self.end()
        self.expect_untouched(self.healthy)
        self.expect_lost(self.lost)

    def test_a_killed_gateway_costs_nobody_and_forgets_nothing(self):
        self.begin()
        self.lose()
        time.sleep(3)  # It is stale.
        self.kill_gateway()
        time.sleep(2)
        self.kill_gateway(meanwhile=lambda: time.sleep(2))
        self.end(judge=["P12", "D1"])
        self.expect_untouched(self.healthy)
        self.expect_lost(self.lost)


if __name__ == "__main__":
    harness.main()
