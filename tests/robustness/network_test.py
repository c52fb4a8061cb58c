"""The way to some machines fails, in one direction or both, in part or wholly. They
are judged by what arrived; those beside the gateway are none of its business."""
import time

import harness
from far_country import TO_GATEWAY, TO_MACHINES

# A dial that began before the way was back tries again at 1, 3, 7 and 15 s.
BACK_WITHIN_S = 30


class NetworkTest(harness.TestCase):
    def cut(self, *directions, seconds=7):
        """The far machines' way, and one machine beside the gateway is lost."""
        self.begin(healthy=2, far=2)
        self.country.lose(*directions)
        self.lose()
        time.sleep(seconds)
        self.heal()

    def heal(self):
        lost = self.country.heal()
        self.ended()
        print(f"  {lost} packets were lost", flush=True)
        self.assertGreater(lost, 0)

    def expect_away_and_back(self):
        for machine in self.far:
            self.assertEqual(self.story(machine), ["stale", "offline", "online"],
                             f"machine {machine.number}")

    def judge(self):
        self.end(within_s=BACK_WITHIN_S)
        self.expect_untouched(self.healthy)
        self.expect_lost(self.lost)

    def test_words_of_machines_that_are_lost_make_them_offline_in_time(self):
        self.cut(TO_GATEWAY)
        self.judge()
        self.expect_away_and_back()

    def test_words_to_machines_that_are_lost_make_them_stale_in_time(self):
        self.cut(TO_MACHINES)
        self.judge()
        for machine in self.far:
            # Their kernels fall silent too; how soon is TCP's business.
            self.assertEqual(self.story(machine)[0], "stale")
            self.assertEqual(self.story(machine)[-1], "online")

    def test_a_partition_makes_them_offline_in_time(self):
        self.cut(TO_GATEWAY, TO_MACHINES)
        self.judge()
        self.expect_away_and_back()

    def test_a_partition_shorter_than_a_lease_is_no_absence(self):
        self.cut(TO_GATEWAY, TO_MACHINES, seconds=1.3)  # Whoever speaks each second has spoken.
        self.judge()
        for machine in self.far:
            self.assertNotIn("offline", self.story(machine))

    def test_a_way_that_loses_every_twentieth_packet(self):
        self.lossy(0.05)
        self.expect_untouched(self.far)

    def test_a_way_that_loses_three_packets_of_ten(self):
        # Once in twenty times TCP needs longer than a lease for one word: then offline is
        # the truth. The history is judged by what arrived.
        self.lossy(0.3)
        for machine in self.far:
            self.assertIn(self.story(machine)[-1:], ([], ["online"]))

    def lossy(self, share):
        self.begin(healthy=2, far=2)
        self.country.lose(TO_GATEWAY, TO_MACHINES, share=share)
        self.lose()
        time.sleep(8)
        self.heal()
        self.judge()

    def test_a_slow_way_carries_heartbeats_beside_a_flood(self):
        self.begin(healthy=2, far=2)
        self.country.narrow("1mbit")
        self.lose()
        self.assertEqual(self.submit(self.far[0], "yes | head -c 600000").status, 202)
        time.sleep(6)
        self.country.widen()
        self.ended()
        self.judge()
        self.expect_untouched(self.far)


if __name__ == "__main__":
    harness.main()
