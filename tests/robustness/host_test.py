"""The gateway's host misbehaves: its clocks, its disk, its descriptors, its backup."""
import pathlib
import shutil
import socket
import time
import unittest

import harness
import muster_e2e
import recorder
import swarm_exhaustion_test
from bad_ground_test import GroundTest
from muster_e2e import wait_until

HOUR_S = 3600
DEAF_AFTER_S = 5  # The last refusal: so long newcomers are excused.
FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


class HostTest(harness.TestCase, GroundTest):
    def expect_only_the_lost_one_lost(self):
        self.expect_untouched(self.healthy)
        self.expect_lost(self.lost)

    # --- Clocks -------------------------------------------------------------

    @unittest.skipUnless(FAKETIME, "libfaketime is not installed")
    def test_steps_of_the_wall_clock_decide_nothing(self):
        offset = self.folder / "wall"

        def step(seconds):
            self.recorder.wall_steps.append((self.recorder.now_wall(), seconds))
            offset.write_text(f"{seconds:+d}s")

        def prepare(gateway):
            offset.write_text("+0")
            gateway.under = ["env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={offset}",
                             "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
        self.begin(prepare=prepare)
        step(HOUR_S)
        time.sleep(1.5)
        self.lose()
        for seconds in (-HOUR_S // 2, 400 * 24 * HOUR_S, 0):  # The second: no certificate is valid.
            time.sleep(1.5)
            step(seconds)
        self.ended()
        self.end()
        self.expect_only_the_lost_one_lost()
        stale = next(t for t in self.lost.decided.values() if t["to"] == "stale")
        self.assertAlmostEqual(recorder.wall(stale["at"]) - stale["seen"], HOUR_S, delta=5,
                               msg="the gateway did not see its clock step at once")

    def test_a_suspended_gateway_costs_nobody(self):
        print("  substitute: the process is stopped, and CLOCK_BOOTTIME leaps")
        self.begin(prepare=self.with_host_faults)
        self.lose()
        with self.gateway_stopped():
            self.host_faults(boottime_ahead_s=HOUR_S)
            time.sleep(1)
        stall = self.recorder.events[-1]
        stall["length"] += HOUR_S
        self.recorder.leaps.append((stall["at"], HOUR_S))
        self.end()
        self.expect_only_the_lost_one_lost()
        blind = self.gateway.get("/api/blind-intervals")["blind_intervals"]
        self.assertIn("suspended", [interval["reason"] for interval in blind])

    # --- The disk -----------------------------------------------------------

    def test_a_slow_disk_delays_commands_and_nobody_s_presence(self):
        print("  substitute: fsync() and fdatasync() take 3 s")
        self.begin(prepare=self.with_host_faults)
        self.host_faults(sync_s=3)
        self.lose()
        begin = time.monotonic()
        self.assertEqual(self.submit(self.healthy[0]).status, 202)
        self.assertGreater(time.monotonic() - begin, 2, "the disk was not slow")
        time.sleep(4)
        self.host_faults()
        self.ended()
        self.end(judge=["D2"])
        self.expect_only_the_lost_one_lost()

    def test_a_full_disk_takes_no_command_and_changes_nobody_s_presence(self):
        self.begin(prepare=lambda gateway: self.mount(gateway.data_dir, 8))
        filler = self.fill(self.gateway.data_dir)
        wait_until(lambda: self.submit(self.healthy[0]).status == 503, 20, "it is refused")
        self.recorder.say("store_lost")
        self.lose()
        self.wait_status(self.gateway, self.lost.agent_id, "offline", 10)
        self.assertEqual(self.submit(self.healthy[0]).status, 503)
        self.recorder.say("store_found")
        filler.unlink()
        self.ended()
        wait_until(lambda: self.submit(self.healthy[0]).status == 202, 20, "it is taken")
        self.recorder.promises["catch_up"] = 6.0
        time.sleep(8)
        self.end(judge=["D2"])
        self.expect_only_the_lost_one_lost()

    # --- Descriptors --------------------------------------------------------

    DESCRIPTORS = 256
    take_all = swarm_exhaustion_test.ExhaustionTest.take_all

    def test_a_gateway_without_descriptors_keeps_whom_it_has(self):
        self.begin(descriptors=self.DESCRIPTORS)
        since = self.recorder.now_wall()
        taken = self.take_all(self.gateway, self.gateway.fleet_port, self.DESCRIPTORS - 64 - 8)
        self.lose()
        time.sleep(6)
        taken.close()
        self.ended()
        self.recorder.say("hindered", since, length=self.faults_ended - since)
        self.end()
        self.expect_only_the_lost_one_lost()

    def test_a_source_that_is_refused_its_next_connections_is_not_judged_for_that(self):
        self.begin(prepare=lambda gateway: gateway.settings.update(connections_per_source_max=4))
        back = self.healthy[0]
        since = self.recorder.now_wall()
        back.agent.kill()
        self.lose()
        # Its place, and that of the lost one: for as long as they may say nothing.
        taken = [socket.create_connection(("127.0.0.1", self.gateway.fleet_port))
                 for _ in range(2)]
        self.addCleanup(lambda: [silent.close() for silent in taken])
        back.agent.start()
        wait_until(lambda: "too many connections from one address" in
                   self.gateway.call("GET", "/ready").body, 10, "the gateway says why")
        time.sleep(self.times["offline_after"])
        self.assertNotEqual(self.gateway.get(f"/api/agents/{back.agent_id}")["status"], "offline")
        self.wait_status(self.gateway, back.agent_id, "online", 15)
        self.ended()
        # Who has no link is excused for this time, or has a whole lease after it.
        self.recorder.say("hindered", since, length=self.faults_ended + DEAF_AFTER_S - since)
        self.wait_status(self.gateway, self.lost.agent_id, "offline", 20)
        self.end()
        self.assertNotIn("offline", self.story(back))
        self.expect_untouched(self.healthy[1:])
        self.expect_lost(self.lost)

    # --- Copies -------------------------------------------------------------

    def test_two_agents_with_one_identity_are_both_named_and_neither_is_healthy(self):
        self.begin()
        twice = self.healthy.pop()
        twice.judged = False  # The invariants know one process for each machine.
        copy = self.new_agent()
        shutil.copytree(twice.agent.state_dir, copy.state_dir,
                        ignore=lambda _, names: [n for n in names if n.endswith((".sock", "lock"))])
        copy.start()
        self.lose()
        stale = self.wait_status(self.gateway, twice.agent_id, "stale", 15)
        self.assertEqual(stale["cause"], "duplicate_identity")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            self.assertEqual(self.gateway.get(f"/api/agents/{twice.agent_id}")["status"], "stale")
            time.sleep(0.1)
        self.assertEqual(self.submit(twice).data["code"], "agent_unreachable")
        copy.kill()
        self.ended()
        self.end()
        notes = self.gateway.get(f"/api/agents/{twice.agent_id}/notes")["notes"]
        named = [n["text"] for n in notes if n["kind"] == "duplicate_identity"]
        self.assertRegex(named[0], r"^two live instances .*process \S+ .*; .*process \S+ ")
        self.expect_only_the_lost_one_lost()

    def test_a_database_from_an_older_copy_costs_nobody(self):
        self.begin()
        wait_until(lambda: self.gateway.transitions(muster_e2e.ONLINE) >= 4, 10, "all is stored")
        older = self.folder / "older"
        done = muster_e2e.run_once("muster-gateway", "--data-dir", self.gateway.data_dir, "backup",
                                   older)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.kill_gateway()  # The newest epochs are of a run that the copy does not know.
        self.wait_online(self.gateway, 4, 15)
        time.sleep(1)
        self.lose()
        self.wait_status(self.gateway, self.lost.agent_id, "offline", 10)

        def restore():
            self.gateway.data_dir = self.folder / "restored"
            done = muster_e2e.run_once("muster-gateway", "--data-dir", self.gateway.data_dir,
                                       "restore", older)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.recorder.say("rolled_back")
        self.kill_gateway(meanwhile=restore)
        self.end(judge=["P12"])
        self.expect_untouched(self.healthy)
        # The copy remembers it online; nobody heard it since.
        self.assertEqual(self.story(self.lost), ["stale", "offline", "stale", "offline"])


if __name__ == "__main__":
    harness.main()
