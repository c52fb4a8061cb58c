#!/usr/bin/env python3
"""Shows that check_layers.py refuses each kind of mistake, and only mistakes."""
import pathlib
import tempfile
import unittest

import check_layers


def problems(**files):
    """Problems in a tree of the given files; "__" in a name stands for "/"."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            stem, _, suffix = name.replace("__", "/").rpartition("_dot_")
            path = root / f"{stem}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return check_layers.check(root)


class CheckLayersTest(unittest.TestCase):
    def assert_refused(self, word, **files):
        found = problems(**files)
        self.assertEqual(len(found), 1, found)
        self.assertIn(word, found[0])

    def test_an_ordinary_tree_passes(self):
        self.assertEqual([], problems(
            gateway__fleet__reaper_dot_cc='#include "libprotocol/base/clock.h"\n',
            gateway__fleet__reaper_test_dot_cc='#include "libprotocol/testing/temp_dir.h"\n',
            gateway__store__sqlite__sqlite_dot_h="#include <sqlite3.h>\n",
            tools__swarm__swarm_dot_cc='#include "agent/link/link.h"\n#include <grpcpp/grpcpp.h>\n'))

    def test_comments_and_strings_are_not_code(self):
        self.assertEqual([], problems(
            agent__exec__a_dot_cc='// absl::Now() lies\nauto s = "popen(";\n/* std::mutex */\n'))

    def test_the_rules_never_see_the_store(self):
        self.assert_refused("must not include", gateway__fleet__reaper_dot_cc=
                            '#include "gateway/store/fleet_store.h"\n')

    def test_agent_and_gateway_never_meet(self):
        self.assert_refused("must not include", agent__app__a_dot_cc=
                            '#include "gateway/fleet/presence.h"\n')

    def test_fakes_are_for_tests(self):
        self.assert_refused("must not include", gateway__fleet__reaper_dot_cc=
                            '#include "libprotocol/testing/fake_event_loop.h"\n')

    def test_the_rules_do_not_speak_the_wire(self):
        self.assert_refused("belongs to", gateway__fleet__reaper_dot_cc=
                            '#include "muster/v1/agent.pb.h"\n')

    def test_sqlite_stays_behind_its_seam(self):
        self.assert_refused("belongs to", gateway__store__store_client_dot_cc=
                            "#include <sqlite3.h>\n")

    def test_grpc_stays_in_the_transports(self):
        self.assert_refused("belongs to", gateway__admin__a_dot_cc=
                            "#include <grpcpp/grpcpp.h>\n")

    def test_a_slow_header_is_paid_for_once(self):
        self.assert_refused("one file is enough",
                            tools__musterctl__a_dot_cc="#include <CLI/CLI.hpp>\n",
                            tools__musterctl__b_dot_cc="#include <CLI/CLI.hpp>\n")

    def test_each_banned_token_is_refused(self):
        for code in ("absl::Now();", "absl::SleepFor(d);", "sleep(1);", "std::thread t;",
                     "std::cout << 1;", "printf(1);", "std::mutex m;", "system(c);", "popen(c);",
                     "absl::string_view s;", "absl::optional<int> o;"):
            with self.subTest(code=code):
                self.assert_refused("not for this file", agent__exec__a_dot_cc=code + "\n")

    def test_a_main_may_print(self):
        self.assertEqual([], problems(agent__app__agent_main_dot_cc="fmt::print(x);\n"))

    def test_a_long_file_is_refused_and_a_test_may_be_longer(self):
        self.assert_refused("501 lines", agent__exec__a_dot_cc="\n" * 501)
        self.assertEqual([], problems(agent__exec__a_test_dot_cc="\n" * 501))
        self.assert_refused("1001 lines", agent__exec__a_test_dot_cc="\n" * 1001)

    def test_a_folder_without_a_row_is_refused(self):
        self.assert_refused("no row", gateway__misc__a_dot_cc="\n")


if __name__ == "__main__":
    unittest.main()
