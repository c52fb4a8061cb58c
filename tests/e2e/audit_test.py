"""The audit log: what gets into it, and that nobody changes it unseen."""
import contextlib
import json
import re
import sqlite3
import subprocess
import sys

import muster_e2e

DOCUMENT = muster_e2e.ROOT / "docs/operations/audit.md"


class AuditTest(muster_e2e.TestCase):
    def musterctl(self, gateway, *arguments, token=None):
        return muster_e2e.run_once("musterctl", "--server", gateway.url, *arguments,
                                   environment={"MUSTER_TOKEN": token or gateway.token})

    def acts(self, gateway, users=3):
        """Some of them, each a record."""
        for number in range(users):
            done = self.musterctl(gateway, "users", "create", f"user-{number}")
            self.assertEqual(done.returncode, 0, done.stderr)

    def records(self, gateway):
        """Oldest first."""
        return gateway.get("/api/audit?after_sequence=0&limit=1000")["records"]

    def edit(self, gateway, *statements):
        """As somebody who can write the file, while the gateway is away."""
        gateway.stop()
        with contextlib.closing(sqlite3.connect(gateway.data_dir / "muster.db")) as db:
            for statement in statements:
                self.assertGreater(db.execute(statement).rowcount, 0, statement)
            db.commit()
        gateway.start()

    def heads(self, gateway):
        """SEQ:HASH of every head that was logged, oldest first."""
        return [":".join(head) for head in re.findall(
            r"msg=audit_head org=default sequence=(\d+) hash=([0-9a-f]{64})",
            gateway.program.text())]

    def assert_broken(self, gateway, why, *flags):
        verified = self.musterctl(gateway, "audit", "verify", *flags)
        self.assertEqual(verified.returncode, 1, verified.stdout + verified.stderr)
        self.assertIn(why, verified.stderr)

    def assert_intact(self, gateway, *flags):
        verified = self.musterctl(gateway, "audit", "verify", *flags)
        self.assertEqual(verified.returncode, 0, verified.stderr)
        self.assertIn("intact: records 1 to ", verified.stdout)

    def test_what_is_done_is_recorded_and_what_is_refused_too_but_no_stranger(self):
        gateway = self.start_gateway()
        self.musterctl(gateway, "users", "create", "vera", "--role", "viewer")
        token = self.musterctl(gateway, "users", "token", "create", "vera").stdout.strip()
        self.assertEqual(gateway.call("POST", "/api/batches", {}, token=token).status, 403)
        self.assertEqual(gateway.call("POST", "/api/batches", {}, token="mst_no").status, 401)
        self.assertEqual(gateway.call("GET", "/api/audit", token=token).status, 403)
        self.assertEqual(gateway.call("PATCH", "/api/users/eve", {"disabled": True}).status, 404)
        said = [(r["principal"], r["method"], r["target"].split("/")[0], r["result"])
                for r in self.records(gateway)]
        self.assertEqual(said, [("admin-token", "CreateUser", "vera", "ok"),
                                ("admin-token", "CreateAccessToken", "vera", "ok"),
                                ("vera", "SubmitBatch", "", "permission_denied"),
                                ("admin-token", "UpdateUser", "eve", "not_found")])
        self.assertTrue(all(r["from"] == "127.0.0.1" for r in self.records(gateway)))
        self.assertNotIn(token, gateway.call("GET", "/api/audit").body)
        listed = self.musterctl(gateway, "audit", "ls", "--principal", "vera")
        self.assertEqual(len(listed.stdout.splitlines()), 2, listed.stdout)
        self.assertRegex(listed.stdout, "vera +127.0.0.1 +SubmitBatch +- +permission_denied")
        self.assert_intact(gateway)

    def test_a_machine_that_joins_and_a_command_are_recorded_without_its_text(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        self.wait_status(gateway, agent.agent_id, "online", 20)
        command = gateway.run(agent.agent_id, "echo secret-word")
        made, joined, ran = self.records(gateway)
        self.assertEqual(made["method"], "CreateToken")
        self.assertEqual((joined["method"], joined["principal"], joined["target"]),
                         ("Register", "join:" + made["target"], agent.agent_id))
        self.assertEqual((ran["method"], ran["target"]),
                         ("SubmitCommand", f"{agent.agent_id}/{command['command_id']}"))
        self.assertNotIn("secret-word", gateway.call("GET", "/api/audit").body)

    def test_a_record_that_is_changed_or_moved_is_named(self):
        gateway = self.start_gateway()
        self.acts(gateway)
        self.assert_intact(gateway)
        self.edit(gateway, "UPDATE audit SET principal='bob' WHERE sequence=2")
        self.assert_broken(gateway, "record 2 was changed")
        exported = self.folder / "audit.jsonl"
        exported.write_text(self.musterctl(gateway, "audit", "export").stdout)
        offline = muster_e2e.run_once("musterctl", "audit", "verify", exported)
        self.assertEqual(offline.returncode, 1)
        self.assertIn("record 2 was changed", offline.stderr)
        self.edit(gateway, "UPDATE audit SET principal='admin-token' WHERE sequence=2")
        self.assert_intact(gateway)
        self.edit(gateway, "UPDATE audit SET sequence=sequence+100 WHERE sequence>1",
                  "UPDATE audit SET sequence=3 WHERE sequence=102",
                  "UPDATE audit SET sequence=2 WHERE sequence=103")
        self.assert_broken(gateway, "record 2 was changed")

    def test_a_tail_that_is_cut_is_missed_and_by_a_head_from_the_log_also_if_it_was_hidden(self):
        gateway = self.start_gateway()
        self.acts(gateway)
        gateway.stop()
        head = self.heads(gateway)[-1]
        self.assertTrue(head.startswith("3:"), head)
        gateway.start()
        self.assert_intact(gateway, "--head", head)
        self.edit(gateway, "DELETE FROM audit WHERE sequence=3")
        self.assert_broken(gateway, "record 3 is missing")
        self.edit(gateway, "UPDATE audit_heads SET sequence=2, hash="
                           "(SELECT hash FROM audit WHERE sequence=2)")
        self.assert_intact(gateway)
        self.assert_broken(gateway, "record 3 is missing", "--head", head)
        self.musterctl(gateway, "users", "create", "another")
        self.assert_intact(gateway)
        self.assert_broken(gateway, "record 3 is not the one of the earlier head",
                           "--head", head)

    def test_the_script_of_the_document_recomputes_an_export(self):
        script = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)[1]
        gateway = self.start_gateway()
        self.acts(gateway)
        gateway.call("POST", "/api/agents/%C3%B6%22/silence")
        exported = self.musterctl(gateway, "audit", "export").stdout
        self.assertEqual(len(exported.splitlines()), 4)

        def check(text):
            return subprocess.run([sys.executable, "-I", "-c", script], input=text, text=True,
                                  capture_output=True, timeout=30)
        done = check(exported)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.split(), ["intact", self.records(gateway)[-1]["hash"]])
        lines = exported.splitlines(keepends=True)
        self.assertIn("record 3", check(lines[0] + lines[2] + lines[3]).stderr)
        changed = {**json.loads(lines[1]), "from": "192.0.2.1"}
        self.assertIn("record 2", check(lines[0] + json.dumps(changed)).stderr)


if __name__ == "__main__":
    muster_e2e.main()
