"""Real programs, driven from outside, for end-to-end tests.

    class MyTest(muster_e2e.TestCase):
        def test_a_machine_comes_online(self):
            gateway = self.start_gateway(heartbeat_interval="1s")
            swarm = self.start_swarm(gateway, agents=10)
            self.wait_until(lambda: gateway.counts()["online"] == 10, 10, "all online")

Every test has a folder of its own, `self.folder`; what it starts is ended after
it, by process id, and the programs' logs are printed if it failed. BUILD in the
environment names the build folder. Python's standard library only.
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build/dev"))
LONG = bool(os.environ.get("MUSTER_LONG_TESTS"))
SANITIZED = bool(os.environ.get("SANITIZED"))  # The programs of the build.

# Defaults scaled to what a busy machine with two cores can keep.
QUICK_PRESENCE = {"heartbeat_interval": "1s", "stale_after": "2.5s", "offline_after": "4s",
                  "reconnect_grace": "500ms", "blind_gap": "500ms"}

# As stored in transitions.to_status.
ONLINE, STALE, OFFLINE = 1, 2, 3

LOG_TAIL_BYTES = 4000


_reserved = []  # Bound sockets.


def free_port(host="127.0.0.1"):
    """A port of `host` for a program that may be stopped and started again. The
    kernel gives it to nobody else while this process lives: it is bound here. A
    program that sets SO_REUSEADDR, as ours do, may listen on it all the same."""
    holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, 0))
    _reserved.append(holder)
    return holder.getsockname()[1]


def wait_until(condition, within_s, what, every_s=0.05):
    """The first true result of `condition`; AssertionError after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within_s} s: {what} (last: {result!r})")
        time.sleep(every_s)


class Program:
    """One process, its output in `log`. Ended by end(), if not before."""

    def __init__(self, argv, log, environment=None, stdin=subprocess.DEVNULL, descriptors=None):
        self.log = pathlib.Path(log)
        self.name = self.log.stem
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
                 ) if descriptors else None
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [str(a) for a in argv], stdin=stdin, stdout=out, stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})}, preexec_fn=limit)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def send(self, number):
        self.process.send_signal(number)

    def freeze(self):
        """SIGSTOP; none of its threads runs on return."""
        self.send(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def wait(self, within_s):
        """The exit code (negative: the signal)."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {within_s} s") from None

    def stop(self, within_s=10):
        """SIGTERM; the exit code and the seconds that it took."""
        begin = time.monotonic()
        self.send(signal.SIGTERM)
        return self.wait(within_s), time.monotonic() - begin

    def kill(self):
        """kill -9, and nothing of it is left on return."""
        self.process.kill()
        self.process.wait()

    def end(self):
        if self.running():
            self.kill()

    def text(self):
        return self.log.read_text(errors="replace")

    def memory_kib(self):
        """Resident memory."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0

    def cpu_s(self):
        """User and system time used so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        """How many are open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def run_once(name, *arguments, environment=None, stdin="", within_s=30, under=()):
    """A program of the build that ends by itself: subprocess.CompletedProcess with text."""
    return subprocess.run([*under, BUILD / "bin" / name, *map(str, arguments)], input=stdin,
                          text=True, capture_output=True, timeout=within_s,
                          env={**os.environ, **(environment or {})})


class Answer:
    """Of the web port: status, headers and body, as JSON in `data` if it is."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.data = json.loads(body) if "json" in headers.get("Content-Type", "") else None

    def __repr__(self):
        return f"{self.status} {self.body[:400]!r}"


class Gateway:
    """A muster-gateway on fixed ports of one address; may be stopped and started.
    0.0.0.0 is spoken to at 127.0.0.1, and by TLS: it is not loopback only."""

    def __init__(self, folder, settings=None, descriptors=None, address="127.0.0.1"):
        self.data_dir = pathlib.Path(folder) / "gateway"
        self.log = pathlib.Path(folder) / "gateway.log"
        self.address, self.tls = address, address == "0.0.0.0"
        self.host = "127.0.0.1" if self.tls else address
        self.web_port, self.fleet_port = free_port(address), free_port(address)
        self.settings, self.limit = settings or {}, descriptors
        self.under = []  # What runs it: a tracer, say.
        self.program = None

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://{self._at(self.host)}:{self.web_port}"

    @staticmethod
    def _at(host):
        return f"[{host}]" if ":" in host else host

    def argv(self):
        """The command line that starts it."""
        argv = [BUILD / "bin/muster-gateway", "--data-dir", self.data_dir,
                "--web-listen", f"{self._at(self.address)}:{self.web_port}",
                "--fleet-listen", f"{self._at(self.address)}:{self.fleet_port}"]
        for key, value in self.settings.items():
            argv += ["--" + key.replace("_", "-"), value]
        return argv

    def start(self, within_s=20):
        """Starts it and waits until it is ready."""
        self.program = Program([*self.under, *self.argv()], self.log, descriptors=self.limit)
        self.wait_ready(within_s)

    def wait_ready(self, within_s=20):
        wait_until(self._ready, within_s, "the gateway is ready")

    def _ready(self):
        if not self.program.running():
            raise AssertionError(f"the gateway ended:\n{self.program.text()[-LOG_TAIL_BYTES:]}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.call("GET", "/ready").status == 200

    def stop(self, within_s=10):
        return self.program.stop(within_s)

    def kill(self):
        self.program.kill()

    @property
    def token(self):
        """The admin's."""
        return (self.data_dir / "admin-token").read_text().strip()

    def _connection(self, timeout_s):
        if not self.tls:
            return http.client.HTTPConnection(self.host, self.web_port, timeout=timeout_s)
        return http.client.HTTPSConnection(self.host, self.web_port, timeout=timeout_s,
                                           context=ssl._create_unverified_context())

    def call(self, method, path, body=None, token=None, timeout_s=10, headers=None):
        """One request on a connection of its own. `token` "" sends none."""
        with contextlib.closing(self._connection(timeout_s)) as connection:
            bearer = self.token if token is None else token
            headers = {**({"Authorization": f"Bearer {bearer}"} if bearer else {}),
                       **(headers or {})}
            if body is not None:
                headers.setdefault("Content-Type", "application/json")
                body = body if isinstance(body, (bytes, str)) else json.dumps(body)
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())

    def get(self, path, **options):
        """The JSON of a GET that must succeed."""
        answer = self.call("GET", path, **options)
        if answer.status != 200:
            raise AssertionError(f"GET {path}: {answer}")
        return answer.data

    def create_token(self, uses=1):
        """The secret of a new registration token."""
        answer = self.call("POST", "/api/tokens", {"uses_max": uses})
        if answer.status != 201:
            raise AssertionError(f"no token: {answer}")
        return answer.data["secret"]

    def counts(self):
        """{"online": 3, "stale": 0, …} of the whole fleet."""
        return self.get("/api/agents?limit=1")["counts"]

    def agents(self):
        """All machines, page by page."""
        found, page = [], ""
        while True:
            answer = self.get(f"/api/agents?limit=1000&page_token={page}")
            found += answer["agents"]
            page = answer["next_page_token"]
            if not page:
                return found

    def run(self, agent_id, command, shell_type="bash", wait="30s"):
        """Submits a command and returns it when it has ended, or after `wait`."""
        answer = self.call("POST", f"/api/agents/{agent_id}/commands",
                           {"command": command, "shell_type": shell_type})
        if answer.status != 202:
            raise AssertionError(f"not taken: {answer}")
        return self.get(f"/api/commands/{answer.data['command_id']}?wait={wait}", timeout_s=60)

    def query(self, sql, *values):
        """Rows of the database; may be asked while the gateway runs."""
        path = f"file:{self.data_dir}/muster.db?mode=ro"
        with contextlib.closing(sqlite3.connect(path, uri=True, timeout=10)) as db:
            return db.execute(sql, values).fetchall()

    def transitions(self, to_status=None):
        """How many there are in the database."""
        if to_status is None:
            return self.query("SELECT COUNT(*) FROM transitions")[0][0]
        return self.query("SELECT COUNT(*) FROM transitions WHERE to_status=?", to_status)[0][0]


class EventStream:
    """A GET that is answered by Server-Sent Events, frame by frame."""

    def __init__(self, gateway, target, last=None):
        self.connection = gateway._connection(30)
        headers = {"Authorization": f"Bearer {gateway.token}", "Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = last
        self.connection.request("GET", target, headers=headers)
        self.answer = self.connection.getresponse()

    def frame(self):
        """The next one that is an event: its id, its name, its data."""
        frame = {}
        while True:
            line = self.answer.readline().decode()
            if not line:
                raise EOFError("the stream has ended")
            if line == "\n":
                if "data" in frame:
                    return frame["id"], frame["event"], json.loads(frame["data"])
                frame = {}
            elif not line.startswith(":"):
                name, value = line.rstrip("\n").split(": ", 1)
                frame[name] = value

    def close(self):
        self.answer.close()
        self.connection.close()


class Agent:
    """A muster-agent with a state folder of its own; may be stopped and started."""

    def __init__(self, folder):
        self.state_dir = pathlib.Path(folder) / "state"
        self.log = pathlib.Path(folder) / "agent.log"
        self.under = []  # What runs it: a tracer, say.
        self.arguments, self.environment = [], {}  # Of start(), besides.
        self.program = None

    def join(self, server, token, *arguments):
        """`muster-agent join`, as CompletedProcess; its log goes to the agent's."""
        return self.verb("join", "--server", server, *arguments,
                         environment={"MUSTER_TOKEN": token} if token else None)

    def verb(self, *arguments, environment=None, stdin=""):
        """`muster-agent …` beside the running one."""
        return run_once("muster-agent", *arguments, "--state-dir", self.state_dir,
                        environment=environment, stdin=stdin, under=self.under)

    def argv(self):
        """The command line that runs it."""
        return [BUILD / "bin/muster-agent", "run", "--state-dir", self.state_dir,
                *self.arguments]

    def start(self):
        self.program = Program([*self.under, *self.argv()], self.log, self.environment)
        return self.program

    def stop(self, within_s=10):
        return self.program.stop(within_s)

    def kill(self):
        self.program.kill()

    def point_to(self, endpoint):
        """From the next start on it takes this for the fleet port."""
        identity = self.state_dir / "identity.toml"
        changed, times = re.subn(r"(?m)^endpoint = .*$", f"endpoint = '{endpoint}'",
                                 identity.read_text())
        assert times == 1, identity.read_text()
        identity.write_text(changed)

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def agent_id(self):
        """As saved; None before it has joined."""
        try:
            return tomllib.loads((self.state_dir / "identity.toml").read_text())["agent_id"]
        except FileNotFoundError:
            return None


class TestCase(unittest.TestCase):
    """Ends what the test started, and shows its logs if it failed."""

    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="muster-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.programs = []
        self.gateways = []
        self.agents = []
        self.addCleanup(self._end_all)

    def new_gateway(self, descriptors=None, address="127.0.0.1", **settings):
        """One with quick presence, not started; `settings` as its flags, with _ for -."""
        gateway = Gateway(self.new_folder("gateway"), {**QUICK_PRESENCE, **settings}, descriptors,
                          address)
        self.gateways.append(gateway)
        return gateway

    def start_gateway(self, **options):
        """One that is ready."""
        gateway = self.new_gateway(**options)
        gateway.start()
        return gateway

    def new_agent(self):
        """One that has not joined yet."""
        agent = Agent(self.new_folder("agent"))
        self.agents.append(agent)
        return agent

    def start_agent(self, gateway, *arguments):
        """One that is joined and online."""
        agent = self.new_agent()
        joined = agent.join(gateway.url, gateway.create_token(), *arguments)
        self.assertEqual(joined.returncode, 0, joined.stderr)
        agent.start()
        self.wait_status(gateway, agent.agent_id, "online", 10)
        return agent

    def wait_status(self, gateway, agent_id, status, within_s):
        """Until the gateway shows it so; the machine."""
        def reached():
            with contextlib.suppress(OSError, http.client.HTTPException):
                machine = gateway.get(f"/api/agents/{agent_id}")
                return machine if machine["status"] == status else None
        return wait_until(reached, within_s, f"{agent_id} is {status}")

    def start_program(self, name, *arguments, environment=None, descriptors=None, under=()):
        """A program of the build in the background, its output in `name`.log."""
        log = self.folder / f"{name}-{len(self.programs)}.log"
        program = Program([*under, BUILD / "bin" / name, *arguments], log, environment,
                          descriptors=descriptors)
        self.programs.append(program)
        return program

    def start_swarm(self, gateway, agents, state=None, **options):
        """muster-swarm with `agents` machines; the rest as its options, with _ for -."""
        arguments = ["--server", gateway.url, "--agents", agents, "--json",
                     "--state", state or self.new_folder("swarm")]
        for key, value in {"duration": "10m", **options}.items():
            arguments += ["--" + key.replace("_", "-"), value]
        token = gateway.create_token(uses=agents)
        return self.start_program("muster-swarm", *arguments, environment={"MUSTER_TOKEN": token})

    def start_online(self, gateway, agents, within_s=30, **options):
        """A swarm of which everyone is online; see nobody_worsened()."""
        swarm = self.start_swarm(gateway, agents, **options)
        self.wait_online(gateway, agents, within_s)
        self.worse_before = self.worse(gateway)
        return swarm

    @staticmethod
    def worse(gateway):
        """Transitions for the worse, ever."""
        return gateway.transitions(STALE) + gateway.transitions(OFFLINE)

    def nobody_worsened(self, gateway):
        """Fails if somebody did since start_online() returned."""
        self.assertEqual(self.worse(gateway), self.worse_before)

    def new_folder(self, name):
        path = self.folder / f"{name}-{len(list(self.folder.iterdir()))}"
        path.mkdir(mode=0o700)
        return path

    def wait_until(self, condition, within_s, what, every_s=0.05):
        return wait_until(condition, within_s, what, every_s)

    def wait_new_link(self, gateway, agent_id, epoch, within_s):
        """Until it is online by a newer link than that of `epoch`; the link's. Its
        status alone would not tell: after a restart it may still be that of before."""
        def linked():
            with contextlib.suppress(OSError, http.client.HTTPException):
                machine = gateway.get(f"/api/agents/{agent_id}")
                newest = int(machine["epoch"])
                return newest if machine["status"] == "online" and newest > epoch else None
        return wait_until(linked, within_s, f"{agent_id} has a new link")

    def wait_online(self, gateway, number, within_s):
        """Until exactly `number` machines are online and none is anything else."""
        def reached():
            with contextlib.suppress(OSError, http.client.HTTPException):
                counts = gateway.counts()
                known = counts["online"] + counts["stale"] + counts["offline"]
                return counts["online"] == number == known
        return wait_until(reached, within_s, f"{number} online")

    def _end_all(self):
        programs = self.programs + [
            p.program for p in self.gateways + self.agents if p.program]
        for program in programs:
            program.end()
        if self._failed():
            for program in programs:
                print(f"--- {program.name} (last {LOG_TAIL_BYTES} bytes)\n"
                      f"{program.text()[-LOG_TAIL_BYTES:]}", file=sys.stderr)

    def _failed(self):
        outcome = self._outcome  # What unittest itself has no public word for.
        result = getattr(outcome, "result", None)
        return bool(result) and any(t is self for t, _ in result.failures + result.errors)


def main():
    """Runs the tests of the calling file; exit code 77 if all were skipped."""
    result = unittest.main(verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun == len(result.skipped) else 0)
