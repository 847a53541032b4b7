"""Requests per second: the server under Paste and Granian and behind nginx, against the naive way and plain nginx.

The naive way is Bottle's `static_file` under Paste, as both come, which sends the same file with the same CORS and
X-Timestamp headers. Plain nginx sends it by `root` and `sendfile`. Request lines are logged to /dev/null; the naive way
logs none. Every turn measures all ways, so that their ratios hold even if the machine's speed drifts; ratios are
medians of the turns' ratios. With --earlier, an earlier version takes part in the same run.

The load comes from wrk (HTTP/1.1) and h2load (HTTP/2) on the same cores, so the ways seem closer to each other than
they are, the more so the faster both are. Processor time is that of all processes of the server. The naive way and
the server under Paste close the connection after each response; all others keep it.

The nginx.conf files redirect reads from HTTP to HTTPS. Here they answer on HTTP, too, unless the name says HTTPS.
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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos import descendants
from benchmarks.thumbnails import TOOLS, scene
from benchmarks.uploads import processor_seconds
from tests.nginx import ADVANCED, BASIC, FAST, edited, own_lines
from tests.pictures import encoded
from tests.support import KEY, PROJECT, Client, two_free_ports, with_query
from tests.test_live import MEGABYTE

PICTURE, LARGE, SCALE = "sp6123456789.att.jpg", "large.tif", 200
LARGE_BYTES = 100 * MEGABYTE

#: What browsers send besides Host.
CLIENT_HEADERS = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) benchmark", "Accept": "image/*,*/*;q=0.8"}

NAIVE, NGINX, NGINX_TLS = "naive", "nginx, plain", "nginx, plain, HTTPS"
PASTE, ONE, TWO = "Paste", "Granian, 1 worker", "Granian, 2 workers"
EARLIER, EARLIER_TWO = "earlier version, 1 process", "earlier version, 2 processes"
HTTPS, HTTP_2 = f"{TWO}, HTTPS", f"{TWO}, HTTP/2"
CHECKED, FAST_PATH, FAST_PATH_TLS = "nginx.conf", "nginx-advanced.conf, fast path", "the same, HTTPS"

#: Table -> way -> (what it is compared with, how many times as many requests it must answer).
AIMS = {
    "thumbnails": {PASTE: [(NAIVE, 1.5)], TWO: [(NAIVE, 8.0), (EARLIER_TWO, 1.0)], FAST_PATH: [(NGINX, 0.75)]},
    "304": {},
    "originals": {TWO: [(EARLIER_TWO, 1.0)], CHECKED: [(NGINX, 0.9)]},
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
    response = bottle.static_file(name, root=f"{sys.argv[1]}/{folder}")
    response.set_header("Access-Control-Allow-Origin", "*")
    response.set_header("X-Timestamp", str(int(time.time())))
    return response

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
        listen 127.0.0.1:{ports[0]};
        listen 127.0.0.1:{ports[1]} ssl;
        ssl_certificate {certificate}/fullchain.pem;
        ssl_certificate_key {certificate}/privkey.pem;
        root {base};
    }}
"""


@dataclass(frozen=True)
class Way:
    """A way to get a file: the address of each, and the processes whose trees do the work."""

    processes: tuple[int, ...]
    root: str
    paths: dict[str, str]


@dataclass(frozen=True)
class Load:
    """What is requested: which file, over how many connections, for how long, and whether the client has it already."""

    file: str
    connections: int
    seconds: int
    revalidates: bool = False


@dataclass
class Measured:
    """Of every turn: requests (of originals: bytes) per second, and processor seconds for each."""

    rate: list[float] = field(default_factory=list)
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
        make_certificate(self.certificate)
        self._running = running

    def start(self, command: list[str], port: int, **environ: str) -> int:
        """Starts a program that will listen on *port*; returns its process."""
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], **environ},
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

    def server(self, project: Path = PROJECT, **environ: str) -> tuple[int, int]:
        """Starts the server of a checkout; returns process and port."""
        port, _ = two_free_ports()
        own = {"BASE_DIR": str(self.base), "PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "ATTACHMENT_KEY": KEY}
        command = [str(project / ".venv/bin/python"), str(project / "server.py")]
        return self.start(command, port, PATH=TOOLS, **{**own, **environ}), port

    def copied_base(self) -> Path:
        """Copies the store, and dates the thumbnails now.

        An earlier version does not know the marks of current thumbnails, but uses those newer than the original.
        """
        base = self.folder / "earlier"
        for folder in ("originals", "thumbnails"):
            shutil.copytree(self.base / folder, base / folder, ignore=shutil.ignore_patterns(".asset-server"))
        for thumbnail in (base / "thumbnails").iterdir():
            thumbnail.touch()
        return base

    def nginx(self, port: int, inside: str) -> int:
        """Starts nginx with a configuration of its own; returns its process."""
        folder = Path(tempfile.mkdtemp(prefix="nginx-", dir=self.folder))
        user = "user root;" if os.geteuid() == 0 else ""  # only we may read the scratch folder
        (folder / "nginx.conf").write_text(NGINX_FRAME.format(user=user, folder=folder, inside=inside))
        return self.start(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], port)

    def asset_nginx(self, backend: int, name: str, changes: dict[str, str]) -> tuple[int, int, int]:
        """Starts nginx with a file of deploy/; returns process and ports, plain and TLS."""
        ports = two_free_ports()
        lines = own_lines(self.certificate, self.base, backend, ports)
        lines["/var/log/nginx/access.log"] = "/dev/null"
        lines["return 301 https://$server_name$request_uri;"] = ""  # lets readers stay on HTTP
        return self.nginx(ports[0], edited({**changes, **lines}, name)), *ports


def make_certificate(folder: Path) -> None:
    """Makes a certificate and its key, under the names that deploy/nginx.conf has."""
    folder.mkdir()
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
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


def ways(stage: Stage, earlier: Path | None) -> dict[str, Way]:
    """Starts all servers."""
    thumbnail, original = {"type": "T", "filename": PICTURE, "scale": SCALE}, {"filename": LARGE}
    paths = {"thumbnail": with_query("/fileget", thumbnail), "original": with_query("/fileget", original)}
    files = {"thumbnail": f"/thumbnails/{Path(PICTURE).stem}_{SCALE}.jpg", "original": f"/originals/{LARGE}"}
    found: dict[str, Way] = {}

    def add(name: str, process: int, port: int, *behind: int) -> None:
        scheme = "https" if name in (HTTPS, HTTP_2, NGINX_TLS, FAST_PATH_TLS) else "http"
        named = files if name in (NGINX, NGINX_TLS) else paths
        found[name] = Way((process, *behind), f"{scheme}://127.0.0.1:{port}", named)

    granian = {"SERVER": "granian", "PROCESSES": "2"}
    port, _ = two_free_ports()
    add(NAIVE, stage.start([sys.executable, "-c", NAIVE_PROGRAM, str(stage.base), str(port)], port), port)
    add(PASTE, *stage.server(SERVER="paste"))
    make_files(Client(int(found[PASTE].root.rpartition(":")[2])))
    add(ONE, *stage.server(SERVER="granian"))
    add(TWO, *stage.server(**granian))
    if earlier:
        base = {"BASE_DIR": str(stage.copied_base())}
        add(EARLIER, *stage.server(earlier, **base))
        add(EARLIER_TWO, *stage.server(earlier, **base, PROCESSES="2"))
    files_of_tls = {"TLS_CERTIFICATE": "fullchain.pem", "TLS_KEY": "privkey.pem"}
    secure = stage.server(**granian, **{name: f"{stage.certificate}/{file}" for name, file in files_of_tls.items()})
    add(HTTPS, *secure)
    add(HTTP_2, *secure)

    ports = two_free_ports()
    plain = stage.nginx(ports[0], PLAIN_NGINX.format(ports=ports, certificate=stage.certificate, base=stage.base))
    behind, backend = stage.server(**granian, ACCEL_REDIRECT="/protected-store", TRUSTED_PROXIES="127.0.0.1")
    checked, checked_port, _ = stage.asset_nginx(backend, BASIC, {})
    fast, fast_port, fast_tls_port = stage.asset_nginx(backend, ADVANCED, FAST)
    add(NGINX, plain, ports[0])
    add(CHECKED, checked, checked_port, behind)
    add(FAST_PATH, fast, fast_port, behind)
    add(NGINX_TLS, plain, ports[1])
    add(FAST_PATH_TLS, fast, fast_tls_port, behind)
    return found


def tag_of(way: Way, load: Load, body: str) -> str:
    """Asks once, checks that the right file comes, and returns its tag."""
    scheme, _, address = way.root.partition("://")
    unverified = ssl._create_unverified_context() if scheme == "https" else None
    kind = http.client.HTTPSConnection if unverified else http.client.HTTPConnection
    with contextlib.closing(kind(address, **({"context": unverified} if unverified else {}))) as connection:
        connection.request("GET", way.paths[load.file], headers=CLIENT_HEADERS)
        response = connection.getresponse()
        if response.status != 200 or hashlib.sha256(response.read()).hexdigest() != body:
            sys.exit(f"{way.root}{way.paths[load.file]}: {response.status}, or another file")
        return response.headers["ETag"] or ""


def press(way: Way, load: Load, tag: str, by_http_2: bool) -> tuple[float, float]:
    """Has wrk or h2load ask; returns requests per second, or bytes of originals, and processor seconds for each."""
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{load.seconds}s", "--timeout", "30s"]
    pattern = r"(?P<requests>\d+) requests in [\d.]+m?s, (?P<read>[\d.]+)(?P<unit>[KMGT]?)B read"
    if by_http_2:  # as many requests at a time as wrk has connections
        command = ["h2load", "-t1", f"-c{load.connections}", "-m1", f"-D{load.seconds}"]
        pattern = r"(?P<requests>\d+) succeeded, 0 failed, 0 errored(?s:.+)traffic: (?P<read>[\d.]+)(?P<unit>[KMGT]?)B"
    for name, value in {**CLIENT_HEADERS, **({"If-None-Match": tag} if load.revalidates else {})}.items():
        command += ["-H", f"{name}: {value}"]
    processes = [one for root in way.processes for one in (root, *descendants(root))]
    before, began = sum(map(processor_seconds, processes)), time.perf_counter()
    url = way.root + way.paths[load.file]
    printed = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    used, seconds = sum(map(processor_seconds, processes)) - before, time.perf_counter() - began
    found = re.search(pattern, printed)
    amount = 0.0
    if found and load.file == "original":
        amount = float(found["read"]) * 1024 ** " KMGT".index(found["unit"] or " ")
    elif found:
        amount = int(found["requests"])
    if not amount or "Non-2xx" in printed or "Socket errors" in printed:
        sys.exit(f"{url}:\n{printed}")
    return amount / seconds, used / amount


def measure(compared: dict[str, Way], load: Load, body: str, runs: int) -> dict[str, Measured]:
    """Measures all ways in turn, after one turn that only warms up."""
    measured = {name: Measured() for name in compared}
    tags = {name: tag_of(way, load, body) for name, way in compared.items()}
    for turn in range(runs + 1):
        for name, way in compared.items():
            rate, processor = press(way, load, tags[name], name == HTTP_2)
            if turn:
                measured[name].rate.append(rate)
                measured[name].processor.append(processor)
    return measured


def ratio(numbers: list[float], others: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(numbers, others, strict=True))


def print_table(title: str, measured: dict[str, Measured]) -> None:
    """Prints a table in Markdown."""
    shows_bytes = title.startswith("originals")
    print(f"\n### {title}\n\n| Who answers | {'GB/s' if shows_bytes else 'requests/s'} | ÷ naive | processor | aim |")
    print("|---|---|---|---|---|")
    for name, one in measured.items():
        rate, cost = statistics.median(one.rate), statistics.median(one.processor)
        shown = f"{rate / 1e9:.2f}" if shows_bytes else f"{rate:,.0f}"
        spent = f"{cost * 1e12:.0f} ms/GB" if shows_bytes else f"{cost * 1e6:.0f} µs"
        aims = [
            f"{ratio(one.rate, measured[other].rate):.2f} of {other} (at least {least:g})"
            for other, least in AIMS[title.partition(",")[0]].get(name, [])
            if other in measured
        ]
        print(f"| {name} | {shown} | {ratio(one.rate, measured[NAIVE].rate):.2f} | {spent} | {'; '.join(aims)} |")
    sys.stdout.flush()


def machine() -> str:
    """One line about what was measured on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip().split("/")[-1]
    versions = f"Python {sys.version.split()[0]}, nginx {nginx}"
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{model[1] if model else 'processor'}, {cores} cores; {versions}; load before {load:.1f}"


@contextlib.contextmanager
def staged(earlier: Path | None) -> Iterator[tuple[Stage, dict[str, Way]]]:
    """A scratch folder, and all servers."""
    with (
        tempfile.TemporaryDirectory(prefix="serving-", ignore_cleanup_errors=True) as scratch,
        contextlib.ExitStack() as running,
    ):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nothing stays when the benchmark is stopped
        stage = Stage(Path(scratch), running)
        yield stage, ways(stage, earlier)


def main() -> None:
    """Starts everything, and prints three tables."""
    parser = argparse.ArgumentParser(prog="script/bench serving", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each (default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="seconds for each run (default: 3)")
    parser.add_argument("--only", choices=AIMS, help="one of the tables")
    parser.add_argument("--earlier", type=Path, metavar="FOLDER", help="an earlier checkout, with .venv")
    arguments = parser.parse_args()
    needed = {"wrk": "wrk", "h2load": "nghttp2-client", "nginx": "nginx-light"}
    missing = [package for program, package in needed.items() if not shutil.which(program)]
    if missing:
        sys.exit(f"Please install: apt-get install {' '.join(missing)}")
    with staged(arguments.earlier and arguments.earlier.resolve()) as (stage, found):
        print(machine())
        thumbnail = stage.base / "thumbnails" / f"{Path(PICTURE).stem}_{SCALE}.jpg"
        files = {"thumbnail": thumbnail, "original": stage.base / "originals" / LARGE}
        seconds = arguments.seconds
        tables = {
            f"thumbnails, cached, {thumbnail.stat().st_size:,} bytes, 16 connections": Load("thumbnail", 16, seconds),
            "304, the thumbnail unchanged, 16 connections": Load("thumbnail", 16, seconds, revalidates=True),
            f"originals, {LARGE_BYTES // MEGABYTE} MB, 4 connections": Load("original", 4, seconds),
        }
        for title, load in tables.items():
            if arguments.only in (None, title.partition(",")[0]):
                body = hashlib.sha256(files[load.file].read_bytes()).hexdigest()
                print_table(title, measure(found, load, body, arguments.runs))


if __name__ == "__main__":
    main()
