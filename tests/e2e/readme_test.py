"""The README keeps its word: the commands in it exist, its samples have the form
of what is really printed, and its links lead somewhere."""
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess

import muster_e2e
from muster_e2e import BUILD, ROOT

README = (ROOT / "README.md").read_text()

# What is another on every machine and in every run, as it reads in the sample.
VARIES = {r"/root/muster/data": "{data}", r"web-7": "{hostname}", r"Linux 6\.1\.0-28-amd64": "{uname}",
          r":7080": ":{web}", r"\b\d+(?:\.\d+)?(?:ms|[smhd])\b": "{age}", r" {2,}": "{gap}"}


def blocks(language):
    """The fenced samples of the README that are in no language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def sample(containing):
    """The one sample with this text, as lines."""
    found = [b for b in blocks("") if containing in b]
    assert len(found) == 1, f"{len(found)} samples in the README contain {containing!r}"
    return found[0].splitlines()


def pattern(line, **values):
    """A regular expression for the lines of the form of `line`; … is anything."""
    values = {"age": r"[\d.]+(?:ms|[smhd])", "gap": " +", **{k: re.escape(v) for k, v in values.items()}}
    parts = re.split("(" + "|".join(VARIES) + "|…)", line)
    text = ""
    for part in parts:
        kind = next((v for k, v in VARIES.items() if re.fullmatch(k, part)), None)
        if part == "…":
            text += ".*"
        elif kind is None:
            text += re.escape(part)
        else:
            text += re.sub(r"{(\w+)}", lambda m: values[m[1]], kind)
    return text


class ReadmeTest(muster_e2e.TestCase):
    def assert_form(self, lines, output, **values):
        """`output` has these lines, in this order; "…" alone stands for any number."""
        expected = r"\n".join(r"(?:.*\n)*?.*" if line == "…" else pattern(line, **values)
                              for line in lines)
        self.assertRegex(output, r"(?m)^" + expected + "$")

    def test_quickstart_prints_what_the_readme_shows(self):
        self.assertIn("\n    ./tools/quickstart\n", README)
        data, web = str(self.folder / "data"), muster_e2e.free_port()
        log = self.folder / "quickstart.log"
        program = muster_e2e.Program(
            [ROOT / "tools/quickstart", "--data", data, "--web-port", web,
             "--fleet-port", muster_e2e.free_port()], log, {"MUSTER_BUILD_DIR": str(BUILD)})
        self.programs.append(program)
        self.wait_until(lambda: "Watching" in program.text() or not program.running(), 60, "it watches")
        program.send(signal.SIGTERM)
        program.wait(30)
        uname = subprocess.run(["uname", "-sr"], capture_output=True, text=True, check=True).stdout.strip()
        self.assert_form(sample("Starting the gateway"), program.text(), data=data,
                         hostname=socket.gethostname(), uname=uname, web=str(web))

    def test_tools_test_ends_with_the_words_that_the_readme_shows(self):
        self.assertIn("\n    ./tools/test\n", README)
        (self.folder / "CTestTestfile.cmake").write_text(
            "add_test(x true)\nset_tests_properties(x PROPERTIES LABELS unit)\n")
        output = subprocess.run(["ctest", "--test-dir", self.folder], capture_output=True, text=True,
                                check=True).stdout
        self.assert_form(sample("tests failed out of"), output)

    def test_the_programs_and_files_it_names_exist(self):
        commands = [shlex.split(line)[0] for line in re.findall(r"^    (\./.*)$", README, re.MULTILINE)]
        commands += re.findall(r"`(\./tools/[\w/-]+)", README)
        self.assertGreaterEqual(len(commands), 3)
        for command in commands:
            self.assertTrue(os.access(ROOT / command, os.X_OK), command)
        for page in [ROOT / "README.md", ROOT / "SECURITY.md", *ROOT.glob("docs/operations/*.md")]:
            for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text()):
                self.assertTrue((page.parent / pathlib.Path(link)).exists(), f"{page.name}: {link}")


if __name__ == "__main__":
    muster_e2e.main()
