"""What reached the gateway's host, as its network card saw it: the truth about
heartbeats that neither end can bend.

A packet socket reads every TCP segment to the fleet port with the kernel's
own time. Bytes count when all before them have come, as a receiver would get
them. What they say is encrypted; but TLS records have lengths, and those of a
heartbeat differ from those of HTTP/2's own frames: see like_a_heartbeat().
"""
import collections
import socket
import struct
import threading

# 9 of HTTP/2, 5 of gRPC, 17 of TLS, and its fields.
HEARTBEAT_BYTES_MIN = 55
# With 17 of TLS: two window updates and a ping; the same and a ping's answer. One
# heartbeat in some hundreds is as long.
_FRAMES_BYTES = (60, 77)

_ETH_P_IP, _OUTGOING = 0x0800, 4
_SO_TIMESTAMPNS = 35
_FIN, _SYN, _RST = 1, 2, 4


def like_a_heartbeat(length, surely=True):
    """Whether a record of this length may be one; `surely`: and nothing else we know."""
    return length >= HEARTBEAT_BYTES_MIN and not (surely and length in _FRAMES_BYTES)


class Connection:
    """One, as seen from the gateway. Times are those of the wall."""

    def __init__(self, source, dialled_at, first):
        self.source, self.dialled_at = source, dialled_at
        self.messages = []   # (when it was whole, its length), oldest first.
        self.broke_at = None  # A FIN or RST of the machine came.
        self._next, self._early, self._rest = first, {}, b""

    def take(self, at, sequence, payload):
        """A segment; it may come twice, or before others."""
        self._early[sequence] = max(payload, self._early.get(sequence, b""), key=len)
        for start in sorted(self._early, key=lambda s: (s - self._next + 2**31) % 2**32):
            ahead = (start - self._next + 2**31) % 2**32 - 2**31
            if ahead > 0:
                return
            new = self._early.pop(start)[-ahead:]
            self._next = (self._next + len(new)) % 2**32
            self._read(at, new)

    def _read(self, at, new):
        self._rest += new
        while len(self._rest) >= 5:
            length = 5 + int.from_bytes(self._rest[3:5], "big")
            if len(self._rest) < length:
                return
            self.messages.append((at, length - 5))
            self._rest = self._rest[length:]


class Wire:
    """Listens from its construction until end(). The address that a machine
    dials tells which one it is: `connections[address]`, oldest first."""

    def __init__(self, port):
        self.port = port
        self.connections = collections.defaultdict(list)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.settimeout(0.2)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def end(self):
        """On return `connections` changes no more."""
        self._ends.set()
        self._thread.join()
        self._socket.close()

    def _listen(self):
        while not self._ends.is_set():
            try:
                packet, extra, _, address = self._socket.recvmsg(65535, 64)
            except TimeoutError:
                continue
            if address[2] != _OUTGOING:
                seconds, nanos = struct.unpack("qq", extra[0][2])
                self._packet(seconds + nanos / 1e9, packet)

    def _packet(self, at, packet):
        head = (packet[0] & 15) * 4
        if packet[9] != socket.IPPROTO_TCP:
            return
        whole = int.from_bytes(packet[2:4], "big")
        source_port, port, sequence, _, offset, flags = struct.unpack(
            "!HHIIBB", packet[head:head + 14])
        if port != self.port:
            return
        source = (socket.inet_ntoa(packet[12:16]), source_port)
        known = self.connections[socket.inet_ntoa(packet[16:20])]
        if flags & _SYN and not any(c.source == source and not c.messages for c in known):
            known.append(Connection(source, at, (sequence + 1) % 2**32))
        connection = next((c for c in reversed(known) if c.source == source), None)
        if not connection:
            return
        payload = packet[head + (offset >> 4) * 4:whole]
        if payload:
            connection.take(at, sequence, payload)
        if flags & (_FIN | _RST) and connection.broke_at is None:
            connection.broke_at = at
