"""A terminal of its own for a program, typed into and looked at by a test."""
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time


class Terminal:
    """A program on a terminal that the test types into and looks at."""

    def __init__(self, *argv, environment, rows=33, columns=111):
        self.shown = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], list(argv), {**os.environ, "TERM": "xterm", **environment})
        self.resize(rows, columns)
        self.code = None

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.fd, text.encode())

    def read(self, within_s=0.05):
        if not select.select([self.fd], [], [], within_s)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: the program is gone.
            data = b""
        self.shown += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, pattern, within_s=20):
        end = time.monotonic() + within_s
        while not re.search(pattern, self.shown):
            if time.monotonic() > end or not self.read():
                raise AssertionError(f"{pattern!r} is not shown in {self.shown[-2000:]!r}")
        return re.search(pattern, self.shown)

    def wait(self, within_s=20):
        end = time.monotonic() + within_s
        while time.monotonic() < end and self.read():
            pass
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return self.code

    def kill(self):
        if self.code is None:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
            os.close(self.fd)
            self.code = -9
