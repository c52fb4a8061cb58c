"""A TCP relay whose directions can be held: an operator's view of "on its way",
and one that is a proxy.
"""
import contextlib
import socket
import threading


class Relay:
    """A TCP relay in front of one port, whose directions can be held: what is
    on its way then neither arrives nor is lost, until release() or cut()."""

    def __init__(self, host, port):
        self.target = (host, port)
        self.to_server, self.to_client = threading.Event(), threading.Event()
        self.release()
        self._lock = threading.Lock()
        self._sockets = set()  # Guarded by _lock.
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def release(self):
        self.to_server.set()
        self.to_client.set()

    def cut(self):
        """Ends all connections; what was held is lost."""
        with self._lock:
            for end in self._sockets:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._sockets.clear()

    def end(self):
        self._server.close()
        self.cut()
        self.release()

    def _accept(self):
        with contextlib.suppress(OSError):  # Until end().
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, contextlib.suppress(OSError), self._reach_for(client) as server:
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client, self.to_client),
                                    daemon=True)
            back.start()
            self._pump(client, server, self.to_server)
            back.join()
            with self._lock:
                self._sockets -= {client, server}

    def _reach_for(self, client):
        """A connection to where the client is to get."""
        return socket.create_connection(self.target, timeout=5)

    def _pump(self, source, sink, gate):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                gate.wait()
                with self._lock:
                    if source not in self._sockets:
                        break  # It was cut.
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class ConnectProxy(Relay):
    """An HTTP proxy for CONNECT: `asked` for what, and knowing `names` besides."""

    def __init__(self, names):
        self.names, self.asked = names, []
        super().__init__(None, None)

    def _reach_for(self, client):
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            byte = client.recv(1)
            if not byte:
                raise ConnectionError("it left")
            request += byte
        method, target, _ = request.decode().split(" ", 2)
        self.asked.append(target)
        host, _, port = target.rpartition(":")
        server = socket.create_connection(self.names.get(target, (host, port)), timeout=5)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n" if method == "CONNECT" else
                       b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
        return server
