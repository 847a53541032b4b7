"""The server on object storage against the bucket itself and against the naive way: read all of it, then send it.

The bucket is SeaweedFS on the same machine. "Bucket" is a plain HTTP client with a signed address, which talks to it
without any server of ours. The naive way is Bottle under Paste with the same library (obstore): it reads a form or an
object into memory as a whole and then passes it on. Every turn measures all three, so that their ratios hold even if
the machine's speed drifts. All of them, client and bucket share the same processors, so the bucket alone has more of
these for itself than when a server stands before it.

With `--latency`, the way to the bucket takes longer, as in a network, for all of them.

Last, the requests that each operation costs are counted by a forwarder between another server and the bucket.
"""

import argparse
import contextlib
import dataclasses
import functools
import http.client
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from obstore.store import S3Store

from benchmarks.uploads import make_block, send
from tests import object_store, pictures
from tests.nginx import NGINX as NGINX_PROGRAM
from tests.support import PROJECT, Client, free_port
from tests.test_live import MEGABYTE, Program, counters, running

OURS, NAIVE, BUCKET, NGINX = "server", "naive", "bucket", "nginx"
SMALL, SMALL_BYTES = "small.jpg", 10_000
LARGE_BYTES, HUGE_BYTES = 100 * MEGABYTE, 1500 * MEGABYTE
CONNECTIONS = 16

#: nginx that only passes requests on: what any program between client and bucket costs.
FORWARDER = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off; client_max_body_size 0;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream bucket {{ server {bucket}; keepalive 32; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://bucket; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host {bucket}; proxy_request_buffering off; proxy_max_temp_file_size 0;
        }}
    }}
}}
"""

NAIVE_PROGRAM = """
import os
import bottle, obstore
from obstore.store import S3Store
from paste import httpserver

bottle._MultipartParser = __import__("functools").partial(bottle._MultipartParser, disk_limit=1 << 50)
store = S3Store(os.environ["BUCKET"], endpoint=os.environ["ENDPOINT"], region="us-east-1",
                client_options={"allow_http": True, "timeout": "600s"})

@bottle.get("/fileget")
def fileget():
    bottle.response.content_type = "image/jpeg"
    return bytes(obstore.get(store, "naive/" + bottle.request.query["filename"]).bytes())

@bottle.post("/fileupload")
def fileupload():
    upload = list(bottle.request.files.values())[0]
    obstore.put(store, "naive/" + bottle.request.forms["store"], upload.file.read(), use_multipart=False)
    bottle.response.content_type = "text/plain; charset=utf-8"
    return "Ok."

options = {"use_threadpool": True, "threadpool_workers": 192, "start_loop": False}
server = httpserver.serve(bottle.default_app(), "127.0.0.1", "0", **options)
print("listening on 127.0.0.1 port", server.server_port, flush=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Way:
    """One way to the bytes: address of a file, how a file goes up, and its process if it has one."""

    url: Callable[[str], str]
    upload: Callable[[str, int], None]
    program: Program | None


def fetch(url: str, size: int) -> None:
    """Reads a file and forgets it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=600)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    buffer, received = bytearray(1 << 20), 0
    while count := answer.readinto(buffer):
        received += count
    connection.close()
    if answer.status != 200 or received != size:
        sys.exit(f"{url}: status {answer.status}, {received} bytes instead of {size}")


def put(url: str, size: int, block: Path) -> None:
    """Stores a file at a signed address, straight from the page cache."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=600) as connection, open(block, "rb") as file:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {size}\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        left = size
        while left:
            left -= connection.sendfile(file, 0, min(left, block.stat().st_size))
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    if b" 200 OK\r\n" not in answer:
        sys.exit(f"{url}: {answer[:300]!r}")


def press(url: str, seconds: int) -> float:
    """Requests per second that wrk gets answered."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", url]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec: +([\d.]+)", printed)
    if not found or "Non-2xx" in printed or "Socket errors" in printed:
        sys.exit(f"{url}:\n{printed}")
    return float(found[1])


def seconds_of(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_of(program: Program, work: Callable[[], None]) -> int:
    """The peak memory of a process during some work, in MiB."""
    Path(f"/proc/{program.process.pid}/clear_refs").write_text("5")
    work()
    return counters(program.process.pid)[1] >> 20


@contextlib.contextmanager
def naive(folder: Path, service: object_store.ObjectStore) -> Iterator[Program]:
    folder.mkdir()
    environ = {**service.environ, "ENDPOINT": service.endpoint, "BUCKET": object_store.BUCKETS[0]}
    program = Program({**environ, "TMPDIR": str(folder)}, ("-c", NAIVE_PROGRAM))
    try:
        yield program
    finally:
        program.process.kill()
        program.ended()


@contextlib.contextmanager
def forwarder(folder: Path, bucket: str) -> Iterator[str]:
    """Yields the address of an nginx that passes all requests on to the bucket."""
    folder.mkdir()
    port = free_port()
    (folder / "nginx.conf").write_text(FORWARDER.format(folder=folder, bucket=bucket, port=port), encoding="utf-8")
    process = subprocess.Popen([str(NGINX_PROGRAM), "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def distant(service: object_store.ObjectStore, milliseconds: float) -> Iterator[object_store.ObjectStore]:
    """Yields the service at the end of a longer way."""
    target = urlsplit(service.endpoint)
    command = [sys.executable, "-m", "benchmarks.latency", target.hostname, str(target.port), str(milliseconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(process.stdout.readline())  # type: ignore[union-attr]
            yield dataclasses.replace(service, endpoint=f"http://127.0.0.1:{port}")
        finally:
            process.kill()


def settings(service: object_store.ObjectStore, endpoint: str) -> dict[str, str]:
    url = f"s3://{object_store.BUCKETS[0]}/ours"
    return {**service.environ, "STORAGE_URL": url, "STORAGE_ENDPOINT": endpoint, "THREADS": "192"}


@contextlib.contextmanager
def ways(folder: Path, service: object_store.ObjectStore) -> Iterator[dict[str, Way]]:
    block = folder / "block"
    make_block(block)
    client_options = {"allow_http": True}
    keys = {"access_key_id": service.access_key, "secret_access_key": service.secret_key}
    store = S3Store(
        object_store.BUCKETS[0],
        endpoint=service.endpoint,
        region="us-east-1",
        client_options=client_options,  # type: ignore[arg-type]
        **keys,  # type: ignore[arg-type]
    )

    def signed(method: str, name: str) -> str:
        return str(obstore.sign(store, method, f"direct/{name}", timedelta(hours=1)))  # type: ignore[call-overload]

    with (
        running(folder / "base", **settings(service, service.endpoint)) as ours,
        naive(folder / "n", service) as other,
        forwarder(folder / "nginx", urlsplit(service.endpoint).netloc) as forwarding,
    ):
        found = {}
        for label, program in ((OURS, ours), (NAIVE, other)):
            client = Client(program.port())
            found[label] = Way(
                lambda name, port=client.port: f"http://127.0.0.1:{port}/fileget?filename={name}",  # type: ignore[misc]
                lambda name, size, client=client: send(client, name, size, block),  # type: ignore[misc]
                program,
            )
        found[BUCKET] = Way(
            lambda name: signed("GET", name), lambda name, size: put(signed("PUT", name), size, block), None
        )

        def forwarded(method: str, name: str) -> str:
            return signed(method, name).replace(service.endpoint, forwarding)

        found[NGINX] = Way(
            lambda name: forwarded("GET", name), lambda name, size: put(forwarded("PUT", name), size, block), None
        )
        yield found


def print_row(label: str, measured: dict[str, list[float]], more_is_better: bool, unit: str) -> None:
    """Prints medians, and medians of the turns' ratios: how many times as good the server is as the others."""
    cells = [f"{statistics.median(measured[way]):.3g} {unit}" for way in (OURS, NAIVE, BUCKET)]
    for other in (NAIVE, BUCKET):
        pairs = list(zip(measured[OURS], measured[other], strict=True))
        cells.append(f"{statistics.median(a / b if more_is_better else b / a for a, b in pairs):.2f}")
    print(f"| {label} | {' | '.join(cells)} |", flush=True)


def compare(found: dict[str, Way], runs: int, seconds: int) -> None:
    """Prints a table in Markdown."""
    print(
        "| | server | naive | bucket | server to naive, times as good | server to bucket |\n|---|---|---|---|---|---|"
    )
    for way in found.values():
        way.upload(SMALL, SMALL_BYTES)
    small, up, down = ({name: [] for name in found} for _ in range(3))  # type: dict[str, list[float]]
    for turn in range(runs + 1):
        for name, way in found.items():
            rate = press(way.url(SMALL), seconds if turn else 1)
            up_seconds = seconds_of(lambda way=way: way.upload("large.tif", LARGE_BYTES))  # type: ignore[misc]
            down_seconds = seconds_of(lambda way=way: fetch(way.url("large.tif"), LARGE_BYTES))  # type: ignore[misc]
            if turn:  # the first only warms up
                small[name].append(rate)
                up[name].append(up_seconds)
                down[name].append(down_seconds)
    print_row(f"reads of 10 KB, {CONNECTIONS} connections", small, True, "/s")
    print_row("100 MB up", up, False, "s")
    print_row("100 MB down", down, False, "s")


def rate(work: Callable[[], None], clients: int, seconds: float) -> float:
    """How often per second some clients together do some work, one thread each."""
    began = time.perf_counter()
    done = []

    def repeat() -> None:
        while time.perf_counter() < began + seconds:
            work()
            done.append(None)

    with ThreadPoolExecutor(clients) as threads:
        for client in [threads.submit(repeat) for _ in range(clients)]:
            client.result()
    return len(done) / (time.perf_counter() - began)


def compare_clients(found: dict[str, Way], runs: int, seconds: float) -> None:
    """Prints how the server, and nginx in its place, compare with the bucket alone, by size and number of clients."""
    print("\n| | server | nginx | bucket | server to bucket | nginx to bucket |\n|---|---|---|---|---|---|")
    for label, size in (("10 KB", SMALL_BYTES), ("20 MB", 20 * MEGABYTE)):
        for clients in (1, 4):
            for is_upload in (True, False):
                measured: dict[str, list[float]] = {OURS: [], NGINX: [], BUCKET: []}
                for turn in range(runs + 1):
                    for way, rates in measured.items():
                        how = found[way]
                        how.upload("same.jpg", size)
                        work = functools.partial(_once, how, size, is_upload)
                        per_second = rate(work, clients, seconds if turn else 1)
                        if turn:  # the first only warms up
                            rates.append(per_second)
                cells = [f"{statistics.median(rates):.3g} /s" for rates in measured.values()]
                for way in (OURS, NGINX):
                    pairs = zip(measured[way], measured[BUCKET], strict=True)
                    cells.append(f"{statistics.median(a / b for a, b in pairs):.2f}")
                what = f"{'uploads' if is_upload else 'reads'} of {label}, {clients} client{'s'[: clients - 1]}"
                print(f"| {what} | {' | '.join(cells)} |", flush=True)


def _once(way: Way, size: int, is_upload: bool) -> None:
    way.upload(f"{uuid.uuid4()}.jpg", size) if is_upload else fetch(way.url("same.jpg"), size)


def compare_memory(found: dict[str, Way]) -> None:
    print("\n| Peak memory at 1.5 GB | up | down |\n|---|---|---|")
    for name, way in found.items():
        if way.program:
            up = peak_of(way.program, lambda way=way: way.upload("huge.tif", HUGE_BYTES))  # type: ignore[misc]
            down = peak_of(way.program, lambda way=way: fetch(way.url("huge.tif"), HUGE_BYTES))  # type: ignore[misc]
            print(f"| {name} | {up} MiB | {down} MiB |", flush=True)


class Counting:
    """Forwards connections to a service, and counts the requests in them by their methods."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._target = (parts.hostname or "", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: Counter[str] = Counter()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            client, _ = self._listener.accept()
            service = socket.create_connection(self._target)
            threading.Thread(target=self._forward, args=(client, service, True), daemon=True).start()
            threading.Thread(target=self._forward, args=(service, client, False), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                # A client begins a request only when the last one is answered, so it comes in a piece of its own.
                found = re.match(rb"(GET|HEAD|PUT|POST|DELETE) [^ ]* HTTP/1\.1\r\n((?:.+\r\n)*)", data)
                if counts and found:
                    is_copy = b"x-amz-copy-source" in found[2].lower()
                    is_list = b"list-type=2" in data[:2000].split(b"\r\n")[0]
                    self.requests["COPY" if is_copy else "LIST" if is_list else found[1].decode()] += 1
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def count_requests(folder: Path, service: object_store.ObjectStore) -> None:
    """Prints what each operation asks of the bucket."""
    counting = Counting(service.endpoint)
    block, picture = folder / "block", pictures.jpeg()
    with running(folder / "counted", **settings(service, counting.endpoint)) as program:
        client = Client(program.port())
        client.get("/fileget", filename="absent")  # makes sure once that there is a bucket
        client.upload("first.jpg", picture)
        client.thumbnail("first.jpg", 100)  # the server gets to know the sizes
        steps: dict[str, Callable[[], object]] = {
            "upload, new, up to 8 MB": lambda: client.upload("p.jpg", picture),
            "upload that replaces one": lambda: client.upload("p.jpg", picture),
            "upload, new, 100 MB": lambda: send(client, "q.tif", LARGE_BYTES, block),
            "first thumbnail": lambda: client.thumbnail("p.jpg", 100),
            "thumbnail, from memory": lambda: client.thumbnail("p.jpg", 100),
            "original": lambda: client.get("/fileget", filename="p.jpg"),
            "HEAD of an original, or 304": lambda: client.head("/fileget", filename="p.jpg"),
            "delete": lambda: client.delete("p.jpg"),
            "absent": lambda: client.get("/fileget", filename="p.jpg"),
        }
        print("\n| Operation | requests to the bucket |\n|---|---|")
        for label, step in steps.items():
            time.sleep(0.3)
            counting.requests.clear()
            step()
            time.sleep(0.3)
            asked = ", ".join(f"{number} {method}" for method, number in sorted(counting.requests.items()))
            print(f"| {label} | {asked or 'none'} |", flush=True)


def main() -> None:
    """Starts everything and measures."""
    parser = argparse.ArgumentParser(prog="script/bench object_storage", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="counted turns (default: 5)")
    parser.add_argument("--seconds", type=int, default=5, help="how long wrk asks (default: 5)")
    parser.add_argument("--scratch", type=Path, default=PROJECT.parent, help="a folder on a real disk (default: ..)")
    parser.add_argument("--latency", type=float, default=0, help="of the bucket, in milliseconds (default: 0)")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("Please install: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="object-storage-", dir=arguments.scratch) as name:
        folder = Path(name)
        (folder / "weed").mkdir()
        with object_store.running(folder / "weed") as near, contextlib.ExitStack() as stack:
            service = stack.enter_context(distant(near, arguments.latency)) if arguments.latency else near
            found = stack.enter_context(ways(folder, service))
            compare_clients(found, arguments.runs, arguments.seconds)
            if arguments.latency:
                return
            compare({name: found[name] for name in (OURS, NAIVE, BUCKET)}, arguments.runs, arguments.seconds)
            compare_memory(found)
            count_requests(folder, service)


if __name__ == "__main__":
    main()
