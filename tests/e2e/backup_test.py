"""Backup and restore, and a new admin token, as an operator does them."""
import pathlib
import shutil
import signal
import sqlite3
import stat

import muster_e2e
from muster_e2e import wait_until


class BackupTest(muster_e2e.TestCase):
    def operate(self, gateway, verb, *arguments):
        """`muster-gateway VERB …` on the folder of `gateway`."""
        return muster_e2e.run_once("muster-gateway", "--data-dir", gateway.data_dir, verb,
                                   *arguments)

    def test_every_agent_is_back_after_a_restore_into_another_folder(self):
        gateway = self.start_gateway()
        agents = [self.start_agent(gateway) for _ in range(2)]
        command = gateway.run(agents[0].agent_id, "echo kept")
        backup = self.folder / "muster.backup"
        done = self.operate(gateway, "backup", backup)
        self.assertEqual((done.returncode, done.stderr), (0, f"Wrote {backup}\n"))
        self.assertEqual(stat.S_IMODE(backup.stat().st_mode), 0o600)
        token = gateway.token
        gateway.kill()

        former = gateway.data_dir
        gateway.data_dir = self.folder / "elsewhere/gateway"
        gateway.data_dir.parent.mkdir()
        done = self.operate(gateway, "restore", backup)
        self.assertEqual((done.returncode, done.stderr), (0, f"Restored from {backup}\n"))
        shutil.rmtree(former)
        gateway.start()
        self.assertEqual(gateway.token, token)
        self.wait_online(gateway, 2, 15)
        self.assertEqual({a["agent_id"] for a in gateway.agents()},
                         {a.agent_id for a in agents})
        kept = gateway.get(f"/api/commands/{command['command_id']}")
        self.assertEqual((kept["state"], kept["exit_code"]), ("succeeded", 0))
        output = gateway.call("GET", f"/api/commands/{command['command_id']}/output/stdout")
        self.assertEqual(output.body, "kept\n")
        self.assertEqual(gateway.run(agents[1].agent_id, "true")["state"], "succeeded")

    def test_a_counter_that_a_restore_set_back_runs_no_command_twice(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        ran = self.folder / "ran"
        gateway.run(agent.agent_id, f"echo one >> {ran}")
        backup = self.folder / "muster.backup"
        self.assertEqual(self.operate(gateway, "backup", backup).returncode, 0)
        for word in ("two", "three"):
            gateway.run(agent.agent_id, f"echo {word} >> {ran}")
        gateway.kill()
        gateway.data_dir = self.folder / "elsewhere"
        self.assertEqual(self.operate(gateway, "restore", backup).returncode, 0)
        gateway.start()
        # "online" is remembered from before; the new link is what counts.
        self.wait_until(lambda: gateway.get("/api/status")["links"] == 1, 15, "a link")
        after = gateway.run(agent.agent_id, f"echo four >> {ran}")
        self.assertEqual(after["state"], "succeeded")
        self.assertEqual(ran.read_text().split(), ["one", "two", "three", "four"])

    def test_nothing_is_ever_overwritten(self):
        gateway = self.start_gateway()
        backup = self.folder / "muster.backup"
        self.assertEqual(self.operate(gateway, "backup", backup).returncode, 0)
        before = backup.read_bytes()
        again = self.operate(gateway, "backup", backup)
        self.assertEqual((again.returncode, again.stderr),
                         (1, f"error: {backup} already exists\n"))
        self.assertEqual(backup.read_bytes(), before)
        refused = self.operate(gateway, "restore", backup)
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr, rf"^error: {gateway.data_dir} already holds a gateway"
                                         r".*; restore into an empty folder\n$")
        self.assertEqual(gateway.call("GET", "/ready").status, 200)

    def test_what_is_no_backup_is_refused_and_leaves_no_gateway_behind(self):
        gateway = self.new_gateway()
        text, foreign = self.folder / "text", self.folder / "foreign.db"
        text.write_text("this is no backup\n" * 100)
        with sqlite3.connect(foreign) as db:
            db.execute("CREATE TABLE t (x)")
        for file, why in ((text, "cannot be restored"), (foreign, "cannot be restored"),
                          (self.folder / "missing", "not found")):
            done = self.operate(gateway, "restore", file)
            self.assertEqual(done.returncode, 1, file)
            self.assertRegex(done.stderr, rf"\Aerror: {file} {why}.*\n\Z")
            left = [f for f in gateway.data_dir.rglob("*") if f.is_file()]
            self.assertEqual(left, [])
        empty = self.operate(gateway, "backup", self.folder / "of-nothing")
        self.assertEqual((empty.returncode, empty.stderr),
                         (1, f"error: {gateway.data_dir} holds no gateway\n"))

    def test_a_new_admin_token_ends_the_old_one_at_the_next_reload(self):
        gateway = self.start_gateway()
        old = gateway.token
        done = self.operate(gateway, "reset-admin")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, f"New admin token: {gateway.data_dir}/admin-token\n")
        new = gateway.token
        self.assertNotEqual(new, old)
        self.assertNotIn(new, done.stdout + done.stderr)
        mode = pathlib.Path(gateway.data_dir / "admin-token").stat().st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)
        self.assertEqual(gateway.call("GET", "/api/status", token=new).status, 401)
        gateway.program.send(signal.SIGHUP)
        wait_until(lambda: gateway.call("GET", "/api/status", token=new).status == 200, 5,
                   "the new token is taken")
        refused = gateway.call("GET", "/api/status", token=old)
        self.assertEqual((refused.status, refused.data["code"]), (401, "unauthenticated"))


if __name__ == "__main__":
    muster_e2e.main()
