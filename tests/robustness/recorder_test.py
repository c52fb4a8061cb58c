"""Which record on the wire a heartbeat of the agent's log was."""
import unittest

from recorder import find_message

SURE, MAYBE, SHORT = 90, 77, 40


class FindMessageTest(unittest.TestCase):
    def test_it_is_the_first_heartbeat_since_it_was_sent(self):
        messages = [(1.0, SURE), (2.0, SHORT), (2.1, SURE), (3.1, SURE)]
        self.assertEqual(find_message(messages, 1, 2.0, None, 3.0), (3, 2.1))

    def test_one_that_came_late_is_not_a_frame_that_came_before(self):
        messages = [(1.5, MAYBE), (2.8, SURE)]
        self.assertEqual(find_message(messages, 0, 1.0, None, 2.0), (2, 2.8))

    def test_one_as_long_as_a_frame_takes_nothing_from_the_next(self):
        """The gateway stood still, and dealt with both after it."""
        messages = [(1.01, MAYBE), (2.01, SURE)]
        taken, arrived = find_message(messages, 0, 0.9, 6.0, 2.0)
        self.assertEqual(arrived, 1.01)
        self.assertEqual(find_message(messages, taken, 1.9, 6.0, None), (2, 2.01))

    def test_one_that_was_logged_too_late_is_the_last_before(self):
        self.assertEqual(find_message([(1.0, SURE)], 0, 1.5, 1.1, None), (1, 1.0))

    def test_one_that_never_came_takes_nothing(self):
        self.assertEqual(find_message([(1.0, SURE)], 1, 2.0, None, None), (1, None))


if __name__ == "__main__":
    unittest.main()
