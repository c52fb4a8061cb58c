#!/usr/bin/env python3
"""What gate.py makes of how a mutant's lives ended."""
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import gate  # noqa: E402
from mutations import MUTATIONS, Mutation  # noqa: E402

SURVIVOR = Mutation("no-rule", "rules.cc", "a", "b", "nobody")
DIES = Mutation("no-rest", "rules.cc", "a", "b", "nobody", dies_of=signal.SIGABRT)
VIOLATED = "VIOLATED P3: stale for too long\nVIOLATED D1: a row is missing\n"
BROKEN = VIOLATED + "seed 7: 4 machines, 2.00 days\n"


def lives(returncode, stdout=""):
    return subprocess.CompletedProcess([], returncode, stdout, "")


class VerdictTest(unittest.TestCase):
    def test_an_invariant_that_broke_catches_the_mutant(self):
        self.assertEqual(gate.verdict(SURVIVOR, lives(1, BROKEN), 2.0),
                         (True, ["D1", "P3"], "D1 P3 at seed 7, 2 s"))

    def test_lives_in_which_nothing_broke_do_not(self):
        caught, ids, seen = gate.verdict(SURVIVOR, lives(0), 2.0)
        self.assertEqual((caught, ids), (False, []))
        self.assertIn("survived", seen)

    def test_dying_of_a_signal_is_no_invariant(self):
        for number in (signal.SIGABRT, signal.SIGKILL):
            self.assertEqual(gate.verdict(SURVIVOR, lives(-number), 2.0),
                             (False, [], f"died of signal {int(number)}, 2 s"))

    def test_a_mutation_may_declare_the_signal_that_its_mutant_dies_of(self):
        self.assertEqual(gate.verdict(DIES, lives(-signal.SIGABRT), 2.0),
                         (True, [], "died of signal 6, as declared, 2 s"))
        self.assertEqual(gate.verdict(DIES, lives(-signal.SIGSEGV), 2.0),
                         (False, [], "died of signal 11, 2 s"))

    def test_who_declares_a_signal_and_does_not_die_is_not_caught_by_it(self):
        self.assertFalse(gate.verdict(DIES, lives(0), 2.0)[0])

    def test_what_broke_before_the_signal_counts(self):
        self.assertEqual(gate.verdict(SURVIVOR, lives(-signal.SIGABRT, VIOLATED), 2.0),
                         (True, ["D1", "P3"], "D1 P3 at seed ?, 2 s"))

    def test_an_end_that_nothing_explains_is_said_as_it_is(self):
        self.assertEqual(gate.verdict(SURVIVOR, lives(2), 2.0),
                         (False, [], "ended with 2, 2 s"))


class MutationsTest(unittest.TestCase):
    def test_each_still_finds_its_piece_of_the_rules(self):
        with tempfile.TemporaryDirectory() as folder:
            for mutation in MUTATIONS:
                with self.subTest(mutation.name):
                    gate.mutate(mutation, pathlib.Path(folder))


if __name__ == "__main__":
    unittest.main()
