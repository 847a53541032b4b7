"""Reads per second under wrk: the server and nginx with deploy/nginx.conf, against the naive way and plain nginx.

The naive way is Bottle's `static_file` under Paste, as both come, which sends the same file with the same CORS and
X-Timestamp headers. Plain nginx sends it by `root` and `sendfile`. All lines that are logged for requests go to
/dev/null; the naive way has none. Every turn measures all ways, so that their ratios hold even if the machine's
speed drifts; ratios are medians of the turns' ratios.

wrk computes on the same processors, so requests per second of two ways are closer to each other than the ways are:
the more so the quicker both. Processor time is that of the server's own processes, all of them, and says what a
request costs whatever else the machine does. Of clients, wrk is one that keeps its connections; the naive way ends
them, and so each of its requests has one of its own.

deploy/nginx.conf sends readers to HTTPS; only here it answers them on HTTP, too, because TLS costs both nginx the
same and would make them look more alike. The lines "HTTPS" measure it as it is.
"""

import argparse
import contextlib
import hashlib
import http.client
import os
import random
import re
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.test_gunicorn import COMMAND, free_port

from benchmarks.chaos import descendants
from benchmarks.thumbnails import TOOLS, scene
from benchmarks.uploads import processor_seconds
from tests.pictures import encoded
from tests.support import KEY, PROJECT, Client, with_query
from tests.test_live import MEGABYTE
from tests.test_nginx import FAST, GATE, edited, own_lines

PROGRAM = (str(PROJECT / "server.py"),)
PICTURE, LARGE, SCALE = "sp6123456789.att.jpg", "large.tif", 200
LARGE_BYTES = 100 * MEGABYTE

#: What wrk sends beside Host, as browsers do.
CLIENT_HEADERS = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) benchmark", "Accept": "image/*,*/*;q=0.8"}

NAIVE, NGINX = "naive", "nginx, plain"
OURS, TWO, GUNICORN = "server, 1 process (Paste)", "server, 2 processes (Paste)", "server, 2 processes (gunicorn)"
PUBLIC, PRIVATE, PRIVATE_TWO = "nginx.conf, public", "nginx.conf, private", "nginx.conf, private, 2 processes"
KEPT_GATE = "nginx.conf, private, gatekeeper"
NGINX_TLS, PUBLIC_TLS = "nginx, plain, HTTPS", "nginx.conf, public, HTTPS"

#: Table -> way -> (what it is compared with, how many times as many requests it must answer).
AIMS = {
    "thumbnails": {OURS: (NAIVE, 2.0), TWO: (NAIVE, 4.0), PUBLIC: (NGINX, 0.75), KEPT_GATE: (NAIVE, 10.0)},
    "originals": {OURS: (NGINX, 0.9), PUBLIC: (NGINX, 0.9)},
    "304": {},
}

#: The naive server.
NAIVE_PROGRAM = """
import sys, time
import bottle

@bottle.get("/fileget")
def fileget():
    query = bottle.request.query
    if query.type == "T":
        name, folder = query.filename.rsplit(".", 1)[0] + f"_{query.scale}.jpg", "thumbnails"
    else:
        name, folder = query.filename, "originals"
    answer = bottle.static_file(name, root=f"{sys.argv[1]}/{folder}")
    answer.set_header("Access-Control-Allow-Origin", "*")
    answer.set_header("X-Timestamp", str(int(time.time())))
    return answer

bottle.run(server="paste", host="127.0.0.1", port=int(sys.argv[2]), quiet=True)
"""

#: Around whatever nginx is to do here.
NGINX_FRAME = """
daemon off;
{user}
worker_processes auto;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    sendfile on;
    include /etc/nginx/mime.types;
    client_body_temp_path {folder}/client;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {inside}
}}
"""

#: Plain nginx: the store as a folder of files.
PLAIN_NGINX = """
    access_log /dev/null combined buffer=64k flush=5s;
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl http2;
        ssl_certificate {certificate}/fullchain.pem;
        ssl_certificate_key {certificate}/privkey.pem;
        root {base};
    }}
"""


@dataclass(frozen=True)
class Way:
    """A way to get a file: the address of each, and the process whose tree does the work."""

    processes: tuple[int, ...]
    root: str
    paths: dict[str, str]

    def url(self, file: str) -> str:
        """Returns the whole address of a file."""
        return self.root + self.paths[file]


@dataclass(frozen=True)
class Load:
    """What wrk asks for: which file, over how many connections, for how long, and whether it has it already."""

    file: str
    connections: int
    seconds: int
    revalidates: bool = False


@dataclass
class Measured:
    """Of every turn: requests and bytes per second, and processor seconds per request."""

    requests: list[float] = field(default_factory=list)
    bytes: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


class Stage:
    """Everything that runs during the measurements.

    Parameters:
        folder: a scratch folder.
        running: ends what was started.
    """

    def __init__(self, folder: Path, running: contextlib.ExitStack) -> None:
        self.folder = folder
        self.base = folder / "attachments"
        self.base.mkdir()
        self.certificate = folder / "certificate"
        self._running = running

    def start(self, command: list[str], port: int, **environ: str) -> int:
        """Starts a program that will listen on *port*; returns its process."""
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), **environ},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def end() -> None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

        self._running.callback(end)
        for _ in range(300):
            with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as one:
                one.connect()
                return process.pid
            if process.poll() is not None:
                break
            time.sleep(0.1)
        sys.exit(f"does not start: {' '.join(command)}")

    def server(self, command: tuple[str, ...], **environ: str) -> tuple[int, int]:
        """Starts our server; returns process and port."""
        port = free_port()
        own = {"BASE_DIR": str(self.base), "PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "ATTACHMENT_KEY": KEY}
        return self.start([sys.executable, *command], port, PATH=TOOLS, **own, **environ), port

    def nginx(self, port: int, inside: str) -> int:
        """Starts nginx with a configuration of its own; returns its process."""
        folder = Path(tempfile.mkdtemp(prefix="nginx-", dir=self.folder))
        user = "user root;" if os.geteuid() == 0 else ""  # the scratch folder is ours alone
        (folder / "nginx.conf").write_text(NGINX_FRAME.format(user=user, folder=folder, inside=inside))
        return self.start(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], port)

    def asset_nginx(self, backend: int, further: Mapping[str, str]) -> tuple[int, int, int]:
        """Starts nginx with deploy/nginx.conf and further edits; returns process and ports, plain and TLS."""
        port, tls_port = free_port(), free_port()
        log = "/var/log/nginx/access.log"
        changes = {f"{log} ": "/dev/null ", "    http $asset_is_read;\n": ""}  # the latter lets readers stay on HTTP
        for line, replacement in own_lines(self.certificate, self.base, backend, (port, tls_port)).items():
            if not line.startswith(log):
                changes[line] = replacement
        text = edited({**changes, **further})
        return self.nginx(port, text), port, tls_port


def make_certificate(folder: Path) -> None:
    """Makes a certificate and its key, under the names that deploy/nginx.conf has."""
    folder.mkdir()
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(command, check=True, capture_output=True)


def make_files(client: Client) -> None:
    """Uploads a picture and a large original, and has the thumbnail made."""
    for name, data in (
        (PICTURE, encoded(scene(400, 300), "JPEG", quality=90)),
        (LARGE, random.Random(0).randbytes(LARGE_BYTES)),
    ):
        if client.upload(name, data).status != 200:
            sys.exit(f"{name} cannot be uploaded")
    if client.thumbnail(PICTURE, SCALE).status != 200:
        sys.exit("there is no thumbnail")


def ways(stage: Stage) -> dict[str, Way]:
    """Starts all servers."""
    thumbnail, original = {"type": "T", "filename": PICTURE, "scale": SCALE}, {"filename": LARGE}
    found: dict[str, Way] = {}

    def add(name: str, processes: tuple[int, ...], port: int, scheme: str = "http", token: bool = False) -> None:
        signed = [{"token": client.token(query["filename"])} if token else {} for query in (thumbnail, original)]
        paths = {"thumbnail": with_query("/fileget", {**thumbnail, **signed[0]})}
        paths["original"] = with_query("/fileget", {**original, **signed[1]})
        if name in (NGINX, NGINX_TLS):
            paths = {"thumbnail": f"/thumbnails/{Path(PICTURE).stem}_{SCALE}.jpg", "original": f"/originals/{LARGE}"}
        found[name] = Way(processes, f"{scheme}://127.0.0.1:{port}", paths)

    make_certificate(stage.certificate)
    port, tls_port = free_port(), free_port()
    naive = stage.start([sys.executable, "-c", NAIVE_PROGRAM, str(stage.base), str(port)], port)
    ours, our_port = stage.server(PROGRAM)
    client = Client(our_port)
    make_files(client)
    add(NAIVE, (naive,), port)
    add(OURS, (ours,), our_port)
    add(TWO, *as_way(stage.server(PROGRAM, PROCESSES="2")))
    add(GUNICORN, *as_way(stage.server(COMMAND, WEB_CONCURRENCY="2")))

    port = free_port()
    values = {"port": port, "tls_port": tls_port, "certificate": stage.certificate, "base": stage.base}
    plain = stage.nginx(port, PLAIN_NGINX.format(**values))
    add(NGINX, (plain,), port)
    public, port, public_tls_port = stage.asset_nginx(our_port, FAST)
    add(PUBLIC, (public, ours), port)

    guards = {"REQUIRE_KEY_FOR_GET": "True", "ACCEL_REDIRECT": "/protected-store", "TRUSTED_PROXIES": "127.0.0.1"}
    guards |= {"TIME_TOLERANCE": "86400"}
    gate = free_port()
    gated = {"server 127.0.0.1:8081;": f"server 127.0.0.1:{gate};", **GATE}
    for name, own, further in (
        (PRIVATE, {}, {}),
        (PRIVATE_TWO, {"PROCESSES": "2"}, {}),
        (KEPT_GATE, {"GATEKEEPER_ADDRESS": f"127.0.0.1:{gate}"}, gated),
    ):
        guarded, backend = stage.server(PROGRAM, **own, **guards)
        private, port, _ = stage.asset_nginx(backend, further)
        add(name, (private, guarded), port, token=True)

    add(NGINX_TLS, (plain,), tls_port, "https")
    add(PUBLIC_TLS, (public, ours), public_tls_port, "https")
    return found


def as_way(started: tuple[int, int]) -> tuple[tuple[int, ...], int]:
    process, port = started
    return (process,), port


def tag_of(way: Way, load: Load, body: str) -> str:
    """Asks once, sees to it that the right file comes, and returns its tag."""
    scheme, _, rest = way.url(load.file).partition("://")
    address, _, path = rest.partition("/")
    unverified = ssl._create_unverified_context() if scheme == "https" else None
    kind = http.client.HTTPSConnection if unverified else http.client.HTTPConnection
    with contextlib.closing(kind(address, **({"context": unverified} if unverified else {}))) as connection:
        connection.request("GET", f"/{path}", headers=CLIENT_HEADERS)
        answer = connection.getresponse()
        if answer.status != 200 or hashlib.sha256(answer.read()).hexdigest() != body:
            sys.exit(f"{way.url(load.file)}: {answer.status}, or another file")
        return answer.headers["ETag"] or ""


def press(way: Way, load: Load, tag: str) -> tuple[float, float, float]:
    """Has wrk ask; returns requests and bytes per second, and the server's processor seconds per request."""
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{load.seconds}s", "--timeout", "30s"]
    for name, value in {**CLIENT_HEADERS, **({"If-None-Match": tag} if load.revalidates else {})}.items():
        command += ["-H", f"{name}: {value}"]
    processes = [one for root in way.processes for one in (root, *descendants(root))]
    before = sum(map(processor_seconds, processes))
    printed = subprocess.run([*command, way.url(load.file)], capture_output=True, text=True, check=True).stdout
    used = sum(map(processor_seconds, processes)) - before
    found = re.search(r"(\d+) requests in ([\d.]+)(m?s), ([\d.]+)([KMGT]?)B read", printed)
    if not found or not int(found[1]) or "Non-2xx" in printed or "Socket errors" in printed:
        sys.exit(f"{way.url(load.file)}:\n{printed}")
    requests, seconds = int(found[1]), float(found[2]) * (0.001 if found[3] == "ms" else 1)
    read = float(found[4]) * 1024 ** " KMGT".index(found[5] or " ")
    return requests / seconds, read / seconds, used / requests


def measure(compared: dict[str, Way], load: Load, body: str, runs: int) -> dict[str, Measured]:
    """Measures all ways in turn, after one turn that only warms up."""
    measured = {name: Measured() for name in compared}
    tags = {name: tag_of(way, load, body) for name, way in compared.items()}
    for turn in range(runs + 1):
        for name, way in compared.items():
            requests, read, processor = press(way, load, tags[name])
            if turn:
                measured[name].requests.append(requests)
                measured[name].bytes.append(read)
                measured[name].processor.append(processor)
    return measured


def ratio(numbers: list[float], others: list[float]) -> str:
    return f"{statistics.median(one / other for one, other in zip(numbers, others, strict=True)):.2f}"


def print_table(title: str, measured: dict[str, Measured]) -> None:
    """Prints a table in Markdown; *by cost* compares the processor time of a request."""
    print(f"\n### {title}\n")
    shows_bytes = title.startswith("originals")
    unit = "GB/s" if shows_bytes else "requests/s"
    print(f"| Way | {unit} | ÷ naive | ÷ nginx | processor | ÷ naive by cost | ÷ nginx by cost | aim |")
    print("|---|---|---|---|---|---|---|---|")
    for name, one in measured.items():
        nginx = measured[NGINX_TLS if name in (NGINX_TLS, PUBLIC_TLS) else NGINX]
        rate = one.bytes if shows_bytes else one.requests
        shown = f"{statistics.median(rate) / 1e9:.2f}" if shows_bytes else f"{statistics.median(rate):,.0f}"
        cells = [name, shown]
        for other in (measured[NAIVE], nginx):
            cells.append(ratio(rate, other.bytes if shows_bytes else other.requests))
        cost = statistics.median(one.processor)
        cells.append(f"{cost / LARGE_BYTES * 1e9 * 1e3:.0f} ms/GB" if shows_bytes else f"{cost * 1e6:.0f} µs")
        cells += [ratio(other.processor, one.processor) for other in (measured[NAIVE], nginx)]
        baseline, aim = AIMS[title.partition(",")[0]].get(name, ("", 0.0))
        cells.append(f"{aim:g} × {'naive' if baseline == NAIVE else 'nginx'}" if baseline else "-")
        print(f"| {' | '.join(cells)} |", flush=True)


def machine() -> str:
    """One line about what was measured on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip().split("/")[-1]
    versions = f"Python {sys.version.split()[0]}, nginx {nginx}"
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{model[1] if model else 'processor'}, {cores} cores; {versions}; load before {load:.1f}"


@contextlib.contextmanager
def staged() -> Iterator[tuple[Stage, dict[str, Way]]]:
    """A scratch folder, and all servers."""
    with (
        tempfile.TemporaryDirectory(prefix="serving-", ignore_cleanup_errors=True) as scratch,
        contextlib.ExitStack() as running,
    ):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nothing stays when the benchmark is stopped
        stage = Stage(Path(scratch), running)
        yield stage, ways(stage)


def main() -> None:
    """Starts everything, and prints three tables."""
    parser = argparse.ArgumentParser(prog="script/bench serving", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each (default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="seconds for each run (default: 3)")
    parser.add_argument("--only", choices=AIMS, help="one of the tables")
    arguments = parser.parse_args()
    missing = [package for package, program in (("wrk", "wrk"), ("nginx-light", "nginx")) if not shutil.which(program)]
    if missing:
        sys.exit(f"Please install: apt-get install {' '.join(missing)}")
    with staged() as (stage, found):
        print(machine())
        thumbnail = stage.base / "thumbnails" / f"{Path(PICTURE).stem}_{SCALE}.jpg"
        files = {"thumbnail": thumbnail, "original": stage.base / "originals" / LARGE}
        size = thumbnail.stat().st_size
        tables = {
            f"thumbnails, kept, {size:,} bytes, 16 connections": (
                Load("thumbnail", 16, arguments.seconds),
                list(found),
            ),
            f"originals, {LARGE_BYTES // MEGABYTE} MB, 4 connections": (
                Load("original", 4, arguments.seconds),
                [NAIVE, OURS, TWO, GUNICORN, NGINX, PUBLIC, PRIVATE],
            ),
            "304, the thumbnail unchanged, 16 connections": (
                Load("thumbnail", 16, arguments.seconds, revalidates=True),
                [NAIVE, OURS, TWO, GUNICORN, NGINX, PUBLIC],
            ),
        }
        for title, (load, names) in tables.items():
            if arguments.only in (None, title.partition(",")[0]):
                body = hashlib.sha256(files[load.file].read_bytes()).hexdigest()
                compared = {name: found[name] for name in names}
                print_table(title, measure(compared, load, body, arguments.runs))


if __name__ == "__main__":
    main()
