"""A proxy that can make a service unreliable: it hangs, breaks connections, is slow, or says that it is busy."""

import contextlib
import re
import socket
import struct
import threading
from urllib.parse import urlsplit

#: What the way can be like.
FAIR, HANGING, BREAKING, DRIPPING, BUSY, CLOSED = "fair", "hanging", "breaking", "dripping", "busy", "closed"

#: Not bad weather, but the answer of a service whose clock is 20 minutes away.
SKEWED = "skewed"
BAD = (HANGING, BREAKING, DRIPPING, BUSY, CLOSED)

_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your rate</Message></Error>"
_BUSY_ANSWER = b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_SLOW_DOWN),
    _SLOW_DOWN,
)
_SKEW = (
    b"<?xml version='1.0'?><Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time"
    b" and the current time is too large.</Message></Error>"
)


class Way:
    """A forwarder of connections on this machine; used as a context manager it ends them all.

    Attributes:
        endpoint: where it listens.
        weather: what new bytes and connections meet.
        breaks_after: the connection breaks once, after this many further bytes from the service; None for never.
        busy_answers: how many requests are still answered as busy before the weather is fair again; None for all.
        methods: of the requests that have come, in their order.
        connections: how many have come.
    """

    def __init__(self, endpoint: str) -> None:
        target = urlsplit(endpoint)
        self._target = (target.hostname or "", target.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.weather = FAIR
        self.breaks_after: int | None = None
        self.busy_answers: int | None = None
        self.broken = 0
        self.methods: list[str] = []
        self.connections = 0
        self._ended = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> "Way":
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Ends all connections."""
        while self._open:
            self._break(self._open.pop())

    def turn(self, weather: str) -> None:
        """Changes the weather, also for the connections that there are."""
        self.weather = weather
        self.cut()

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.weather == CLOSED:
                self._break(client)
            elif self.weather == HANGING:
                self._ended.wait()
            elif self.weather == BREAKING:
                client.recv(100)
                self._break(client)
            elif self.weather == BUSY:
                client.recv(65536)
                if self.busy_answers is not None:
                    self.busy_answers -= 1
                    self.weather = BUSY if self.busy_answers else FAIR
                client.sendall(_BUSY_ANSWER)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            elif self.weather == SKEWED:
                self._reject(client)
            else:
                self._forward(client)
        client.close()

    def _reject(self, client: socket.socket) -> None:
        asked = client.recv(65536)
        body = b"" if asked.startswith(b"HEAD") else _SKEW
        head = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: %d"
        client.sendall(head % len(body) + b"\r\n\r\n" + body)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass

    def _forward(self, client: socket.socket) -> None:
        with socket.create_connection(self._target) as service:
            self._open.append(service)
            threading.Thread(target=self._copy, args=(client, service), daemon=True).start()
            while data := service.recv(1 if self.weather == DRIPPING else 65536):
                if self.weather == DRIPPING:
                    self._ended.wait(0.3)
                if self.breaks_after is not None:
                    self.breaks_after -= len(data)
                    if self.breaks_after < 0:
                        self.breaks_after, self.broken = None, self.broken + 1
                        self._break(client)
                        return
                client.sendall(data)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                # A client begins a request only when the last one is answered, so it comes in a piece of its own.
                if found := re.match(rb"([A-Z]+) [^ ]+ HTTP/1\.1\r\n", data):
                    self.methods.append(found[1].decode())
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    @staticmethod
    def _break(connection: socket.socket) -> None:
        """Ends a connection by a reset."""
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
