"""Clients with bad manners from one address, and how long another address waits meanwhile, under Paste and Granian.

127.0.0.2 keeps 180 trickling uploads, 180 readers of a large file at 500 bytes per second and, under Granian, 300
request heads that never end. Whatever is refused or cut off comes again after some seconds. Under Paste an unfinished
head holds a thread, and no middleware sees it. 127.0.0.1 uploads, deletes, reads cached thumbnails and asks /testkey.

Then, without that load: after how many bytes a wrong token is answered, and the memory for 1.5 GB up and down.
"""

import argparse
import collections
import contextlib
import os
import random
import selectors
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.chaos import descendants
from benchmarks.thumbnails import TOOLS
from tests.pictures import jpeg
from tests.support import Client, multipart_body
from tests.test_live import MEGABYTE, counters, running, stream_upload

SERVERS = ("paste", "granian")
THREADS = "192"
BAD, GOOD = "127.0.0.2", "127.0.0.1"

#: Kind of bad manners -> how many connections.
LOADS = {"uploads": 180, "readers": 180, "heads": 300}

#: Bytes per second of each bad client, just above the floor, and seconds until it comes again.
RATE, AGAIN_SECONDS = 600, 3.0
READ_RATE = 500

#: The longest that the good client may wait, in seconds.
AIM = 2.0

#: Bytes of the file that slow readers want, of the steady reader's, and of the one for the memory.
LARGE, STEADY, HUGE = 50 * MEGABYTE, 3 * MEGABYTE, 1500 * MEGABYTE
STEADY_RATE = 10_000

#: How many bytes may have been sent when a wrong token that comes first is answered.
MOST_SENT = 64 * 1024


class Mob:
    """The clients with bad manners, in a thread of its own, until `stop`.

    Parameters:
        port: of the server.
        loads: kind -> how many connections.
    """

    def __init__(self, port: int, loads: dict[str, int]) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._away = [(random.uniform(0, AGAIN_SECONDS), kind) for kind, number in loads.items() for _ in range(number)]
        self._began = time.monotonic()
        self._ending = threading.Event()
        self.statuses: collections.Counter[tuple[str, str]] = collections.Counter()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Closes all connections."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(1):
            now = time.monotonic() - self._began
            due, self._away = [one for one in self._away if one[0] <= now], [one for one in self._away if one[0] > now]
            random.shuffle(due)
            for _, kind in due:
                self._connect(kind)
            readable = {key.fd for key, _ in self._selector.select(0)}
            for key in list(self._selector.get_map().values()):
                kind, has_answer = key.data
                try:
                    if key.fd in readable:
                        data = key.fileobj.recv(READ_RATE)
                        if not has_answer:
                            self.statuses[kind, data[9:12].decode("latin-1") or "closed"] += 1
                            self._selector.modify(key.fileobj, selectors.EVENT_READ, (kind, True))
                        if not data or b" 503 " in data[:20]:
                            raise ConnectionResetError
                    if kind == "uploads":
                        key.fileobj.send(bytes(RATE))
                except BlockingIOError:
                    continue
                except OSError:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()
                    self._away.append((now + AGAIN_SECONDS, kind))
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()

    def _connect(self, kind: str) -> None:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.bind((BAD, 0))
        try:
            connection.settimeout(1)
            connection.connect((GOOD, self._port))
            body, content_type = multipart_body([("f", ("f", b"@@"))])
            if kind == "uploads":
                connection.sendall(upload_head(content_type, MEGABYTE) + body.split(b"@@")[0])
            else:
                read = b"GET /fileget?filename=large.tif HTTP/1.1\r\nHost: x\r\n"
                connection.sendall(read + (b"\r\n" if kind == "readers" else b""))
        except OSError:
            self.statuses[kind, "no connection"] += 1
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, (kind, False))


def upload_head(content_type: str, length: int) -> bytes:
    lines = ["POST /fileupload HTTP/1.1", "Host: x", f"Content-Type: {content_type}", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "\r\n"]).encode()


def behave(client: Client, seconds: float) -> dict[str, tuple[float, collections.Counter[int]]]:
    """Does what must work for some seconds; returns the slowest of each and the statuses."""
    data = random.Random(0).randbytes(MEGABYTE)
    steps: dict[str, Callable[[], int]] = {
        "upload of 1 MB": lambda: client.upload("good.tif", data).status,
        "delete": lambda: client.delete("good.tif").status,
        "cached thumbnail": lambda: client.thumbnail("small.jpg", 50).status,
        "/testkey": lambda: client.get("/testkey", random="1", token=client.token("1")).status,
    }
    slowest, statuses = collections.defaultdict(float), collections.defaultdict(collections.Counter)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for name, step in steps.items():
            began = time.perf_counter()
            try:
                status = step()
            except OSError:
                status = 0
            slowest[name] = max(slowest[name], time.perf_counter() - began)
            statuses[name][status] += 1
    return {name: (slowest[name], statuses[name]) for name in steps}


def bytes_until_answer(client: Client) -> str:
    """Sends a wrong token, then a file in small pieces; says how much was sent when the response came."""
    body, content_type = multipart_body([("token", "0:0"), ("store", "a.tif"), ("f", ("f", bytes(8 * MEGABYTE)))])
    with socket.create_connection((GOOD, client.port), timeout=30) as connection:
        connection.sendall(upload_head(content_type, len(body)))
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            for start in range(0, len(body), 4096):
                connection.sendall(body[start : start + 4096])
                if selector.select(0.005):
                    break
        status = connection.recv(1000)[9:12].decode()
    return f"{status} after {start + 4096:,} bytes (at most {MOST_SENT:,})"


def read_steadily(port: int) -> tuple[int, float]:
    """Reads a file at 10 kB/s; returns its bytes, and the seconds that it took."""
    began, got = time.monotonic(), 0
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        connection.connect((GOOD, port))
        connection.sendall(b"GET /fileget?filename=steady.tif HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        connection.settimeout(60)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        while got < STEADY:
            try:
                data = connection.recv(STEADY_RATE)
            except OSError:
                break
            if not data:
                break
            got += len(data)
            time.sleep(max(0.0, began + got / STEADY_RATE - time.monotonic()))
    return got, time.monotonic() - began


def peak(pid: int) -> int:
    """The largest peak of a program's processes, in MiB."""
    return max(counters(one)[1] for one in (pid, *descendants(pid))) >> 20


def memory(client: Client, pid: int) -> str:
    """Sends a huge file up and down; says what memory the server had before and what it had at most."""
    before = peak(pid)
    stream_upload(client, "huge.tif", HUGE)
    up, got = peak(pid), 0
    with socket.create_connection((GOOD, client.port), timeout=60) as connection:
        connection.sendall(b"GET /fileget?filename=huge.tif HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while data := connection.recv(1 << 20):
            got += len(data)
    whole = "whole" if got > HUGE else f"only {got} bytes"
    return f"{before} MiB before, {up} MiB after 1.5 GB up, {peak(pid)} MiB after 1.5 GB down ({whole})"


@contextlib.contextmanager
def started(server: str) -> Iterator[tuple[Client, int]]:
    """A server with the files that are wanted."""
    with tempfile.TemporaryDirectory() as scratch:
        options = {"SERVER": server, "THREADS": THREADS, "PATH": TOOLS}
        with running(Path(scratch) / "a", **options) as program:
            client = Client(program.port())
            originals = Path(scratch) / "a/originals"
            for name, size in (("large.tif", LARGE), ("steady.tif", STEADY)):
                (originals / name).write_bytes(os.urandom(size))
            assert client.upload("small.jpg", jpeg()).status == 200
            assert client.thumbnail("small.jpg", 50).status == 200
            yield client, program.process.pid


def show(server: str, seconds: float) -> None:
    """Prints what happens with one server."""
    loads = {kind: number for kind, number in LOADS.items() if server == "granian" or kind != "heads"}
    with started(server) as (client, pid):
        print(f"\n{server}: {', '.join(f'{number} {kind}' for kind, number in loads.items())} of {BAD}", flush=True)
        mob = Mob(client.port, loads)
        time.sleep(2 * AGAIN_SECONDS)
        found = behave(client, seconds)
        mob.stop()
        for name, (slowest, statuses) in found.items():
            shown = ", ".join(f"{number} times {status or 'no response'}" for status, number in statuses.items())
            verdict = "" if slowest <= AIM and set(statuses) == {200} else "  NOT AS IT MUST BE"
            print(f"  {name}: slowest {slowest:.2f} s (at most {AIM:g}), {shown}{verdict}")
        bad = ", ".join(f"{kind} {status}: {number}" for (kind, status), number in sorted(mob.statuses.items()))
        print(f"  what the others got: {bad}")
    with started(server) as (client, pid):
        print(f"  wrong token first: {bytes_until_answer(client)}")
        print(f"  memory: {memory(client, pid)}", flush=True)


def show_steady() -> None:
    """Reads from both servers at the same time, slowly, and prints whether all came."""
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(started(server))[0].port for server in SERVERS]
        with ThreadPoolExecutor(len(SERVERS)) as pool:
            for server, (got, seconds) in zip(SERVERS, pool.map(read_steadily, ports), strict=True):
                print(f"{server}: a reader at 10 kB/s got {got:,} of {STEADY:,} bytes in {seconds:.0f} s")


def main() -> None:
    """Prints what the good client had to wait for."""
    parser = argparse.ArgumentParser(prog="script/bench manners", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=20, help="how long the load lasts (default: 20)")
    parser.add_argument("--server", choices=SERVERS, help="only this one")
    parser.add_argument("--steady", action="store_true", help="only read 3 MB at 10 kB/s, which takes five minutes")
    arguments = parser.parse_args()
    if arguments.steady:
        show_steady()
        return
    for server in SERVERS:
        if arguments.server in (None, server):
            show(server, arguments.seconds)


if __name__ == "__main__":
    main()
