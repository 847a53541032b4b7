"""Runs two servers behind nginx on a replicated S3 service, and kills parts of it during a mixed load.

    script/acceptance replicated_store --endpoint http://10.0.0.1:8000 --endpoint http://10.0.0.2:8000 \\
        --bucket trial --fault 'storage node' 'ssh node1 kill …' 'ssh node1 start …' …

It requires nginx, an S3 service that stays consistent while one part is down, a bucket (the test uses only the prefix
`acceptance-…`), AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Each --fault has a name, a command that kills a part, and
a command that restarts it. One of the two servers is also killed with -9.

Threads upload, replace, read (comparing all bytes), read ranges, request thumbnails and delete. Each thread has its own
names, so the expected content is known. A change with status 200 must be permanent; a failed change may or may not have
happened. At the end, everything is read through both servers and from the bucket itself.

Exit status 0: nothing is lost or wrong, and nothing failed while all parts were running.
"""

import argparse
import contextlib
import hashlib
import http.client
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import obstore
from obstore.store import S3Store

from tests import pictures
from tests.support import KEY, Client, Response
from tests.test_live import Program

ABSENT, WELL = "absent", "all well"

#: After a fault is over, so many seconds may pass until all is well again.
RECOVERY_SECONDS = 20

NGINX = """
daemon off; pid nginx.pid; error_log error.log;
%(user)s
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    upstream asset_servers { %(servers)s }
    upstream gateways { %(gateways)s }
    server {
        listen 127.0.0.1:%(front)s;
        client_max_body_size 0;
        location / {
            proxy_pass http://asset_servers;
            proxy_request_buffering off;
            proxy_set_header X-Receiving-Seconds $request_time;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_read_timeout 120s;
        }
    }
    server {
        listen 127.0.0.1:%(storage)s;
        client_max_body_size 0;
        location / {
            proxy_pass http://gateways;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_connect_timeout 2s;
            proxy_read_timeout 120s;
        }
    }
}
"""


@dataclass(frozen=True)
class Fault:
    """A part that is killed and brought back."""

    name: str
    kill: Callable[[], None]
    restore: Callable[[], None]


@dataclass
class Book:
    """What happened: by operation, by error, and what is wrong. Threads write into it."""

    phase: str = WELL
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: dict[str, tuple[float, str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, operation: str, began: str, seconds: float, error: str | None) -> None:
        """Notes a request that was begun in the phase *began*; a part that was missing then or now explains it."""
        with self.lock:
            phase = self.phase if began == WELL else began
            self.slowest[phase] = max((seconds, operation), self.slowest.get(phase, (0.0, "")))
            if error is None:
                self.done[operation] += 1
            else:
                self.errors[phase, f"{operation}: {error}"] += 1

    def complain(self, sentence: str) -> None:
        with self.lock:
            self.wrong.append(f"[{self.phase}] {sentence}")
            print(f"WRONG [{self.phase}] {sentence}", flush=True)


class Worker(threading.Thread):
    """Does one thing after the other, with names of its own.

    Attributes:
        possible: by name, the SHA-256 that the original may have, or ABSENT.
        trashed: by name, how often a version was certainly deleted or replaced.
    """

    def __init__(self, number: int, client: Client, book: Book, ending: threading.Event) -> None:
        super().__init__()
        self.possible: dict[str, set[str]] = {}
        self.trashed: Counter[str] = Counter()
        self._number = number
        self._client = client
        self._book = book
        self._ending = ending
        self._chance = random.Random(number)
        self._pieces: dict[str, bytes] = {}

    def run(self) -> None:
        steps = [(self.upload, 4), (self.replace, 2), (self.read, 8), (self.read_range, 3), (self.thumbnail, 3)]
        steps += [(self.delete, 2)]
        while not self._ending.is_set():
            [step] = self._chance.choices([step for step, _ in steps], [weight for _, weight in steps])
            step()

    def upload(self) -> None:
        number = len(self.possible)
        extension = "jpg" if number % 5 == 0 else "bin"
        self._store(f"acceptance-{self._number}-{number}.{extension}", {ABSENT})

    def replace(self) -> None:
        if name := self._any():
            self._store(name, self.possible[name])

    def _store(self, name: str, before: set[str]) -> None:
        content = self._content(name)
        now = hashlib.sha256(content).hexdigest()
        self.possible[name] = {*before, now}
        if self._ask("upload", lambda: self._client.upload(name, content)):
            self.possible[name] = {now}
            self._pieces[name] = content[1000:2000]
            self.trashed[name] += len(before) == 1 and before not in ({ABSENT}, {now})

    def _content(self, name: str) -> bytes:
        if name.endswith(".jpg"):
            return pictures.jpeg() + self._chance.randbytes(self._chance.randint(1, 50_000))
        large = self._chance.random() < 0.04
        return self._chance.randbytes(self._chance.randint(9_000_000, 20_000_000) if large else 40_000)

    def read(self) -> None:
        if name := self._any():
            answer = self._ask("read", lambda: self._client.get("/fileget", filename=name), may_miss=True)
            if answer:
                self._judge(name, answer)

    def read_range(self) -> None:
        certain = [name for name, possible in self.possible.items() if len(possible) == 1 and ABSENT not in possible]
        if certain:
            name = self._chance.choice(certain)
            headers = {"Range": "bytes=1000-1999"}
            answer = self._ask("range", lambda: self._client.get("/fileget", headers, filename=name), may_miss=True)
            if answer and (answer.status, answer.body) != (206, self._pieces[name]):
                self._book.complain(f"a range of {name}: status {answer.status}, {len(answer.body)} bytes")

    def thumbnail(self) -> None:
        pictures = [name for name, possible in self.possible.items() if name.endswith("jpg") and ABSENT not in possible]
        if pictures:
            name = self._chance.choice(pictures)
            answer = self._ask("thumbnail", lambda: self._client.thumbnail(name, self._chance.choice((100, 200))))
            if answer and not answer.body.startswith(b"\xff\xd8"):
                self._book.complain(f"the thumbnail of {name} is no JPEG")

    def delete(self) -> None:
        if name := self._any():
            before = self.possible[name]
            self.possible[name] = {*before, ABSENT}
            answer = self._ask("delete", lambda: self._client.delete(name), may_miss=True)
            if answer:
                if answer.status == 404 and ABSENT not in before:
                    self._book.complain(f"{name} was there, and is not found when it is deleted")
                self.possible[name] = {ABSENT}
                self.trashed[name] += len(before) == 1 and before != {ABSENT} and answer.status == 200

    def _judge(self, name: str, answer: Response) -> None:
        found = ABSENT if answer.status == 404 else hashlib.sha256(answer.body).hexdigest()
        if found not in self.possible[name]:
            self._book.complain(f"{name}: {found[:12]}, {len(answer.body)} bytes, is none of {self.possible[name]}")

    def _any(self) -> str | None:
        return self._chance.choice(list(self.possible)) if self.possible else None

    def _ask(self, operation: str, request: Callable[[], Response], *, may_miss: bool = False) -> Response | None:
        """Makes a request; None, and noted, if it failed."""
        began, phase, error, answer = time.monotonic(), self._book.phase, None, None
        try:
            answer = request()
            if answer.status not in ((200, 206, 404) if may_miss else (200,)):
                error = f"{answer.status} {answer.body[:70].decode('utf-8', 'replace').strip()!r}"
        except (OSError, http.client.HTTPException) as failure:
            error = type(failure).__name__
        self._book.note(operation, phase, time.monotonic() - began, error)
        return answer if error is None else None


class Servers:
    """Two servers on ports of their own."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self.ports = [free_port(), free_port()]
        self._programs: list[Program | None] = [None, None]

    def start(self, number: int) -> None:
        base = self._folder / f"base-{number}"
        base.mkdir(exist_ok=True)
        own = {"BASE_DIR": str(base), "PORT": str(self.ports[number]), "BIND_ADDRESS": "127.0.0.1", "KEY": KEY}
        program = Program({**self._environ, **own, "TRUSTED_PROXIES": "127.0.0.1"})
        program.port()
        self._programs[number] = program

    def kill(self, number: int) -> None:
        program = self._programs[number]
        if program:
            program.process.kill()
            status, printed = program.ended()
            (self._folder / f"server-{number}.log").open("a").write(f"{printed}\nended with {status}\n")
            self._programs[number] = None

    def are_ready(self) -> bool:
        try:
            return all(Client(port).get("/readyz").status == 200 for port in self.ports)
        except OSError:
            return False


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
        return port


@contextlib.contextmanager
def nginx(folder: Path, servers: list[int], gateways: list[str]) -> Iterator[tuple[int, int]]:
    """Starts nginx before the servers and before the gateways; gives its two ports."""
    front, storage = free_port(), free_port()
    text = NGINX % {
        "user": "user root;" if os.geteuid() == 0 else "",
        "servers": " ".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;" for port in servers),
        "gateways": " ".join(f"server {url.split('//')[1]} max_fails=1 fail_timeout=2s;" for url in gateways),
        "front": front,
        "storage": storage,
    }
    (folder / "nginx.conf").write_text(text)
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        yield front, storage
    finally:
        process.terminate()
        process.wait()


def run_through(faults: list[Fault], book: Book, seconds: float, servers: Servers) -> None:
    """Lets time pass, with one fault after the other."""
    share = seconds / (2 * len(faults) + 1)
    time.sleep(share)
    for fault in faults:
        print(f"{fault.name}: killed", flush=True)
        book.phase = fault.name
        fault.kill()
        time.sleep(share)
        fault.restore()
        print(f"{fault.name}: restored", flush=True)
        deadline = time.monotonic() + RECOVERY_SECONDS
        while not servers.are_ready():
            if time.monotonic() > deadline:
                book.complain("not well again in time")
                break
            time.sleep(0.5)
        time.sleep(RECOVERY_SECONDS / 4)  # what was on its way
        book.phase = WELL
        time.sleep(share)


def compare(workers: list[Worker], client: Client, ports: list[int], store: S3Store, book: Book) -> None:
    """Reads everything through nginx, each server and the bucket itself; complains of what is wrong."""
    book.phase = "at the end"
    listed = {meta["path"] for batch in obstore.list(store, "originals") for meta in batch}
    trash = Counter(meta["path"].rpartition("/")[2] for batch in obstore.list(store, "trash") for meta in batch)
    expected = 0
    for worker in workers:
        for name, possible in worker.possible.items():
            found = set()
            for reader in (client, *(Client(port) for port in ports)):
                answer = reader.get("/fileget", filename=name)
                found.add(ABSENT if answer.status == 404 else hashlib.sha256(answer.body).hexdigest())
            key = f"originals/{name}"
            direct = hashlib.sha256(bytes(obstore.get(store, key).bytes())).hexdigest() if key in listed else ABSENT
            if found != {direct} or direct not in possible:
                book.complain(f"{name}: servers give {found}, the bucket {direct}, expected {possible}")
            expected += direct != ABSENT
            if trash[name] < worker.trashed[name]:
                book.complain(f"{name}: {trash[name]} versions in the trash, expected {worker.trashed[name]}")
    if len(listed) != expected:
        book.complain(f"{len(listed)} objects, expected {expected}")
    print(f"{expected} originals compared, {sum(trash.values())} versions in the trash")


def report(book: Book) -> int:
    print(f"answered as they should: {dict(sorted(book.done.items()))}")
    for (phase, error), number in sorted(book.errors.items()):
        print(f"{number:5} errors while {phase!r}: {error}")
    for phase, (seconds, operation) in book.slowest.items():
        print(f"slowest answer while {phase!r}: {seconds:.1f} s ({operation})")
    unexplained = sum(number for (phase, _), number in book.errors.items() if phase == WELL)
    print(f"errors while nothing was missing: {unexplained}; lost or wrong: {len(book.wrong)}")
    return 1 if unexplained or book.wrong else 0


def shell(command: str) -> Callable[[], None]:
    return lambda: subprocess.run(["bash", "-c", command], check=True, stdout=subprocess.DEVNULL) and None


def main() -> int:
    """Runs the trial; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="script/acceptance replicated_store",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--endpoint", action="append", required=True, help="address of a gateway; repeat for each")
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--fault", action="append", nargs=3, default=[], metavar=("NAME", "KILL", "RESTORE"))
    parser.add_argument("--seconds", type=float, default=120, help="how long the load runs (default: 120)")
    parser.add_argument("--threads", type=int, default=8)
    given = parser.parse_args()
    if not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
        sys.exit("Please install: apt-get install nginx-light")
    prefix = f"acceptance-{uuid.uuid4().hex[:8]}"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="acceptance-")))
        environ = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        servers = Servers(folder, environ)
        front, storage = stack.enter_context(nginx(folder, servers.ports, given.endpoint))
        environ |= {"STORAGE_URL": f"s3://{given.bucket}/{prefix}", "STORAGE_ENDPOINT": f"http://127.0.0.1:{storage}"}
        for number in (0, 1):
            servers.start(number)
            stack.callback(servers.kill, number)
        faults = [Fault(name, shell(kill), shell(restore)) for name, kill, restore in given.fault]
        faults.append(Fault("one of our servers", lambda: servers.kill(0), lambda: servers.start(0)))
        book, ending = Book(), threading.Event()
        workers = [Worker(number, Client(front), book, ending) for number in range(given.threads)]
        for worker in workers:
            worker.start()
        try:
            run_through(faults, book, given.seconds, servers)
        finally:
            ending.set()
            for worker in workers:
                worker.join()
        options = {"client_options": {"allow_http": True, "timeout": "60s"}, "region": "us-east-1"}
        store = S3Store(given.bucket, prefix=prefix, endpoint=given.endpoint[0], **options)  # type: ignore[arg-type]
        compare(workers, Client(front), servers.ports, store, book)
        return report(book)


if __name__ == "__main__":
    sys.exit(main())
