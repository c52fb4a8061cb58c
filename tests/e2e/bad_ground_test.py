"""What the programs stand on and find broken: databases, state, ports, disks,
settings. Each is told in one line, and nothing is overwritten."""
import contextlib
import os
import socket
import sqlite3
import subprocess
import unittest

import muster_e2e
from muster_e2e import wait_until

PAGE_BYTES = 4096


class GroundTest(muster_e2e.TestCase):
    def refusal(self, argv, code=1, environment=None):
        """The one line with which a program that must not start ends."""
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=15,
                              env={**os.environ, **(environment or {})})
        self.assertEqual(done.returncode, code, done.stderr)
        said = [line for line in done.stderr.splitlines() if not line.startswith("time=")]
        self.assertEqual(len(said), 1, done.stderr)
        self.assertEqual(said[0][:7], "error: ")
        return said[0][7:]

    def agent_argv(self, agent):
        return [muster_e2e.BUILD / "bin/muster-agent", "run", "--state-dir", agent.state_dir]

    def mount(self, folder, megabytes):
        """A small disk of its own at `folder`."""
        folder.mkdir(mode=0o700, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700",
                               "muster-e2e", folder], capture_output=True, text=True)
        if done.returncode != 0:
            self.skipTest(f"no mounts here: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", folder], check=True)

    def fill(self, folder):
        """Leaves no byte; returns the file to delete."""
        file = folder / "filler"
        with file.open("wb", buffering=0) as out, contextlib.suppress(OSError):
            while True:
                out.write(b"x" * PAGE_BYTES)
        return file


class DatabaseTest(GroundTest):
    def setUp(self):
        super().setUp()
        self.gateway = self.start_gateway()
        self.gateway.stop()
        self.database = self.gateway.data_dir / "muster.db"
        self.whole = self.database.read_bytes()

    def expect_refused(self, content, why):
        self.database.write_bytes(content)
        said = self.refusal(self.gateway.argv())
        self.assertIn(str(self.database), said)
        self.assertIn(why, said)
        # SQLite counts in the first page that it has looked.
        self.assertEqual(self.database.read_bytes()[PAGE_BYTES:], content[PAGE_BYTES:])

    def test_a_damaged_database_is_left_as_it_is(self):
        self.expect_refused(b"x" * len(self.whole), "file is not a database")
        torn = bytearray(self.whole)
        torn[3 * PAGE_BYTES:6 * PAGE_BYTES] = b"\xff" * (3 * PAGE_BYTES)
        self.expect_refused(bytes(torn), "restore a backup")
        self.expect_refused(self.whole[:len(self.whole) // 2], "malformed")
        self.database.write_bytes(self.whole)
        self.gateway.start()

    def test_a_newer_schema_and_a_foreign_database_are_refused(self):
        with sqlite3.connect(self.database) as db:
            db.execute("PRAGMA user_version=99")
        db.close()
        self.assertRegex(self.refusal(self.gateway.argv()),
                         f"^{self.database} has schema version 99, but this gateway knows only up "
                         r"to \d+: start the newer gateway again, or restore a backup")
        self.database.unlink()
        with sqlite3.connect(self.database) as db:
            db.execute("CREATE TABLE t (x)")
        db.close()
        self.assertEqual(self.refusal(self.gateway.argv()),
                         f"{self.database} is a database of another program, "
                         "not of muster-gateway")

    def test_keys_that_others_could_read_are_refused(self):
        for name in ("ca/ca.key", "ca/fleet.key"):
            key = self.gateway.data_dir / name
            key.chmod(0o640)
            self.assertEqual(self.refusal(self.gateway.argv()),
                             f"{key} is open to other users (mode 0640): chmod go= {key}")
            key.chmod(0o600)
        key = self.gateway.data_dir / "ca/ca.key"
        key.write_text("rubbish")
        self.assertRegex(self.refusal(self.gateway.argv()),
                         f"^{key} is damaged: .*; restore it from a backup$")
        self.assertEqual(key.read_text(), "rubbish")


    def test_an_admin_token_that_others_could_read_is_closed_with_a_warning(self):
        token = self.gateway.data_dir / "admin-token"
        token.chmod(0o644)
        self.gateway.start()
        self.assertEqual(token.stat().st_mode & 0o777, 0o600)
        self.assertRegex(self.gateway.program.text(), rf"level=warning .*{token}.*0644")


class CommandLineTest(GroundTest):
    def test_a_wrong_command_line_is_an_error_in_one_line(self):
        program = muster_e2e.BUILD / "bin/muster-gateway"
        self.assertIn("frob", self.refusal([program, "frob"], 2))
        self.assertIn("FILE", self.refusal([program, "backup"], 2))
        folder = self.folder / "none"
        self.assertEqual(self.refusal([program, "--data-dir", folder, "reset-admin"], 1),
                         f"{folder} holds no gateway")
        self.assertFalse(folder.exists())


class PortTest(GroundTest):
    def test_a_port_in_use_is_named(self):
        gateway = self.new_gateway()
        for port, name in ((gateway.web_port, "web_listen"),
                           (gateway.fleet_port, "fleet_listen")):
            with socket.create_server(("127.0.0.1", port)):
                flag = "--" + name.replace("_", "-")
                self.assertRegex(self.refusal(gateway.argv()),
                                 rf"^{flag}: {name}: .*127\.0\.0\.1:{port}: Address already in use$")
        gateway.start()

    def test_a_second_gateway_on_one_folder_is_refused_and_harms_nothing(self):
        gateway = self.start_gateway()
        second = self.new_gateway()
        second.data_dir = gateway.data_dir
        self.assertEqual(self.refusal(second.argv()), f"another gateway uses {gateway.data_dir}")
        self.assertEqual(gateway.call("GET", "/ready").status, 200)

    def test_a_second_agent_on_one_state_is_refused_and_harms_nothing(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        self.assertEqual(self.refusal(self.agent_argv(agent)),
                         f"another muster-agent runs from {agent.state_dir}")
        self.assertEqual(agent.verb("heartbeat-now").returncode, 0)


class AgentStateTest(GroundTest):
    def test_damaged_state_is_named_and_left_as_it_is(self):
        gateway = self.start_gateway()
        agent = self.new_agent()
        self.assertEqual(agent.join(gateway.url, gateway.create_token()).returncode, 0)
        identity, key = agent.state_dir / "identity.toml", agent.state_dir / "key.pem"
        whole, own_key = identity.read_text(), key.read_text()
        advice = "Restore the file, or start over with a fresh token: muster-agent join --replace"
        for content, why in (("rubbish = =", ":1: "), ("", ": version is missing"),
                             (whole.replace("agent_id", "agent"), ": agent_id is missing"),
                             (whole[:-200], "")):
            with self.subTest(why):
                identity.write_text(content)
                said = self.refusal(self.agent_argv(agent))
                self.assertTrue(said.startswith(f"{identity}{why}"), said)
                self.assertTrue(said.endswith(advice), said)
                self.assertEqual(identity.read_text(), content)
        identity.write_text(whole.replace("version = 1", "version = 2"))
        self.assertEqual(self.refusal(self.agent_argv(agent)),
                         f"{identity}: written by another muster-agent: version must be 1, got 2")
        identity.write_text(whole)
        key.write_text("rubbish")
        self.assertTrue(self.refusal(self.agent_argv(agent)).startswith(f"{key}: "))
        key.write_text(own_key)
        key.chmod(0o640)
        self.assertEqual(self.refusal(self.agent_argv(agent)),
                         f"{key} is open to other users (mode 0640): chmod go= {key}")
        key.chmod(0o600)
        # The way out that the message names.
        former = agent.agent_id
        identity.write_text("rubbish = =")
        self.assertEqual(
            agent.join(gateway.url, gateway.create_token(), "--replace").returncode, 0)
        self.assertNotEqual(agent.agent_id, former)
        agent.start()
        self.wait_status(gateway, agent.agent_id, "online", 10)

    def test_an_unreadable_log_of_seen_orders_does_not_keep_a_machine_away(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        ran = self.folder / "ran"
        self.assertEqual(gateway.run(agent.agent_id, f"echo 1 >> {ran}")["state"], "succeeded")
        agent.stop()
        (agent.state_dir / "commands/seen").write_bytes(b"rubbish" * 10)
        agent.start()
        self.wait_status(gateway, agent.agent_id, "online", 10)
        self.assertEqual(gateway.run(agent.agent_id, f"echo 2 >> {ran}")["state"], "succeeded")
        self.assertEqual(ran.read_text().split(), ["1", "2"])


@unittest.skipIf(os.geteuid() != 0, "mounts need root")
class DiskTest(GroundTest):
    def test_folders_that_cannot_be_written_are_named(self):
        folder = self.folder / "read-only"
        self.mount(folder, 1)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        gateway, agent = self.new_gateway(), self.new_agent()
        gateway.data_dir, agent.state_dir = folder / "gateway", folder / "agent"
        self.assertRegex(self.refusal(gateway.argv()),
                         f"{gateway.data_dir}.*: Read-only file system$")
        self.assertRegex(self.refusal(self.agent_argv(agent)),
                         f"{agent.state_dir}.*: Read-only file system$")

    def test_a_gateway_with_a_full_disk_keeps_presence_and_takes_no_command(self):
        gateway = self.new_gateway()
        self.mount(gateway.data_dir, 8)
        gateway.start()
        agent = self.start_agent(gateway)
        leaving = self.start_agent(gateway)
        filler = self.fill(gateway.data_dir)
        path = f"/api/agents/{agent.agent_id}/commands"

        def refused():
            answer = gateway.call("POST", path, {"command": "true"})
            return answer if answer.status != 202 else None
        answer = wait_until(refused, 20, "commands are refused")
        self.assertEqual((answer.status, answer.data["code"], answer.data["detail"]),
                         (503, "storage_full",
                          "the gateway's disk is full: nothing was stored or done"))
        self.assertIn("Retry-After", answer.headers)
        self.assertEqual(gateway.call("GET", "/ready").status, 503)
        # Presence is decided in memory.
        leaving.kill()
        self.wait_status(gateway, leaving.agent_id, "offline", 10)
        self.wait_status(gateway, agent.agent_id, "online", 1)

        filler.unlink()
        wait_until(lambda: gateway.call("GET", "/ready").status == 200, 15, "ready again")
        self.assertEqual(gateway.run(agent.agent_id, "true")["state"], "succeeded")
        self.assertTrue(gateway.program.running())
        wait_until(lambda: gateway.transitions(muster_e2e.OFFLINE) == 1, 10,
                   "what was decided meanwhile is stored")

    def test_an_agent_with_a_full_disk_starts_nothing_and_stays_online(self):
        gateway = self.start_gateway()
        agent = self.new_agent()
        agent.state_dir = self.folder / "small"
        self.mount(agent.state_dir, 1)
        self.assertEqual(agent.join(gateway.url, gateway.create_token()).returncode, 0)
        agent.start()
        self.wait_status(gateway, agent.agent_id, "online", 10)
        ran = self.folder / "ran"
        filler = self.fill(agent.state_dir)
        rejected = gateway.run(agent.agent_id, f"echo 1 >> {ran}")
        self.assertEqual((rejected["state"], rejected["reason"]), ("rejected", "agent_disk_full"))
        self.assertFalse(ran.exists())
        self.assertEqual(agent.verb("heartbeat-now").returncode, 0)
        self.wait_status(gateway, agent.agent_id, "online", 1)
        filler.unlink()
        self.assertEqual(gateway.run(agent.agent_id, f"echo 2 >> {ran}")["state"], "succeeded")
        self.assertEqual(ran.read_text().split(), ["2"])


class SettingsTest(GroundTest):
    def test_a_wrong_setting_is_named_with_its_place_bound_and_value(self):
        file = self.folder / "gateway.toml"
        argv = [muster_e2e.BUILD / "bin/muster-gateway", "--data-dir", self.folder / "none",
                "--config", file]
        duration = "expected a duration such as 500ms, 30s, 5m, 2h, 1d or 1h30m, got"
        for text, why in (
                ('\nweb_listn = "x"', f'{file}:2: unknown setting "web_listn"'),
                ('drain = "soon"', f'{file}:1: drain: {duration} "soon"'),
                ('\n\ndrain = "6m"', f"{file}:3: drain must be 0 to 5m, got 6m"),
                ('stale_after = "1s"', f"{file}:1: stale_after must be larger than 2.2 × "
                                       "heartbeat_interval = 1m6s, got 1s"),
                ('log_level = "loud"', f"{file}:1: log_level: expected one of debug, info, "
                                       'warning, error; got "loud"'),
                ("heartbeat_interval = 5", f'{file}:1: heartbeat_interval: {duration} "5"'),
                ('connections_per_source_max = "5"',
                 f"{file}:1: connections_per_source_max: must be a number without quotes, "
                 'got "5"'),
                ("public_address = 5", f"{file}:1: public_address: must be text in quotes, got 5"),
                ('offline_after = "76s"',
                 f"{file}:1: offline_after must be larger than stale_after + 2 × blind_gap = "
                 "1m19s, got 1m16s"),
                ('offline_after = "1000000d"',
                 f"{file}:1: offline_after must be at most 168h, or never, got 24000000h"),
                ('blind_gap = "1ms"',
                 f"{file}:1: blind_gap must be 100ms … 168h, got 1ms"),
                ('web_listen = "foo"', f'{file}:1: web_listen: "foo" is not host:port with a port '
                                       "from 0 to 65535"),
                ('\nweb_listen = "127.0.0.1:70000"',
                 f'{file}:2: web_listen: "127.0.0.1:70000" is not host:port with a port from 0 '
                 "to 65535"),
                ('fleet_listen = ":7443"', f'{file}:1: fleet_listen: ":7443": "" is neither a '
                                           "host name nor an address"),
                ('web_key = "/nope"', f"{file}:1: web_key needs web_certificate beside it, got "
                                      'only "/nope"'),
                ('web_key = "/dev/null"\nweb_certificate = "/nope"',
                 f"{file}:2: web_certificate: opening /nope: No such file or directory"),
                ('web_key = "/nope"\nweb_certificate = "/dev/null"',
                 f"{file}:1: web_key: opening /nope: No such file or directory")):
            with self.subTest(text):
                file.write_text(text)
                self.assertEqual(self.refusal(argv, 2), why)
        file.write_text("")
        self.assertEqual(self.refusal(argv, 2, {"MUSTER_COMMAND_TIMEOUT": "9d"}),
                         "MUSTER_COMMAND_TIMEOUT: command_timeout must be 1s to 168h, got 216h")
        self.assertEqual(self.refusal(argv + ["--drain", "10m"], 2),
                         "--drain: drain must be 0 to 5m, got 10m")
        file.write_text('\ndrain = "6m"')
        self.assertEqual(self.refusal(argv[:-2], 2, {"MUSTER_GATEWAY_CONFIG": str(file)}),
                         f"{file}:2: drain must be 0 to 5m, got 6m")
        missing = self.folder / "missing.toml"
        # The contexts of musterctl are no settings of the gateway.
        self.assertEqual(self.refusal(argv[:-2] + ["--drain", "10m"], 2,
                                      {"MUSTER_CONFIG": str(missing)}),
                         "--drain: drain must be 0 to 5m, got 10m")
        self.assertEqual(self.refusal(argv[:-1] + [missing], 2),
                         f"opening {missing}: No such file or directory")
        self.assertFalse((self.folder / "none").exists())
        agent = [muster_e2e.BUILD / "bin/muster-agent", "run", "--config", file]
        file.write_text('\nproxy = "ftp://x"')
        self.assertEqual(self.refusal(agent, 2), f'{file}:2: proxy: expected "", "env" or '
                                                 '"http://host:port"; got "ftp://x"')


if __name__ == "__main__":
    muster_e2e.main()
