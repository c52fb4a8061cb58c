"""Certificates that must open nothing, shown to the gateway by a real agent and to a real agent
by something that is no gateway.

At the fleet port each is the machine's own in all but one respect: what is refused is refused for
that. The agent may say nothing, not even HTTP/2's first word, to whom it cannot believe.
"""
import contextlib
import socket
import ssl
import subprocess
import threading
import tomllib
import warnings

import muster_e2e
from muster_e2e import wait_until

NAME = "gateway.muster.internal"  # Of every gateway, in its certificate.
AGENT = "extendedKeyUsage=clientAuth\nbasicConstraints=critical,CA:FALSE\n"
SERVER = "extendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n"
CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n"
VALID = ("20200101000000Z", "20990101000000Z")
EXPIRED = ("20200101000000Z", "20210101000000Z")
NOT_YET = ("20980101000000Z", "20990101000000Z")
STRANGER = "00000000-0000-4000-8000-000000000000"
HTTP2 = b"PRI * HTTP/2.0\r\n"


class Pki:
    """Makes keys and certificates of any kind, in a folder."""

    def __init__(self, folder):
        self.folder, self.serial = folder, 0

    def openssl(self, *arguments):
        return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True,
                              cwd=self.folder, timeout=60).stdout

    def key(self, name):
        """The file of a new key."""
        file = self.folder / f"{name}.key"
        self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-out", file)
        return file

    def sign(self, key, extensions, by, by_key, subject="/CN=x", valid=VALID):
        """The PEM of a certificate for `key`, signed with `by_key` in the name of `by`; `by` None:
        of itself."""
        self.serial += 1
        stem = self.folder / f"made-{self.serial}"
        self.openssl("req", "-new", "-key", key, "-subj", subject, "-out", f"{stem}.csr")
        with open(f"{stem}.ext", "w") as file:
            file.write(extensions)
        (self.folder / f"{stem}.index").touch()
        with open(f"{stem}.cnf", "w") as file:
            file.write(f"[ca]\ndefault_ca=own\n[own]\nnew_certs_dir={self.folder}\n"
                       f"database={stem}.index\nrand_serial=yes\ndefault_md=sha256\n"
                       "unique_subject=no\npolicy=any\n[any]\ncommonName=optional\n")
        signer = ["-cert", by, "-keyfile", by_key] if by else ["-selfsign", "-keyfile", key]
        self.openssl("ca", "-batch", "-notext", "-config", f"{stem}.cnf", "-in", f"{stem}.csr",
                     "-extfile", f"{stem}.ext", "-startdate", valid[0], "-enddate", valid[1],
                     "-out", f"{stem}.pem", *signer)
        return (self.folder / f"{stem}.pem").read_text()

    def write(self, name, pem):
        file = self.folder / name
        file.write_text(pem)
        return file


def only(context, version):
    """The context speaks nothing but this version, however old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version


def san(*names):
    return "subjectAltName=" + ",".join(names) + "\n"


class CertificatesTest(muster_e2e.TestCase):
    def begin(self):
        """A gateway, and a machine of it whose agent is stopped."""
        self.gateway = self.start_gateway()
        self.pki = Pki(self.new_folder("pki"))
        folder = self.gateway.data_dir / "ca"
        self.ca = {name: folder / name for name in (
            "ca.pem", "ca.key", "fleet.pem", "fleet.key", "web.pem", "web.key")}
        self.agent = self.start_agent(self.gateway)
        self.agent.kill()
        self.wait_status(self.gateway, self.agent.agent_id, "offline", 15)
        self.own_key = self.agent.state_dir / "key.pem"
        self.uri = f"URI:muster://default/agent/{self.agent.agent_id}"

    def by_fleet_ca(self, extensions, key=None, **options):
        return self.pki.sign(key or self.own_key, extensions, self.ca["ca.pem"], self.ca["ca.key"],
                             **options)


class FleetPortTest(CertificatesTest):
    """What the agent shows instead of its own certificate."""

    def corpus(self):
        """Yields a name, a certificate (perhaps with its chain), and the file of its key."""
        own, uri = self.own_key, self.uri
        foreign = self.pki.key("foreign-ca")
        foreign_ca = self.pki.write("foreign-ca.pem", self.pki.sign(
            foreign, CA, None, None, subject="/CN=Muster fleet CA"))
        yield "self-signed", self.pki.sign(own, AGENT + san(uri), None, None), own
        yield "of another authority", self.pki.sign(
            own, AGENT + san(uri), foreign_ca, foreign), own
        namesake = self.pki.sign(own, AGENT + san(uri), foreign_ca, foreign)
        yield "of another authority, with the fleet's beside it", (
            namesake + self.ca["ca.pem"].read_text()), own
        leaf = self.pki.write("leaf.pem", self.identity()["certificate_pem"])
        below = self.pki.key("below")
        yield "signed with an agent's key", (
            self.pki.sign(below, AGENT + san(uri), leaf, own) + leaf.read_text()), below
        between = self.pki.key("between")
        between_ca = self.pki.write("between.pem", self.by_fleet_ca(CA, key=between))
        yield "of an authority below the fleet's", (
            self.pki.sign(own, AGENT + san(uri), between_ca, between) + between_ca.read_text()), own
        yield "expired", self.by_fleet_ca(AGENT + san(uri), valid=EXPIRED), own
        yield "not yet valid", self.by_fleet_ca(AGENT + san(uri), valid=NOT_YET), own
        yield "the fleet port's own", self.ca["fleet.pem"].read_text(), self.ca["fleet.key"]
        yield "the authority's own", self.ca["ca.pem"].read_text(), self.ca["ca.key"]
        yield "for a server", self.by_fleet_ca(SERVER + san(uri)), own
        yield "for mail", self.by_fleet_ca("extendedKeyUsage=emailProtection\n" + san(uri)), own
        yield "for code", self.by_fleet_ca("extendedKeyUsage=codeSigning\n" + san(uri)), own
        yield "an authority that names the machine", self.by_fleet_ca(CA + san(uri)), own
        yield "without a name", self.by_fleet_ca(AGENT), own
        yield "with the name in its subject only", self.by_fleet_ca(
            AGENT, subject=f"/CN={self.agent.agent_id}"), own
        yield "with the name as a host's", self.by_fleet_ca(
            AGENT + san(f"DNS:{self.agent.agent_id}")), own
        other = f"URI:muster://default/agent/{STRANGER}"
        yield "of two machines", self.by_fleet_ca(AGENT + san(uri, other)), own
        yield "of two machines, the other first", self.by_fleet_ca(AGENT + san(other, uri)), own
        yield "of the machine, twice", self.by_fleet_ca(AGENT + san(uri, uri)), own
        yield "of another org", self.by_fleet_ca(
            AGENT + san(uri.replace("default", "another"))), own
        for odd in ("MUSTER://default/agent/{}", "muster://default/Agent/{}",
                    "muster://default/agent/{}/", "muster://default/agent//{}",
                    "muster:///agent/{}", "muster://default/agent/{}?x", "http://default/agent/{}",
                    "muster://default/gateway/{}", "muster://default@x/agent/{}", "{}"):
            yield f"with {odd}", self.by_fleet_ca(
                AGENT + san("URI:" + odd.format(self.agent.agent_id))), own
        yield "of a machine that never was", self.by_fleet_ca(AGENT + san(other)), own
        yield "with another key", self.by_fleet_ca(AGENT + san(uri), key=below), below
        many = san(uri, *(f"DNS:{n:05}.{'x' * 50}.example" for n in range(650)))
        yield "huge, of another authority", self.pki.sign(
            own, AGENT + many, foreign_ca, foreign), own

    def identity(self):
        return tomllib.loads((self.agent.state_dir / "identity.toml").read_text())

    def show(self, pem, key):
        """Starts the agent with this; its log up to when it has given up for now."""
        identity = self.agent.state_dir / "identity.toml"
        own, own_key = identity.read_text(), self.own_key.read_text()
        shown_key = key.read_text()
        # Nor does it get another one: it does not reach the web port.
        identity.write_text(own.replace(self.identity()["certificate_pem"].strip(), pem.strip())
                            .replace(self.gateway.url, "http://127.0.0.1:9"))
        self.assertNotEqual(identity.read_text(), own)
        self.own_key.write_text(shown_key)
        before = len(self.agent.text())
        try:
            program = self.agent.start()
            wait_until(lambda: not program.running() or " class=" in self.agent.text()[before:],
                       20, "it has been told, or cannot even try")
            return self.agent.text()[before:]
        finally:
            self.agent.program.end()
            identity.write_text(own)
            self.own_key.write_text(own_key)

    def machine(self):
        return self.gateway.get(f"/api/agents/{self.agent.agent_id}")

    def test_what_is_not_the_machines_own_certificate_makes_no_link(self):
        self.begin()
        before, transitions = self.machine(), self.gateway.transitions()
        links = f"/api/agents/{self.agent.agent_id}/links"
        known = self.gateway.get(links)
        tried = 0
        for what, pem, key in self.corpus():
            with self.subTest(what):
                text = self.show(pem, key)
                self.assertNotIn("msg=connected", text)
                self.assertIn(" class=", text)
                self.assertNotIn("deregistered", text)  # It would wipe itself.
                self.assertEqual((self.machine()["status"], self.machine()["epoch"]),
                                 ("offline", before["epoch"]))
                tried += 1
        print(f"  {tried} certificates")
        self.assertEqual(self.gateway.get(links), known)
        self.assertEqual(self.gateway.transitions(), transitions)
        self.agent.start()  # With its own it comes back.
        self.wait_status(self.gateway, self.agent.agent_id, "online", 15)

    def test_a_key_that_was_taken_away_opens_nothing_and_a_deleted_machine_stays_deleted(self):
        self.begin()
        path = f"/api/agents/{self.agent.agent_id}"
        before, size = self.machine(), len(self.agent.text())
        self.assertEqual(self.gateway.call("POST", path + "/reissue", {}).status, 201)
        self.agent.start()
        wait_until(lambda: " class=" in self.agent.text()[size:], 15, "it is told")
        self.agent.stop()
        self.assertEqual((self.machine()["status"], self.machine()["epoch"]),
                         ("offline", before["epoch"]))
        doomed = self.start_agent(self.gateway)
        doomed.stop()
        path = f"/api/agents/{doomed.agent_id}"
        self.assertEqual(self.gateway.call("DELETE", path).status, 200)
        doomed.start()
        wait_until(lambda: "class=deregistered" in doomed.text(), 15, "it is told")
        self.assertEqual(self.gateway.call("GET", path).status, 404)

    def test_a_stranger_is_not_let_in_as_far_as_http2(self):
        self.begin()
        foreign = self.pki.key("foreign")
        self_signed = self.pki.write("self.pem", self.pki.sign(
            foreign, AGENT + san(self.uri), None, None))
        own = self.pki.write("own.pem", self.identity()["certificate_pem"])
        # More than TLS lets a list of certificates be.
        many = san(self.uri, *(f"DNS:{n:05}.{'x' * 50}.example" for n in range(2000)))
        huge = self.pki.write("huge.pem", self.by_fleet_ca(AGENT + many))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertFalse(self.is_let_in(version, huge, self.own_key))
            self.assertTrue(self.is_let_in(version, own, self.own_key))
            self.assertFalse(self.is_let_in(version))
            self.assertFalse(self.is_let_in(version, self_signed, foreign))
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            self.assertFalse(self.is_let_in(version, own, self.own_key))
        with socket.create_connection(("127.0.0.1", self.gateway.fleet_port), 5) as plain:
            plain.sendall(HTTP2 + b"\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
            with contextlib.suppress(ConnectionError):
                self.assertNotEqual(plain.recv(64)[3:4], b"\x04")  # No SETTINGS.

    def is_let_in(self, version, certificate=None, key=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        only(context, version)
        context.set_alpn_protocols(["h2"])
        if certificate:
            context.load_cert_chain(certificate, key)
        try:
            with socket.create_connection(("127.0.0.1", self.gateway.fleet_port), 5) as raw, \
                    context.wrap_socket(raw) as tls:
                tls.sendall(HTTP2 + b"\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
                return bool(tls.recv(9))
        except (ssl.SSLError, ConnectionError):
            return False


class Impostor(threading.Thread):
    """Listens where a gateway should; remembers what was said to it when TLS stood."""

    def __init__(self, certificate=None, key=None, version=None):
        super().__init__(daemon=True)
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate, key)
            self.context.set_alpn_protocols(["h2"])
            if version:
                only(self.context, version)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.tried, self.told = 0, b""
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                peer.settimeout(2)
                with contextlib.suppress(OSError, ssl.SSLError), peer:
                    self.serve(peer)
                self.tried += 1

    def serve(self, peer):
        if self.context is None:  # Speaks HTTP/2 without TLS.
            peer.sendall(bytes(3) + b"\x04" + bytes(5))
            self.told += peer.recv(4096)
            return
        with self.context.wrap_socket(peer, server_side=True) as tls:
            tls.sendall(bytes(3) + b"\x04" + bytes(5))
            while data := tls.recv(4096):
                self.told += data

    def end(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class AgentTest(CertificatesTest):
    """What the agent is shown instead of its gateway's certificate."""

    def meet(self, impostor):
        """Lets the agent try twice."""
        self.addCleanup(impostor.end)
        self.agent.point_to(f"127.0.0.1:{impostor.port}")
        before = len(self.agent.text())
        self.agent.start()
        wait_until(lambda: impostor.tried >= 2 or impostor.told.startswith(HTTP2), 30,
                   "it has tried twice")
        self.agent.program.end()
        impostor.end()
        self.assertNotIn("msg=connected", self.agent.text()[before:])
        return impostor.told

    def corpus(self):
        foreign, leaf = self.pki.key("foreign-ca"), self.pki.key("leaf")
        foreign_ca = self.pki.write("foreign-ca.pem", self.pki.sign(
            foreign, CA, None, None, subject="/CN=Muster fleet CA"))
        good = SERVER + san("DNS:" + NAME)
        identity = tomllib.loads((self.agent.state_dir / "identity.toml").read_text())
        yield "an agent's", identity["certificate_pem"], self.own_key
        ambitious, pem = self.ambitious()
        yield "an agent's that asked for the gateway's name", pem, ambitious
        own = self.pki.write("own.pem", identity["certificate_pem"])
        yield "signed with an agent's key", self.pki.sign(
            leaf, good, own, self.own_key) + identity["certificate_pem"], leaf
        yield "for a client, with the gateway's name", self.by_fleet_ca(
            AGENT + san("DNS:" + NAME), key=leaf), leaf
        yield "self-signed", self.pki.sign(leaf, good, None, None, subject=f"/CN={NAME}"), leaf
        yield "of another authority", self.pki.sign(leaf, good, foreign_ca, foreign), leaf
        yield "of another authority, with the fleet's beside it", self.pki.sign(
            leaf, good, foreign_ca, foreign) + self.ca["ca.pem"].read_text(), leaf
        yield "expired", self.by_fleet_ca(good, key=leaf, valid=EXPIRED), leaf
        yield "not yet valid", self.by_fleet_ca(good, key=leaf, valid=NOT_YET), leaf
        for name in ("gateway.muster.internal.example", "muster.internal", "localhost",
                     "xgateway.muster.internal", "*.internal"):
            yield f"for {name}", self.by_fleet_ca(SERVER + san("DNS:" + name), key=leaf), leaf
        yield "for its address", self.by_fleet_ca(SERVER + san("IP:127.0.0.1"), key=leaf), leaf
        yield "of the web port", self.ca["web.pem"].read_text(), self.ca["web.key"]

    def ambitious(self):
        """The key and the certificate of a machine whose request asked for more."""
        key = self.pki.key("ambitious")
        csr = self.pki.folder / "ambitious.csr"
        self.pki.openssl("req", "-new", "-key", key, "-subj", f"/CN={NAME}", "-addext",
                         f"subjectAltName=DNS:{NAME}", "-addext", "extendedKeyUsage=serverAuth",
                         "-addext", "basicConstraints=critical,CA:TRUE", "-out", csr)
        answer = self.gateway.call("POST", "/api/agents/register", token="", body={
            "token": self.gateway.create_token(), "csr_pem": csr.read_text(),
            "facts": {"hostname": "ambitious"}})
        self.assertEqual(answer.status, 201, answer)
        return key, answer.data["certificate_pem"]

    def web_certificate(self):
        """The gateway makes one only for a port that is not of the loopback alone."""
        if not self.ca["web.pem"].exists():
            key = self.pki.key("web")
            self.ca["web.key"] = key
            self.ca["web.pem"] = self.pki.write("web.pem", self.by_fleet_ca(
                SERVER + san("DNS:web.example", "IP:127.0.0.1"), key=key))

    def test_an_agent_says_nothing_to_what_is_not_its_gateway(self):
        self.begin()
        self.web_certificate()
        tried = 0
        for what, pem, key in self.corpus():
            with self.subTest(what):
                file = self.pki.write("shown.pem", pem)
                self.assertEqual(self.meet(Impostor(file, key)), b"")
                tried += 1
        print(f"  {tried} certificates")

    def test_an_agent_says_nothing_without_tls_and_nothing_with_an_old_one(self):
        self.begin()
        fleet, key = self.ca["fleet.pem"], self.ca["fleet.key"]
        told = self.meet(Impostor())
        self.assertEqual(told[:2], b"\x16\x03")  # A TLS greeting, and that alone.
        self.assertNotIn(b"HTTP", told)
        self.assertNotIn(self.agent.agent_id.encode(), told)
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            self.assertEqual(self.meet(Impostor(fleet, key, version)), b"")

    def test_what_holds_the_gateways_key_is_spoken_to(self):
        """Else the others would prove nothing."""
        self.begin()
        told = self.meet(Impostor(self.ca["fleet.pem"], self.ca["fleet.key"]))
        self.assertTrue(told.startswith(HTTP2), told)


if __name__ == "__main__":
    muster_e2e.main()
