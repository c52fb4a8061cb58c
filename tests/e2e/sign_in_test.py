"""Passwords: as people type them, as a browser sends them, and as somebody guesses them."""
import concurrent.futures

import muster_e2e

PASSWORD = "correct horse battery"


class SignInTest(muster_e2e.TestCase):
    def musterctl(self, gateway, *arguments, token=None, stdin="", environment=None):
        environment = environment or {"MUSTER_TOKEN": token or gateway.token}
        return muster_e2e.run_once("musterctl", "--server", gateway.url, *arguments,
                                   environment=environment, stdin=stdin)

    def gateway_with_alice(self):
        gateway = self.start_gateway()
        for arguments, stdin in ((["users", "create", "alice", "--role", "operator"], ""),
                                 (["users", "password", "alice"], PASSWORD + "\n")):
            done = self.musterctl(gateway, *arguments, stdin=stdin)
            self.assertEqual(done.returncode, 0, done.stderr)
        return gateway

    def sign_in(self, gateway, password=PASSWORD, name="alice", **more):
        return gateway.call("POST", "/api/sign-in", {"name": name, "password": password, **more},
                            token="", timeout_s=30)

    def test_a_person_logs_in_works_and_logs_out(self):
        gateway = self.gateway_with_alice()
        config = self.folder / "config.toml"
        environment = {"MUSTER_CONFIG": str(config)}
        done = self.musterctl(gateway, "login", "--user", "alice", stdin=PASSWORD + "\n",
                              environment=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("as alice (operator)", done.stderr)
        self.assertEqual(self.musterctl(gateway, "agents", "ls", environment=environment).returncode, 0)
        listed = self.musterctl(gateway, "users", "token", "ls", "alice")
        self.assertIn("signed in from 127.0.0.1", listed.stdout)
        self.assertNotIn(PASSWORD, gateway.program.text() + config.read_text())
        done = self.musterctl(gateway, "logout", environment=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("mst_", config.read_text())
        refused = self.musterctl(gateway, "agents", "ls", environment=environment)
        self.assertNotEqual(refused.returncode, 0)

    def test_whatever_is_wrong_the_answer_is_the_same(self):
        gateway = self.gateway_with_alice()
        self.musterctl(gateway, "users", "create", "nopass")
        answers = [self.sign_in(gateway, "wrong"), self.sign_in(gateway, name="nobody"),
                   self.sign_in(gateway, name="nopass"), self.sign_in(gateway, org="nowhere")]
        self.musterctl(gateway, "users", "disable", "alice")
        answers.append(self.sign_in(gateway))
        for answer in answers:
            self.assertEqual((answer.status, answer.data["code"], answer.data["detail"]),
                             (401, "sign_in_refused", "org, name or password is not right"))

    def test_guessing_is_slowed_and_hinders_no_token(self):
        gateway = self.gateway_with_alice()
        token = self.sign_in(gateway).data["secret"]
        for _ in range(5):
            self.assertEqual(self.sign_in(gateway, "wrong").status, 401)
        locked = self.sign_in(gateway)
        self.assertEqual((locked.status, locked.data["code"]), (429, "too_many_sign_ins"))
        self.assertRegex(locked.data["detail"], "try again in (1m|[0-9]+s)")
        self.assertEqual(gateway.call("GET", "/api/agents", token=token).status, 200)

    def test_another_password_signs_everybody_out(self):
        gateway = self.gateway_with_alice()
        token = self.sign_in(gateway).data["secret"]
        short = gateway.call("PUT", "/api/password", {"current_password": PASSWORD,
                                                      "password": "short"}, token=token)
        self.assertEqual(short.status, 400)
        self.assertIn("password: must be 12 to 256 bytes, got 5", short.data["detail"])
        wrong = gateway.call("PUT", "/api/password", {"current_password": "no",
                                                      "password": "another horse"}, token=token)
        self.assertEqual(wrong.status, 403)
        done = gateway.call("PUT", "/api/password", {"current_password": PASSWORD,
                                                     "password": "another horse"}, token=token)
        self.assertEqual(done.status, 200, done)
        self.assertEqual(gateway.call("GET", "/api/agents", token=token).status, 401)
        self.assertEqual(self.sign_in(gateway).status, 401)
        gateway.kill()
        gateway.start()
        self.assertEqual(self.sign_in(gateway, "another horse").status, 201)
        self.assertEqual(gateway.call("GET", "/api/agents", token=token).status, 401)

    def test_a_browser_has_a_cookie_that_other_sites_cannot_use(self):
        gateway = self.gateway_with_alice()
        foreign = gateway.call("POST", "/api/sign-in", {"name": "alice", "password": PASSWORD,
                                                        "cookie": True}, token="",
                               headers={"Origin": "https://evil.example"})
        self.assertEqual((foreign.status, foreign.data["code"]), (403, "foreign_request"))
        signed_in = self.sign_in(gateway, cookie=True)
        self.assertEqual(signed_in.status, 201, signed_in)
        self.assertNotIn("mst_", signed_in.body)
        cookie = signed_in.headers["Set-Cookie"]
        self.assertRegex(cookie, "^muster_session=mst_[0-9A-Za-z]{43}; Path=/; HttpOnly; SameSite=Strict$")
        jar = {"Cookie": cookie.split(";")[0]}
        csrf = {"X-Csrf-Token": signed_in.data["csrf_token"]}

        def call(method, path, *headers, body=None):
            merged = {key: value for one in (jar, *headers) for key, value in one.items()}
            return gateway.call(method, path, body, token="", headers=merged)
        self.assertEqual(call("GET", "/api/agents").status, 200)
        who = call("GET", "/api/whoami")
        self.assertEqual(who.headers["X-Csrf-Token"], signed_in.data["csrf_token"])
        foreign = call("POST", "/api/sign-out")
        self.assertEqual((foreign.status, foreign.data["code"]), (403, "foreign_request"))
        for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
            self.assertEqual(call("GET", "/api/agents", {"Origin": origin}).status, 403)
            self.assertEqual(call("POST", "/api/sign-out", csrf, {"Origin": origin}).status, 403)
        own = {"Origin": gateway.url}
        out = call("POST", "/api/sign-out", csrf, own)
        self.assertEqual(out.status, 200, out)
        self.assertIn("Max-Age=0", out.headers["Set-Cookie"])
        self.assertEqual(call("GET", "/api/agents").status, 401)

    def test_a_cookie_that_speaks_for_nobody_is_in_nobodys_way(self):
        gateway = self.gateway_with_alice()
        stale = {"Cookie": "muster_session=mst_stale"}
        gone = gateway.call("GET", "/api/whoami", token="", headers=stale)
        self.assertEqual(gone.status, 401)
        self.assertIn("Max-Age=0", gone.headers["Set-Cookie"])
        gone = gateway.call("GET", "/api/events", token="",
                            headers={**stale, "Accept": "text/event-stream"})
        self.assertEqual(gone.status, 401)
        self.assertIn("Max-Age=0", gone.headers["Set-Cookie"])
        again = gateway.call("POST", "/api/sign-in", {"name": "alice", "password": PASSWORD,
                                                      "cookie": True}, token="", headers=stale)
        self.assertEqual(again.status, 201, again)

    def test_who_signs_in_while_the_password_is_taken_away_is_not_let_in(self):
        gateway = self.gateway_with_alice()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            attempts = [pool.submit(self.sign_in, gateway) for _ in range(2)]
            taken = gateway.call("PUT", "/api/users/alice/password", {"password": ""}, timeout_s=30)
            self.assertEqual(taken.status, 200, taken)
            tokens = [a.result().data.get("secret") for a in attempts]
        for token in filter(None, tokens):
            self.assertEqual(gateway.call("GET", "/api/agents", token=token).status, 401)

    def test_the_database_holds_no_password_and_no_two_equal_hashes(self):
        gateway = self.gateway_with_alice()
        self.musterctl(gateway, "users", "create", "bob")
        self.musterctl(gateway, "users", "password", "bob", stdin=PASSWORD + "\n")
        rows = gateway.query("SELECT password_hash FROM users")
        hashes = [row[0] for row in rows]
        self.assertEqual(len(set(hashes)), 2)
        for one in hashes:
            self.assertRegex(one, r"^scrypt\$15\$8\$1\$[0-9a-f]{32}\$[0-9a-f]{64}$")
        service = self.musterctl(gateway, "users", "create", "robot", "--service")
        self.assertEqual(service.returncode, 0)
        refused = self.musterctl(gateway, "users", "password", "robot", stdin=PASSWORD + "\n")
        self.assertIn("robot is a program", refused.stderr)


if __name__ == "__main__":
    muster_e2e.main()
