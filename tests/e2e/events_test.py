"""What changes, as a program follows it with Server-Sent Events."""
import muster_e2e


class Stream(muster_e2e.EventStream):
    """GET /api/events."""

    def __init__(self, gateway, last=None):
        super().__init__(gateway, "/api/events", last)

    def transitions(self, until):
        """(id, from, to) up to the first to `until`."""
        found = []
        while not found or found[-1][2] != until:
            version, name, data = self.frame()
            if name == "transition":
                assert data["version"] == version, data
                found.append((version, data["transition"]["from"], data["transition"]["to"]))
        return found


class EventsTest(muster_e2e.TestCase):
    def test_a_reader_that_comes_back_misses_nothing_and_is_told_of_a_restart(self):
        gateway = self.start_gateway(drain="1s")
        whole = Stream(gateway)
        self.assertEqual(whole.answer.status, 200)
        self.assertEqual(whole.answer.headers["Content-Type"], "text/event-stream")
        start, name, data = whole.frame()
        self.assertEqual((name, data["reason"]), ("reset", "start"))
        agent = self.start_agent(gateway)
        agent.stop()
        self.wait_status(gateway, agent.agent_id, "stale", 20)
        agent.start()
        self.wait_status(gateway, agent.agent_id, "online", 20)
        agent.kill()
        seen = whole.transitions(until="offline")
        statuses = ["stale"] + [to for _, _, to in seen]
        self.assertEqual([(a, b) for _, a, b in seen], list(zip(statuses, statuses[1:])))

        for back_after, left in ((start, seen), (seen[0][0], seen[1:])):
            again = Stream(gateway, last=back_after)
            self.assertEqual(again.transitions(until="offline"), left)
            again.close()
        written = gateway.get(f"/api/agents/{agent.agent_id}/transitions")["transitions"]
        self.assertEqual([t["to"] for t in written[::-1]], statuses[1:])

        gateway.stop(within_s=5)  # A stream does not keep it.
        with self.assertRaises(EOFError):
            whole.frame()
        gateway.start()
        late = Stream(gateway, last=seen[-1][0])
        _, name, data = late.frame()
        self.assertEqual((name, data["reason"]), ("reset", "gateway_restarted"))
        late.close()

    def test_a_stream_is_for_those_who_may_read(self):
        gateway = self.start_gateway()
        for token in ("", "mst_wrong"):
            refused = gateway.call("GET", "/api/events", token=token,
                                   headers={"Accept": "text/event-stream"})
            self.assertEqual(refused.status, 401, refused)
        bad = gateway.call("GET", "/api/events",
                           headers={"Accept": "text/event-stream", "Last-Event-ID": "nonsense"})
        self.assertEqual(bad.status, 400, bad)
        self.assertIn("after: must be the version of an event", str(bad.body))


if __name__ == "__main__":
    muster_e2e.main()
