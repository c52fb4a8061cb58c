"""The output of a command, as a program reads it: whole, in ranges, as it comes."""
import base64
import contextlib
import hashlib

import muster_e2e

MIB = 1 << 20


class OutputTest(muster_e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.gateway = self.start_gateway()
        self.agent = self.start_agent(self.gateway)

    def submit(self, command):
        answer = self.gateway.call("POST", f"/api/agents/{self.agent.agent_id}/commands",
                                   {"command": command, "shell_type": "sh"})
        self.assertEqual(answer.status, 202, answer)
        return f"/api/commands/{answer.data['command_id']}"

    def read(self, path, byte_range=None, method="GET", **headers):
        """Status, headers and bytes."""
        with contextlib.closing(self.gateway._connection(30)) as connection:
            headers["Authorization"] = f"Bearer {self.gateway.token}"
            if byte_range:
                headers["Range"] = byte_range
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def end(self, command):
        return self.gateway.get(f"{command}?wait=30s", timeout_s=60)

    def open_gate(self):
        (self.folder / "gate").touch()

    # What a command waits for between its first and its last line.
    @property
    def gate(self):
        return f"while [ ! -e {self.folder}/gate ]; do sleep 0.05; done"

    def test_all_of_it_is_one_answer_whose_length_is_known(self):
        command = self.submit("seq 700000")
        self.assertEqual(self.end(command)["state"], "succeeded")
        expected = "".join(f"{i}\n" for i in range(1, 700001)).encode()
        self.assertGreater(len(expected), 4 * MIB)
        status, headers, body = self.read(f"{command}/output/stdout")
        self.assertEqual((status, headers["Content-Length"]), (200, str(len(expected))))
        self.assertEqual(headers["Accept-Ranges"], "bytes")
        self.assertEqual(hashlib.sha256(body).digest(), hashlib.sha256(expected).digest())
        status, headers, body = self.read(f"{command}/output/stdout", method="HEAD")
        self.assertEqual((status, headers["Content-Length"], body),
                         (200, str(len(expected)), b""))
        status, headers, body = self.read(f"{command}/output/stdout", "bytes=1000000-3999999")
        self.assertEqual((status, headers["Content-Range"]),
                         (206, f"bytes 1000000-3999999/{len(expected)}"))
        self.assertEqual(body, expected[1000000:4000000])

    def test_a_range_is_a_part_and_what_is_none_is_ignored(self):
        command = self.submit("printf 0123456789")
        self.end(command)
        out = f"{command}/output/stdout"
        for byte_range, said, body in (("bytes=2-4", "bytes 2-4/10", b"234"),
                                       ("bytes=7-", "bytes 7-9/10", b"789"),
                                       ("bytes=7-99", "bytes 7-9/10", b"789"),
                                       ("bytes=-3", "bytes 7-9/10", b"789"),
                                       ("bytes=-99", "bytes 0-9/10", b"0123456789")):
            status, headers, got = self.read(out, byte_range)
            self.assertEqual((status, headers["Content-Range"], got), (206, said, body))
            self.assertEqual(headers["Content-Length"], str(len(body)))
        for byte_range in ("bytes=1-2,4-5", "lines=1-2", "bytes=4-2", "bytes=x-"):
            status, headers, got = self.read(out, byte_range)
            self.assertEqual((status, headers["Content-Range"], got), (200, None, b"0123456789"))
        status, _, got = self.read(out, "bytes=1-2", **{"If-Range": '"a-state"'})
        self.assertEqual((status, got), (200, b"0123456789"))
        for byte_range in ("bytes=10-", "bytes=-0"):
            status, headers, _ = self.read(out, byte_range)
            self.assertEqual((status, headers["Content-Range"]), (416, "bytes */10"))
        self.assertEqual(self.read(f"{command}/output/stderr", "bytes=0-")[0], 416)
        self.assertEqual(self.read("/api/commands/nothing/output/stdout", "bytes=0-")[0], 404)

    def test_while_it_runs_the_size_is_not_known_and_a_reader_goes_on_where_it_was(self):
        command = self.submit(f"echo first; {self.gate}; echo last")
        out = f"{command}/output/stdout"
        self.wait_until(lambda: self.read(out)[2] == b"first\n", 10, "the first line is stored")
        status, headers, body = self.read(out, "bytes=0-")
        self.assertEqual((status, headers["Content-Range"], body), (206, "bytes 0-5/*", b"first\n"))
        status, headers, _ = self.read(out, "bytes=6-")
        self.assertEqual((status, headers["Content-Range"]), (416, "bytes */6"))
        self.open_gate()
        self.end(command)
        status, headers, body = self.read(out, "bytes=6-")
        self.assertEqual((status, headers["Content-Range"], body), (206, "bytes 6-10/11", b"last\n"))

    def stream(self, command, last=None):
        stream = muster_e2e.EventStream(self.gateway, f"{command}/output", last)
        self.addCleanup(stream.close)
        self.assertEqual(stream.answer.status, 200)
        self.assertEqual(stream.answer.headers["Content-Type"], "text/event-stream")
        return stream

    def follow(self, stream, streams):
        """Adds what comes to `streams` until the end; the command as it ended."""
        while True:
            position, name, data = stream.frame()
            if name == "end":
                return position, data
            self.assertEqual(name, "output")
            text = streams.setdefault(data["stream"], bytearray())
            self.assertEqual(data["offset"], len(text))
            text += base64.b64decode(data["data"])

    def test_it_is_told_as_it_comes_and_last_how_the_command_ended(self):
        command = self.submit(f"printf 'a\\0\\377'; echo oops >&2; {self.gate}; echo last; exit 3")
        stream, streams = self.stream(command), {}
        while streams != {"stdout": b"a\0\xff", "stderr": b"oops\n"}:
            position, name, data = stream.frame()
            self.assertEqual(name, "output")
            streams.setdefault(data["stream"], bytearray()).extend(base64.b64decode(data["data"]))
        self.assertEqual(position, "3-5")
        again = self.stream(command, position)  # Another reader goes on there.
        self.open_gate()
        for reader, known in ((stream, streams), (again, dict(streams))):
            known = {name: bytearray(text) for name, text in known.items()}
            position, ended = self.follow(reader, known)
            self.assertEqual(known, {"stdout": b"a\0\xfflast\n", "stderr": b"oops\n"})
            self.assertEqual((position, ended["state"], ended["exit_code"]), ("8-5", "failed", 3))
            with self.assertRaises(EOFError):
                reader.frame()
        # Of what has ended the end alone is left to be told.
        self.assertEqual(self.stream(command, position).frame()[:2], ("8-5", "end"))

    def test_a_reader_that_names_no_place_of_ours_is_refused(self):
        command = self.submit("true")
        answer = self.gateway.call("GET", f"{command}/output", headers={
            "Accept": "text/event-stream", "Last-Event-ID": "yesterday"})
        self.assertEqual(answer.status, 400, answer)
        self.assertIn("last-event-id", answer.data["detail"])
        answer = self.gateway.call("GET", "/api/commands/nothing/output", headers={
            "Accept": "text/event-stream"})
        self.assertEqual(answer.status, 404, answer)


if __name__ == "__main__":
    muster_e2e.main()
