"""The gateway in numbers, as Prometheus reads them and as the page explains them."""
import pathlib
import re
import shutil
import subprocess

import muster_e2e

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/operations/metrics.md"
NAME = r"[a-z_][a-z0-9_]*"
SAMPLE = re.compile(rf'({NAME})(?:\{{({NAME})="((?:[^"\\\n]|\\["\\n])*)"\}})? (\S+)')


def families(text):
    """{name: (type, {(suffix, label, label value): number})}; AssertionError where
    Prometheus' text format is not kept."""
    assert text.endswith("\n"), "the last line has an end"
    found, name = {}, None
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in found, f"{name} comes twice"
            kind = re.fullmatch(rf"# TYPE {name} (counter|gauge|histogram)", next(lines))
            assert kind, f"no type of {name}"
            found[name] = (kind[1], {})
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        kind, samples = found[name]
        suffix = sample[1].removeprefix(name)
        assert sample[1].startswith(name), f"{line} in the family {name}"
        assert suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",)), line
        key = (suffix, sample[2], sample[3])
        assert key not in samples, f"{line} comes twice"
        samples[key] = float(sample[4])
    for name, (kind, samples) in found.items():
        assert samples, f"{name} has no sample"
        assert (kind == "counter") == name.endswith("_total"), name
        if kind == "histogram":
            buckets = [n for (suffix, _, _), n in samples.items() if suffix == "_bucket"]
            assert buckets == sorted(buckets), name
            assert buckets[-1] == samples[("_count", None, None)], name
    return found


def documented():
    rows = re.findall(rf"^\| `({NAME})` \| (\w+) \|", PAGE.read_text(), re.M)
    return dict(rows), [name for name, _ in rows]


class MetricsTest(muster_e2e.TestCase):
    def scrape(self):
        answer = self.gateway.call("GET", "/metrics")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.headers["Content-Type"],
                         "text/plain; version=0.0.4; charset=utf-8")
        self.body = answer.body
        return families(answer.body)

    def value(self, name, label=None, word=None):
        return self.scrape()[name][1][("", label, word)]

    def test_what_is_served_is_what_the_page_explains(self):
        self.gateway = self.start_gateway()
        served = {name: kind for name, (kind, _) in self.scrape().items()}
        page, order = documented()
        self.assertEqual(served, page)
        self.assertEqual(order, sorted(order))
        if shutil.which("promtool"):
            checked = subprocess.run(["promtool", "check", "metrics"], input=self.body,
                                     capture_output=True, text=True, timeout=30)
            self.assertEqual((checked.returncode, checked.stdout), (0, ""), checked.stderr)

    def test_the_numbers_are_those_of_the_fleet(self):
        self.gateway = self.start_gateway()
        self.assertEqual(self.value("muster_agents", "status", "online"), 0)
        agent = self.start_agent(self.gateway)
        self.assertEqual(self.value("muster_agents", "status", "online"), 1)
        self.assertEqual(self.value("muster_links"), 1)
        beats = self.value("muster_heartbeats_total")
        self.wait_until(lambda: self.value("muster_heartbeats_total") > beats, 20, "heartbeats")
        agent.kill()
        self.wait_status(self.gateway, agent.agent_id, "offline", 20)
        self.assertEqual(self.value("muster_agents", "status", "offline"), 1)
        self.assertEqual(self.value("muster_links"), 0)
        for status in ("online", "stale", "offline"):
            self.assertEqual(self.value("muster_transitions_total", "to", status), 1)
        late = self.scrape()["muster_transition_lateness_seconds"][1]
        self.assertEqual(late[("_count", None, None)], 2, "stale and offline had a deadline")
        self.assertGreater(self.value("process_resident_memory_bytes"), 1e6)
        self.assertGreater(self.value("process_open_fds"), 5)

    def test_numbers_are_for_those_who_may_read(self):
        self.gateway = self.start_gateway()
        for token in ("", "mst_wrong"):
            self.assertEqual(self.gateway.call("GET", "/metrics", token=token).status, 401)


if __name__ == "__main__":
    muster_e2e.main()
