"""Commands: how long `true` takes, beside ssh; many machines at once; bytes of output.

Each is measured in turns with what it is compared with.
"""
import http.client
import json
import subprocess
import time

import kept_ssh
import muster_e2e
from terminal import Terminal

FLEET = 1000
ROUND_TRIPS = 200
KEYS = 300
OUTPUT_BYTES = 48 << 20
WRITER = f"head -c {OUTPUT_BYTES} /dev/zero"


class Caller:
    """Speaks REST over one connection that is kept, as a program would."""

    def __init__(self, gateway):
        self._connection = http.client.HTTPConnection(gateway.host, gateway.web_port, timeout=120)
        self._headers = {"Authorization": f"Bearer {gateway.token}",
                         "Content-Type": "application/json"}

    def call(self, method, path, body=None):
        self._connection.request(method, path, json.dumps(body) if body else None, self._headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {text.decode()}")
        return json.loads(text)

    def run_true(self, agent_id):
        command = self.call("POST", f"/api/agents/{agent_id}/commands",
                            {"command": "true", "shell_type": "sh"})
        command = self.call("GET", f"/api/commands/{command['command_id']}?wait=60s")
        if command["state"] != "succeeded":
            raise SystemExit(f"true: {command}")


def seconds(do):
    begin = time.monotonic()
    do()
    return time.monotonic() - begin


def run(argv, environment=None):
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   env=environment)


def quantile(values, part):
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def echo(terminal, key):
    terminal.type(key)
    while key not in terminal.shown:
        if not terminal.read(5):
            raise SystemExit("the terminal is gone")


class Commands:
    """One real machine at the gateway of `bench`, an sshd beside it, and who asks."""

    def __init__(self, bench, figures):
        self.bench, self.figures = bench, figures
        self.caller = Caller(bench.gateway)
        self.agent = bench.agent()
        self.name = bench.gateway.get(f"/api/agents/{self.agent.agent_id}")["name"]
        self.ssh = kept_ssh.KeptSsh(bench.folder / "ssh")
        bench.callback(self.ssh.end)

    def musterctl(self, command):
        """The command line that runs it, and its environment."""
        return ([muster_e2e.BUILD / "bin/musterctl", "--server", self.bench.gateway.url,
                 "run", self.name, "--shell", "sh", "--", command],
                {"PATH": "/usr/bin:/bin", "HOME": "/root",
                 "MUSTER_TOKEN": self.bench.gateway.token})

    def round_trips(self, when):
        """Of `true` by /bin/sh: ours is stored twice on each side before it is done."""
        ways = {"rest": lambda: self.caller.run_true(self.agent.agent_id),
                "musterctl": lambda: run(*self.musterctl("true")),
                "ssh": lambda: run(self.ssh.argv("true")),
                "sh_alone": lambda: run(["/bin/sh", "-c", "true"])}
        took = {name: [] for name in ways}
        for _ in range(ROUND_TRIPS):
            for name, do in ways.items():
                took[name].append(seconds(do))
        for part in (0.5, 0.99):
            of = {name: 1000 * quantile(values, part) for name, values in took.items()}
            prefix = f"commands.{when}.true_ms.p{part * 100:g}"
            for name, value in of.items():
                self.figures.add(f"{prefix}.{name}", value)
            for name in ("rest", "musterctl"):
                self.figures.add(f"{prefix}.{name}_to_ssh", of[name] / of["ssh"])

    def fan_out(self):
        """`true` on all machines of the swarm, beside one after the other."""
        some = [a["agent_id"] for a in self.bench.gateway.agents()
                if a["agent_id"] != self.agent.agent_id][:ROUND_TRIPS]
        one = seconds(lambda: [self.caller.run_true(agent) for agent in some]) / len(some)
        self.figures.add("commands.one_after_the_other.per_s", 1 / one)
        for concurrency in ("50", "100%"):
            took = seconds(lambda c=concurrency: self.batch(c))
            prefix = f"commands.batch_of_{FLEET}.at_a_time_{concurrency.replace('%', '_percent')}"
            self.figures.add(f"{prefix}.s", took)
            self.figures.add(f"{prefix}.per_s", FLEET / took)
            self.figures.add(f"{prefix}.to_one_after_the_other", FLEET * one / took)

    def batch(self, concurrency):
        batch = self.caller.call("POST", "/api/batches", {
            "hostname": "swarm*", "concurrency": concurrency, "confirm_targets": FLEET,
            "run": {"command": "true", "shell_type": "sh"}})
        while not batch.get("finished_at"):
            counts = batch["counts"]
            seen = FLEET - counts.get("waiting", 0) - counts.get("running", 0)
            batch = self.caller.call(
                "GET", f"/api/batches/{batch['batch_id']}?wait=60s&seen={seen}")
        if batch["counts"].get("succeeded") != FLEET:
            raise SystemExit(f"batch: {batch}")

    def output(self, bare_port):
        """Bytes per second from the writer on the machine to the reader's end."""
        took = {"musterctl": seconds(lambda: run(*self.musterctl(WRITER))),
                "ssh": seconds(lambda: run(self.ssh.argv(WRITER))),
                "bare_grpc": self.bare(bare_port)}
        for name, value in took.items():
            self.figures.add(f"commands.output.{name}_mb_per_s", OUTPUT_BYTES / value / 1e6)
        for name in ("ssh", "bare_grpc"):
            self.figures.add(f"commands.output.to_{name}", took[name] / took["musterctl"])

    def keystrokes(self):
        """From a key until its echo is on the screen, in a session and over ssh."""
        name, environment = str(muster_e2e.BUILD / "bin/musterctl"), self.musterctl("")[1]
        ways = {"musterctl": Terminal(name, "--server", self.bench.gateway.url, "exec", self.name,
                                      "--", "cat", environment=environment),
                "ssh": Terminal("/usr/bin/" + self.ssh.argv("")[0], *self.ssh.argv("cat")[1:-2],
                                "-tt", "kept", "cat", environment=environment)}
        took = {way: [] for way in ways}
        for terminal in ways.values():
            terminal.type("ready\r")
            terminal.wait_for("ready\r\nready\r\n")
        for number in range(KEYS):
            for way, terminal in ways.items():
                terminal.shown = ""
                took[way].append(seconds(lambda t=terminal: echo(t, "abcdefgh"[number % 8])))
                if number % 60 == 59:  # A line of a terminal has an end.
                    terminal.type("\r")
                    terminal.wait_for("\n[a-h]+\r\n")
        for terminal in ways.values():
            terminal.kill()
        for part in (0.5, 0.99):
            of = {way: 1000 * quantile(values, part) for way, values in took.items()}
            for way, value in of.items():
                self.figures.add(f"commands.echo_ms.p{part * 100:g}.{way}", value)
            self.figures.add(f"commands.echo_ms.p{part * 100:g}.to_ssh", of["musterctl"] / of["ssh"])

    def bare(self, port):
        """One stream with mutual TLS, as an agent's output takes it, and nothing is kept."""
        told = subprocess.run([muster_e2e.BUILD / "bin/bench-transfer", f"127.0.0.1:{port}",
                               str(OUTPUT_BYTES), self.bench.state], check=True,
                              stdout=subprocess.PIPE).stdout
        return json.loads(told)["seconds"]


def measure(bench, figures, rounds):
    """The fleet of `bench` is registered, and away."""
    commands = Commands(bench, figures)
    port = muster_e2e.free_port()
    bench.server("bare", port, tls=True)
    for _ in range(rounds):
        commands.round_trips("idle")
        commands.keystrokes()
        commands.output(port)
        swarm = bench.swarm("1h")
        bench.wait_online(FLEET + 1, 60)
        commands.round_trips(f"{FLEET}_agents")
        commands.fan_out()
        swarm.stop(within_s=60)
