"""What callers get wrong: each has a clear answer, and nothing is lost by it."""
import base64
import shutil
import socket
import sqlite3
import ssl
import subprocess
import tomllib

import muster_e2e
from muster_e2e import wait_until

COMMAND_BYTES_MAX = 256 * 1024
UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"


class BadInputTest(muster_e2e.TestCase):
    def expect(self, answer, status, code, detail):
        """One problem document with these words."""
        self.assertEqual((answer.status, answer.data["code"], answer.data["detail"]),
                         (status, code, detail))
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        self.assertEqual(answer.data["request_id"], answer.headers["X-Request-Id"])

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True,
                       cwd=self.folder, timeout=30)

    def make_csr(self, name="machine", *key):
        """A certificate request in PEM; its key is `name`.key."""
        self.openssl("req", "-new", "-newkey", *(key or ("ec", "-pkeyopt",
                                                          "ec_paramgen_curve:P-256")),
                     "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=x")
        return (self.folder / f"{name}.csr").read_text()


class ApiTest(BadInputTest):
    def test_commands_and_bodies(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        path = f"/api/agents/{agent.agent_id}/commands"
        for body, detail in (
                ({"command": "true", "shell_type": "fish"}, "shell_type: expected one of bash, sh, "
                 'zsh, python3, pwsh, exec; got "fish"'),
                ({"command": ""}, "command: must be 1 to 262144 bytes, got 0"),
                ({}, "command: must be 1 to 262144 bytes, got 0"),
                ({"command": "x" * (COMMAND_BYTES_MAX + 1)},
                 "command: must be 1 to 262144 bytes, got 262145"),
                ({"command": "a\0b"}, "command: must not contain NUL, got one at byte 1"),
                ("[]", "body: expected an object, got a list"),
                ({"command": 5}, "command: expected a string, got 5"),
                ({"command": "true", "argv": ["a", 1]}, "argv[1]: expected a string, got 1"),
                ({"command": "true", "shel": "bash"}, "shel: unknown field"),
                ('{"command":"a","command":"b"}', "command: given twice"),
                (b'{"command":"\xff"}', "body: not valid JSON at byte 13: invalid UTF-8"),
                ({"command": "true", "timeout": "0s"}, "timeout: must be 1s to 168h, got 0")):
            with self.subTest(detail):
                self.expect(gateway.call("POST", path, body), 400, "invalid_argument", detail)
        malformed = gateway.call("POST", path, '{"command": ')
        self.assertEqual(malformed.status, 400)
        self.assertRegex(malformed.data["detail"], "^body: not valid JSON at byte 13: ")
        self.expect(gateway.call("POST", path, '{"command":"' + "x" * (3 << 20) + '"}'),
                    413, "body_too_large", "body: must be at most 1048576 bytes")
        self.expect(gateway.call("POST", path, "a=b", headers={"Content-Type": "text/plain"}),
                    415, "unsupported_media_type",
                    "content-type: expected application/json in UTF-8, got text/plain")
        self.assertEqual(gateway.get("/api/commands")["commands"], [])

        largest = "true #".ljust(COMMAND_BYTES_MAX, "x")
        self.assertEqual(gateway.run(agent.agent_id, largest)["state"], "succeeded")
        if not shutil.which("pwsh"):
            lacking = gateway.run(agent.agent_id, "Get-Date", shell_type="pwsh")
            self.assertEqual((lacking["state"], lacking["reason"]),
                             ("rejected", "shell_unavailable"))

    def test_routes_methods_and_paths(self):
        gateway = self.start_gateway()
        for path in ("/api/nothing", "//api/agents", "/api//agents", "/api/agents/",
                     "/API/agents"):
            self.expect(gateway.call("GET", path), 404, "unknown_route",
                        f"nothing is at GET {path}")
        for path in ("/api/agents%2f", "/api%2fagents", "/api/../api/agents", "/api/./agents",
                     "/api/agents/%2e%2e/tokens", "/health/../api/agents", "/api/agents/%00"):
            self.expect(gateway.call("GET", path), 400, "invalid_path",
                        'path: a part is "." or "..", holds a slash or control character, '
                        "or is not UTF-8")
        self.expect(gateway.call("GET", "/api/agents/%zz"), 400, "invalid_path",
                    "path: broken percent-encoding")
        wrong = gateway.call("PUT", "/api/agents")
        self.expect(wrong, 405, "method_not_allowed",
                    "PUT is not possible here; allowed: GET, HEAD, OPTIONS")
        self.assertEqual(wrong.headers["Allow"], "GET, HEAD, OPTIONS")
        self.expect(gateway.call("GET", "/api/agents", token=""), 401, "unauthenticated",
                    "a token is needed: Authorization: Bearer mst_…")
        self.expect(gateway.call("GET", "/api/agents", token="mst_adm_x"), 401,
                    "unauthenticated", "the token is not valid")
        self.expect(gateway.call("GET", f"/api/agents/{UNKNOWN_ID}"), 404, "not_found",
                    f'agent "{UNKNOWN_ID}" not found')
        long = gateway.call("GET", "/api/agents/" + "a" * 5000)
        self.assertEqual((long.status, long.data["code"]), (404, "not_found"))
        self.assertLess(len(long.data["detail"]), 200)


class RegistrationTest(BadInputTest):
    def register(self, gateway, token, csr, hostname="h"):
        return gateway.call("POST", "/api/agents/register", token="", body={
            "token": token, "csr_pem": csr, "facts": {"hostname": hostname}})

    def test_a_hostname_that_could_be_taken_for_another_machines(self):
        gateway = self.start_gateway()
        csr, token = self.make_csr("one"), gateway.create_token()
        for hostname in ("a~b", "vm~c3d06e", UNKNOWN_ID, " vm", "vm ", "..", "-x", "vm/..",
                         "$(id)", "", "h" * 65):
            with self.subTest(hostname):
                answer = self.register(gateway, token, csr, hostname)
                self.assertEqual((answer.status, answer.data["code"]), (400, "invalid_argument"))
                self.assertRegex(answer.data["detail"], "^facts.hostname: must .*, got .")
        self.assertEqual(self.register(gateway, token, csr).status, 201)  # The token is unused.

    def test_tokens_that_do_not_admit(self):
        gateway = self.start_gateway()
        csr, other = self.make_csr("one"), self.make_csr("two")
        used = gateway.create_token()
        self.assertEqual(self.register(gateway, used, csr).status, 201)
        revoked = gateway.call("POST", "/api/tokens", {}).data
        path = f"/api/tokens/{revoked['token']['token_id']}"
        self.assertEqual(gateway.call("DELETE", path).status, 200)
        expired = gateway.call("POST", "/api/tokens", {"ttl": "1m"}).data
        with sqlite3.connect(gateway.data_dir / "muster.db", timeout=10) as db:
            db.execute("UPDATE tokens SET expires_at_us = 1 WHERE id = ?",
                       (expired["token"]["token_id"],))
        for token, detail in ((used, "token used up"), (revoked["secret"], "token revoked"),
                              (expired["secret"], "token expired"),
                              ("mst_join_" + 43 * "a", "unknown token"),
                              ("nonsense", "unknown token"), (gateway.token, "unknown token")):
            with self.subTest(detail):
                self.expect(self.register(gateway, token, other), 403, "token_refused", detail)
        self.assertEqual(len(gateway.agents()), 1)
        joined = self.new_agent().join(gateway.url, revoked["secret"])
        self.assertEqual((joined.returncode, joined.stderr),
                         (1, f"error: {gateway.url} refused the registration: token_refused: "
                             "token revoked\n"))

    def test_requests_that_cannot_be_certified_use_no_token_up(self):
        gateway = self.start_gateway()
        token, csr = gateway.create_token(), self.make_csr()
        raw = bytearray(base64.b64decode("".join(csr.strip().split("\n")[1:-1])))
        raw[-5] ^= 1
        tampered = ("-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(raw).decode() +
                    "-----END CERTIFICATE REQUEST-----\n")
        weak = self.make_csr("weak", "rsa:1024")
        for bad, detail in ((" ", "csr_pem is not a certificate request in PEM"),
                            ("hello", "csr_pem is not a certificate request in PEM"),
                            (tampered, "csr_pem is not signed by its own key"),
                            (weak, "csr_pem has a RSA key of 1024 bits; accepted are P-256 and "
                                   "Ed25519")):
            answer = self.register(gateway, token, bad)
            self.assertEqual((answer.status, answer.data["code"]), (400, "invalid_argument"))
            self.assertTrue(answer.data["detail"].startswith(detail), answer)
        self.assertEqual(gateway.agents(), [])
        self.assertEqual(self.register(gateway, token, csr).status, 201)


class FleetPortTest(BadInputTest):
    def knock(self, gateway, certificate=None, key=None):
        """What a TLS client is told: "" if it is let in as far as HTTP/2."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        if certificate:
            context.load_cert_chain(self.folder / certificate, self.folder / key)
        try:
            with socket.create_connection(("127.0.0.1", gateway.fleet_port), 5) as raw, \
                    context.wrap_socket(raw) as tls:
                tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
                return "" if tls.recv(9) else "closed"
        except (ssl.SSLError, ConnectionError) as error:
            return str(error)

    def test_only_certificates_of_the_own_authority_are_let_in(self):
        gateway = self.start_gateway()
        agent = self.start_agent(gateway)
        self.make_csr("foreign")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Muster fleet CA")
        self.openssl("x509", "-req", "-in", "foreign.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                     "-CAcreateserial", "-out", "foreign.pem")
        identity = agent.state_dir / "identity.toml"
        own = tomllib.loads(identity.read_text())["certificate_pem"]
        (self.folder / "own.pem").write_text(own)
        shutil.copy(agent.state_dir / "key.pem", self.folder / "own.key")
        self.assertEqual(self.knock(gateway, "own.pem", "own.key"), "")
        self.assertNotEqual(self.knock(gateway), "")
        self.assertNotEqual(self.knock(gateway, "foreign.pem", "foreign.key"), "")
        # The agent itself, with the other authority's certificate.
        agent.stop()
        foreign = (self.folder / "foreign.pem").read_text()
        identity.write_text(identity.read_text().replace(own.strip(), foreign.strip()))
        shutil.copy(self.folder / "foreign.key", agent.state_dir / "key.pem")
        agent.start()
        wait_until(lambda: "class=refused_by_gateway" in agent.text(), 10, "it is told why")
        self.assertNotEqual(gateway.agents()[0]["status"], "online")

    def test_a_gateway_with_an_older_database_says_that_it_does_not_know_the_machine(self):
        gateway = self.start_gateway()
        gateway.stop()
        older = (gateway.data_dir / "muster.db").read_bytes()
        gateway.start()
        agent = self.start_agent(gateway)
        gateway.stop()
        for file in gateway.data_dir.glob("muster.db*"):
            file.unlink()
        (gateway.data_dir / "muster.db").write_bytes(older)
        gateway.start()
        wait_until(lambda: "this gateway does not know this machine" in agent.text(), 10,
                   "it is told why")
        self.assertTrue(agent.program.running())
        self.assertEqual(gateway.agents(), [])


if __name__ == "__main__":
    muster_e2e.main()
