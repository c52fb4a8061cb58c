"""muster-swarm itself: whom it registers, what it keeps, what it says."""
import json

import muster_e2e


class SwarmToolTest(muster_e2e.TestCase):
    def test_a_command_runs_on_a_machine_of_the_swarm(self):
        gateway = self.start_gateway()
        swarm = self.start_online(gateway, 3, within_s=20)
        agent = gateway.agents()[1]
        command = gateway.run(agent["agent_id"], "hostname")
        self.assertEqual(command["state"], "succeeded", command)
        self.assertTrue(command["output_complete"], command)
        output = gateway.call("GET", f"/api/commands/{command['command_id']}/output/stdout")
        self.assertEqual(output.body, "swarm\n")
        swarm.stop()
        self.assertEqual(json.loads(swarm.text())["commands_run"], 1)

    def test_without_state_the_machines_leave_the_fleet(self):
        gateway = self.start_gateway()
        token = gateway.create_token(uses=5)
        swarm = self.start_program("muster-swarm", "--server", gateway.url, "--agents", 5,
                                   "--duration", "2s", environment={"MUSTER_TOKEN": token})
        self.assertEqual(swarm.wait(20), 0)
        self.wait_until(lambda: not gateway.agents(), 5, "all have left")

    def test_a_kept_identity_needs_no_token_and_stays_itself(self):
        gateway = self.start_gateway()
        state = self.new_folder("state")
        self.start_online(gateway, 5, within_s=20, state=state).stop()
        ids = {a["agent_id"] for a in gateway.agents()}
        again = self.start_program("muster-swarm", "--server", gateway.url, "--agents", 5,
                                   "--state", state)
        self.wait_online(gateway, 5, 20)
        self.assertEqual({a["agent_id"] for a in gateway.agents()}, ids)
        again.stop()

    def test_a_refused_token_is_said(self):
        gateway = self.start_gateway()
        swarm = self.start_program("muster-swarm", "--server", gateway.url, "--agents", 2,
                                   environment={"MUSTER_TOKEN": "mst_j_wrong"})
        self.assertEqual(swarm.wait(20), 1)
        self.assertIn("the gateway refused a registration", swarm.text())


if __name__ == "__main__":
    muster_e2e.main()
