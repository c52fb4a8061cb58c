"""One agent's process stops, dies or says goodbye: what is said of it is no more and no
less than what reached the gateway."""
import signal
import time

import harness


class AgentTest(harness.TestCase):
    def causes(self, machine):
        return [e.get("cause") for e in self.decided(machine)]

    def expect_others(self):
        self.expect_untouched(self.healthy[1:])
        self.expect_lost(self.lost)

    def test_an_agent_that_stands_still_is_stale_then_offline_then_back(self):
        self.begin()
        agent = self.healthy[0].agent.program
        self.lose()
        agent.freeze()
        time.sleep(6)
        agent.send(signal.SIGCONT)
        self.ended()
        self.end()
        self.assertEqual(self.story(self.healthy[0]), ["stale", "offline", "online"])
        self.assertEqual(self.causes(self.healthy[0]), ["undetermined", "undetermined", None])
        self.expect_others()

    def test_a_suspended_machine_is_stale_then_offline_then_back(self):
        print("  substitute: the process is stopped, and CLOCK_BOOTTIME leaps")

        def prepare(machine):
            if machine.number == 1:
                self.with_host_faults(machine.agent)
        self.begin(prepare_machine=prepare)
        agent = self.healthy[0].agent.program
        self.lose()
        agent.freeze()
        self.host_faults(boottime_ahead_s=3600)
        time.sleep(6)
        agent.send(signal.SIGCONT)
        self.ended()
        self.end()
        self.assertEqual(self.story(self.healthy[0]), ["stale", "offline", "online"])
        self.expect_others()

    def test_an_agent_that_says_goodbye_is_stale_at_once_and_back_without_being_offline(self):
        self.begin()
        agent = self.healthy[0].agent
        self.lose()
        agent.stop()
        time.sleep(6)  # It promised to be back within 30 s.
        agent.start()
        self.ended()
        self.end()
        self.assertEqual(self.story(self.healthy[0]), ["stale", "online"])
        self.assertEqual(self.causes(self.healthy[0]), ["agent_stopped", None])
        self.expect_others()

    def test_an_agent_that_is_killed_and_back_at_once_is_never_offline(self):
        self.begin()
        agent = self.healthy[0].agent
        self.lose()
        agent.kill()
        agent.start()
        self.ended()
        self.end()
        # A busy machine may need longer than the grace to start it.
        self.assertNotIn("offline", self.story(self.healthy[0]))
        self.expect_others()


if __name__ == "__main__":
    harness.main()
