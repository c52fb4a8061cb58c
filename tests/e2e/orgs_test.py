"""Tenants of one gateway: neither reads, names, guesses or touches what is another's."""
import re

import muster_e2e

UNKNOWN = "0190163d-8694-739b-aea5-966c26f8ad91"

# Everything that names something of an org, with a body where one is needed.
ASKED = [
    ("GET", "/api/agents/{agent}", None),
    ("DELETE", "/api/agents/{agent}", None),
    ("PATCH", "/api/agents/{agent}/labels", {"set": {"a": "b"}}),
    ("POST", "/api/agents/{agent}/reissue", {}),
    ("POST", "/api/agents/{agent}/silence", None),
    ("DELETE", "/api/agents/{agent}/silence", None),
    ("PATCH", "/api/agents/{agent}/presence", {"reset": ["stale_after"]}),
    ("GET", "/api/agents/{agent}/transitions", None),
    ("GET", "/api/agents/{agent}/links", None),
    ("GET", "/api/agents/{agent}/notes", None),
    ("GET", "/api/agents/{agent}/heartbeats", None),
    ("POST", "/api/agents/{agent}/commands", {"command": "true"}),
    ("POST", "/api/agents/{agent}/sessions", {}),
    ("GET", "/api/resolve?name={agent}", None),
    ("GET", "/api/commands/{command}", None),
    ("POST", "/api/commands/{command}/cancel", None),
    ("GET", "/api/commands/{command}/output", None),
    ("GET", "/api/commands/{command}/output/stdout", None),
    ("POST", "/api/commands/{command}/input", {"offset": 0}),
    ("GET", "/api/sessions/{session}", None),
    ("GET", "/api/sessions/{session}/output", None),
    ("GET", "/api/sessions/{session}/recording", None),
    ("POST", "/api/sessions/{session}/attach", None),
    ("DELETE", "/api/sessions/{session}", None),
    ("GET", "/api/batches/{batch}", None),
    ("GET", "/api/batches/{batch}/targets", None),
    ("POST", "/api/batches/{batch}/cancel", None),
    ("POST", "/api/batches/{batch}/retry", {}),
    ("DELETE", "/api/tokens/{token}", None),
    ("PATCH", "/api/users/{user}", {"disabled": True}),
    ("GET", "/api/users/{user}/tokens", None),
    ("POST", "/api/users/{user}/tokens", {}),
]

LISTS = ["/api/agents", "/api/commands", "/api/sessions", "/api/batches", "/api/tokens",
         "/api/users", "/api/incidents", "/api/agents?hostname=*"]


class OrgsTest(muster_e2e.TestCase):
    def musterctl(self, gateway, *arguments, token=None):
        return muster_e2e.run_once("musterctl", "--server", gateway.url, *arguments,
                                   environment={"MUSTER_TOKEN": token or gateway.token})

    def org(self, gateway, name):
        """The token of the first admin of a new org, made as a platform admin does."""
        for arguments in (["orgs", "create", name],
                          ["--org", name, "users", "create", "root", "--role", "admin"]):
            done = self.musterctl(gateway, *arguments)
            self.assertEqual(done.returncode, 0, done.stderr)
        done = self.musterctl(gateway, "--org", name, "users", "token", "create", "root")
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def machine(self, gateway, admin):
        """An agent that has joined this admin's org and is online."""
        agent = self.new_agent()
        token = gateway.call("POST", "/api/tokens", {}, token=admin).data["secret"]
        joined = agent.join(gateway.url, token)
        self.assertEqual(joined.returncode, 0, joined.stderr)
        agent.start()
        muster_e2e.wait_until(
            lambda: gateway.call("GET", f"/api/agents/{agent.agent_id}",
                                 token=admin).data.get("status") == "online", 20, "it is online")
        return agent

    def belongings(self, gateway, admin):
        """One of everything, in the org of this admin."""
        def post(path, body):
            answer = gateway.call("POST", path, body, token=admin)
            self.assertLess(answer.status, 300, answer)
            return answer.data
        agent = self.machine(gateway, admin).agent_id
        batch = post("/api/batches", {"all": True, "run": {"command": "echo secret"}})
        command = post(f"/api/agents/{agent}/commands", {"command": "echo secret"})
        session = post(f"/api/agents/{agent}/sessions", {})
        token = post("/api/tokens", {"description": "secret"})["token"]
        post("/api/users", {"name": "secret", "role": "viewer"})
        return {"agent": agent, "batch": batch["batch_id"], "command": command["command_id"],
                "session": session["session_id"], "token": token["token_id"], "user": "secret"}

    def test_what_is_anothers_is_answered_as_what_never_was(self):
        gateway = self.start_gateway()
        ours, theirs = self.org(gateway, "acme"), self.org(gateway, "zeta")
        things = self.belongings(gateway, ours)
        before = {path: gateway.call("GET", path, token=theirs).data for path in LISTS}
        for method, path, body in ASKED:
            answers = []
            for names in (things, {key: "nobody" if key == "user" else UNKNOWN for key in things}):
                answer = gateway.call(method, path.format(**names), body, token=theirs)
                text = answer.body
                for name in names.values():
                    text = text.replace(name, "NAME")
                text = re.sub(r'"(instance|request_id)": *"[^"]*"', "", text)
                answers.append((answer.status, re.sub(r"~[0-9a-f]{6}", "~NAME", text)))
            self.assertEqual(answers[0], answers[1], (method, path))
            if "resolve" not in path:
                self.assertEqual(answers[0][0], 404, (method, path, answers[0]))
        # And nothing was done.
        mine = gateway.call("GET", f"/api/agents/{things['agent']}", token=ours).data
        self.assertEqual((mine["status"], mine.get("labels", {})), ("online", {}))
        for path in LISTS:
            self.assertEqual(gateway.call("GET", path, token=theirs).data, before[path], path)
            self.assertNotIn("secret", gateway.call("GET", path, token=theirs).body)

    def test_one_name_in_two_orgs_is_two_machines_and_two_users(self):
        gateway = self.start_gateway()
        ours, theirs = self.org(gateway, "acme"), self.org(gateway, "zeta")
        first, second = self.machine(gateway, ours), self.machine(gateway, theirs)
        hostname = gateway.call("GET", f"/api/agents/{first.agent_id}", token=ours).data["hostname"]
        for admin, agent in ((ours, first), (theirs, second)):
            found = gateway.call("GET", f"/api/resolve?name={hostname}", token=admin).data
            self.assertEqual(found["agent"]["agent_id"], agent.agent_id)
            listed = gateway.call("GET", "/api/agents", token=admin).data
            self.assertEqual([a["agent_id"] for a in listed["agents"]], [agent.agent_id])
            self.assertEqual(listed["counts"]["online"], 1)
            # No finding says that another org has a machine of the same machine-id.
            self.assertEqual(listed["agents"][0].get("health", {}), {})
        gateway.call("PATCH", "/api/users/root", {"disabled": True}, token=ours)
        self.assertEqual(gateway.call("GET", "/api/agents", token=ours).status, 401)
        self.assertEqual(gateway.call("GET", "/api/agents", token=theirs).status, 200)

    def test_events_and_numbers_are_of_ones_own_org(self):
        gateway = self.start_gateway()
        ours, theirs = self.org(gateway, "acme"), self.org(gateway, "zeta")
        start = gateway.call("GET", "/api/events", token=theirs).data["next"]
        self.machine(gateway, ours)
        quiet = gateway.call("GET", f"/api/events?after={start}", token=theirs).data
        self.assertEqual((quiet.get("events", []), quiet["next"]), ([], start))
        status = gateway.call("GET", "/api/status", token=theirs).data
        self.assertEqual(status["agents"].get("online", 0), 0)
        for number in ("links", "commands_open", "stored_bytes", "false_offlines"):
            self.assertFalse(status.get(number), number)
        text = gateway.call("GET", "/metrics", token=theirs).body
        self.assertIn('muster_agents{status="online"} 0', text)
        self.assertNotIn("muster_links", text)
        whole = gateway.get("/api/status")
        self.assertEqual(whole["links"], 1)

    def test_only_a_platform_admin_chooses_an_org(self):
        gateway = self.start_gateway()
        ours = self.org(gateway, "acme")
        self.org(gateway, "zeta")
        for org, status in (("acme", 200), ("zeta", 403), ("nowhere", 403)):
            answer = gateway.call("GET", "/api/agents", token=ours, headers={"Muster-Org": org})
            self.assertEqual(answer.status, status, answer)
        answer = gateway.call("GET", "/api/agents", headers={"Muster-Org": "nowhere"})
        self.assertEqual((answer.status, answer.data["code"]), (404, "not_found"))
        refused = self.musterctl(gateway, "orgs", "ls", token=ours)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("needs role", refused.stderr)
        listed = self.musterctl(gateway, "orgs", "ls", "-o", "name")
        self.assertEqual(listed.stdout.split(), ["acme", "default", "zeta"])
        for name in ("default", "acme"):
            again = self.musterctl(gateway, "orgs", "create", name)
            self.assertNotEqual(again.returncode, 0)
        bad = self.musterctl(gateway, "orgs", "create", "Not_A_Name")
        self.assertIn("name: must be 1 to 63 of a-z, 0-9 and inner hyphens", bad.stderr)
        gateway.kill()
        gateway.start()
        self.assertEqual(gateway.call("GET", "/api/agents", token=ours).status, 200)


if __name__ == "__main__":
    muster_e2e.main()
