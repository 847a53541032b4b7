"""Uploads of 20 MB, 500 MB and 3 GB through HTTP, against the naive way: Bottle's form and `upload.save`.

The naive way is what the sample server does, under the same web server with as many threads, and with Bottle's own
limit of 1 GiB lifted. It is measured twice: as it is, and with an fsync before its answer, because the server syncs
every upload before it says Ok. and the naive way does not. Every turn measures all three, so that their ratios hold
even if the machine's speed drifts.

Bytes written are those given to write(2) (wchar in /proc/PID/io), whether or not they reach the disk. Processor
seconds are the web server's own; the kernel writes to the disk on the account of the program that syncs, so the naive
way leaves that work to others.

A virtual machine may have given its free memory back to its host, and waits when it wants that again, for the naive
way's three copies most of all. With --fill, free memory is first filled with what looks like cached files, as it is on
a server that has been up for a while.

With --previews, pictures are uploaded instead, one after the other and by several clients, to one server without
PREVIEW_SIZES and to one with them. Their turns alternate, and the next one begins when all previews of the last one are
made. The ratio of the medians shows how much longer uploads take while previews are made.
"""

import argparse
import contextlib
import os
import random
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmarks.thumbnails import TOOLS, scene
from tests.pictures import encoded
from tests.support import KEY, PROJECT, Client, multipart_body
from tests.test_live import MEGABYTE, Program, counters, running

#: Name -> bytes.
SIZES = {"20 MB": 20 * MEGABYTE, "500 MB": 500 * MEGABYTE, "3 GB": 3000 * MEGABYTE}

#: How many times as fast as the naive way the server must be.
AIM = 2.0

THREADS = "192"

#: The settings to compare with --previews, how many times as long an upload may take with them, how many pictures one
#: turn has, and by how many clients they are uploaded.
PREVIEW_SIZES: dict[str, list[int]] = {"[]": [], "[200, 1000]": [200, 1000]}
MOST_LATENCY = 1.1
PICTURES, CLIENTS = 24, (1, 4)

#: What is measured.
OURS, PLAIN, SYNCED = "server", "naive", "naive, then fsync"

#: The naive server: parses and spools the form, checks the token, copies the file to its place.
NAIVE = """
import functools, hmac, os
import bottle
from paste import httpserver

# Bottle's parser refuses files beyond 1 GiB; without this there would be nothing to compare with.
bottle._MultipartParser = functools.partial(bottle._MultipartParser, disk_limit=1 << 50)

@bottle.post("/fileupload")
def fileupload():
    form = bottle.request.forms
    signature, _, timestamp = form["token"].partition(":")
    expected = hmac.new(os.environ["KEY"].encode(), (timestamp + form["store"]).encode(), "md5").hexdigest()
    if not hmac.compare_digest(expected, signature):
        bottle.abort(403)
    path = os.path.join(os.environ["ORIGINALS"], form["store"])
    upload = list(bottle.request.files.values())[0]
    upload.save(path, overwrite=True)
    spooled.extend([upload.file, bottle.request.body])
    if os.environ["SYNC"] == "yes":
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    bottle.response.content_type = "text/plain; charset=utf-8"
    return "Ok."

# Each thread's last request keeps its temporary files for as long as that thread has no other.
spooled = []

@bottle.get("/tidy")
def tidy():
    while spooled:
        spooled.pop().close()

options = {"use_threadpool": True, "threadpool_workers": int(os.environ["THREADS"]), "start_loop": False}
server = httpserver.serve(bottle.default_app(), "127.0.0.1", "0", **options)
print("listening on 127.0.0.1 port", server.server_port, flush=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Target:
    """A running server and the folder where its uploads arrive."""

    program: Program
    client: Client
    originals: Path


@dataclass(frozen=True)
class Run:
    """One upload: wall seconds, bytes written for each byte sent, peak memory in bytes, processor seconds."""

    seconds: float
    written: float
    peak: int
    processor: float


@contextlib.contextmanager
def naive(base: Path, sync: bool) -> Iterator[Program]:
    """The naive server; its temporary files are on the same disk as its originals."""
    spool, originals = base / "spool", base / "originals"
    spool.mkdir(parents=True)
    originals.mkdir()
    environ = {"KEY": KEY, "ORIGINALS": str(originals), "SYNC": "yes" if sync else "no"}
    program = Program({**environ, "TMPDIR": str(spool), "THREADS": THREADS}, ("-c", NAIVE))
    try:
        yield program
    finally:
        program.process.kill()
        program.ended()


def make_block(path: Path) -> None:
    """Makes the file that is sent again and again: like a compressed picture, nothing in it repeats for a while."""
    path.write_bytes(random.Random(0).randbytes(32 << 20))


def send(client: Client, name: str, size: int, block: Path) -> None:
    """Uploads *size* bytes straight from the page cache, which costs the client next to nothing."""
    body, content_type = multipart_body([("store", name), ("token", client.token(name)), ("f", ("f", b"@@"))])
    before, after = body.split(b"@@")
    length = len(before) + size + len(after)
    head = f"POST /fileupload HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {length}"
    with socket.create_connection(("127.0.0.1", client.port), timeout=600) as connection, open(block, "rb") as file:
        connection.sendall(f"{head}\r\nConnection: close\r\n\r\n".encode() + before)
        left = size
        while left:
            left -= connection.sendfile(file, 0, min(left, block.stat().st_size))
        connection.sendall(after)
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    if b" 200 OK\r\n" not in answer or not answer.endswith(b"Ok."):
        sys.exit(f"{name}: {answer!r}")


def processor_seconds(pid: int) -> float:
    """The time that a process has computed so far, for itself and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill_memory(hole: BinaryIO) -> None:
    """Reads on in a file that is one hole until the kernel begins to take back what was read of it before."""
    step = 1 << 30
    before = free_memory()
    while before > step:
        for _ in range(step >> 24):
            hole.read(1 << 24)
        after = free_memory()
        if after > before - step // 4:
            return
        before = after


def free_memory() -> int:
    """Bytes that the kernel uses for nothing at all."""
    return int(Path("/proc/meminfo").read_text().split("MemFree:")[1].split()[0]) * 1024


def measure(name: str, target: Target, size: int, block: Path) -> Run:
    """Uploads one file, and removes it."""
    pid, stored = target.program.process.pid, target.originals / "upload.tif"
    os.sync()  # what others have left to be written is not ours
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # forgets the peak so far
    written_before, _ = counters(pid)
    processor_before = processor_seconds(pid)
    began = time.perf_counter()
    send(target.client, stored.name, size, block)
    seconds = time.perf_counter() - began
    written, peak = counters(pid)
    run = Run(seconds, (written - written_before) / size, peak, processor_seconds(pid) - processor_before)
    if stored.stat().st_size != size:
        sys.exit(f"{stored}: {stored.stat().st_size} bytes instead of {size}")
    stored.unlink()
    if name != OURS:
        target.client.get("/tidy")
    return run


def print_rows(label: str, size: int, runs: dict[str, list[Run]]) -> None:
    """Prints the medians of one size; ratios are medians of the turns' ratios, memory is the largest."""
    for name, measured in runs.items():
        seconds = statistics.median(run.seconds for run in measured)
        ratio = statistics.median(run.seconds / ours.seconds for run, ours in zip(measured, runs[OURS], strict=True))
        compared = "- | -" if name == OURS else f"{ratio:.1f} | {AIM if name == PLAIN else '-'}"
        written = statistics.median(run.written for run in measured)
        processor = statistics.median(run.processor for run in measured)
        print(
            f"| {label} | {name} | {seconds:.3f} s | {size / seconds / MEGABYTE:.0f} MB/s | {compared}"
            f" | {written:.3f} | {max(run.peak for run in measured) >> 20} MiB | {processor:.2f} s |",
            flush=True,
        )


def compare(targets: dict[str, Target], block: Path, runs: int | None, hole: BinaryIO | None) -> None:
    """Prints a table in Markdown."""
    print("| Upload | way | time | speed | server times as fast | aim | written per byte | peak memory | processor |")
    print("|---|---|---|---|---|---|---|---|---|")
    for label, size in SIZES.items():
        counted = runs or (3 if size > 1000 * MEGABYTE else 5)
        measured: dict[str, list[Run]] = {name: [] for name in targets}
        for turn in range(counted + 1):
            for name, target in targets.items():
                if hole:
                    fill_memory(hole)
                run = measure(name, target, size, block)
                if turn:  # the first only warms up
                    measured[name].append(run)
        print_rows(label, size, measured)


def upload_pictures(target: Target, picture: Path, sizes: list[int], clients: int) -> list[float]:
    """Uploads pictures, waits for their previews, and removes all; returns the seconds of each upload."""
    thumbnails = target.originals.parent / "thumbnails"

    def upload(number: int) -> float:
        began = time.perf_counter()
        send(target.client, f"{number}.jpg", picture.stat().st_size, picture)
        return time.perf_counter() - began

    with ThreadPoolExecutor(clients) as threads:
        seconds = list(threads.map(upload, range(PICTURES)))
    previews = [thumbnails / f"{number}_{size}.jpg" for number in range(PICTURES) for size in sizes]
    deadline = time.monotonic() + 60
    while not all(preview.exists() for preview in previews):
        if time.monotonic() > deadline:
            sys.exit("The previews were not made.")
        time.sleep(0.1)
    for path in (*previews, *(target.originals / f"{number}.jpg" for number in range(PICTURES))):
        path.unlink()
    return seconds


def compare_previews(folder: Path, runs: int) -> None:
    """Prints a table in Markdown."""
    picture = folder / "picture.jpg"
    picture.write_bytes(encoded(scene(4000, 3000), "JPEG", quality=92))
    measured: dict[tuple[int, str], list[float]] = {(count, text): [] for count in CLIENTS for text in PREVIEW_SIZES}
    with contextlib.ExitStack() as stack:
        targets = {}
        for number, text in enumerate(PREVIEW_SIZES):
            base = folder / f"previews-{number}"
            program = stack.enter_context(running(base, THREADS=THREADS, PREVIEW_SIZES=text, PATH=TOOLS))
            targets[text] = Target(program, Client(program.port()), base / "originals")
        for turn in range(runs + 1):
            for clients, text in measured:
                os.sync()
                found = upload_pictures(targets[text], picture, PREVIEW_SIZES[text], clients)
                if turn:  # the first only warms up
                    measured[clients, text] += found
    print(f"Pictures of {picture.stat().st_size / MEGABYTE:.1f} MB, {runs * PICTURES} of each kind\n")
    print("| Clients | `PREVIEW_SIZES` | median | 95 % | ratio of the medians | aim |")
    print("|---|---|---|---|---|---|")
    for (clients, text), seconds in measured.items():
        ordered = sorted(seconds)
        median, slow = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
        ratio = median / statistics.median(measured[clients, "[]"])
        compared = f"{ratio:.2f} | {MOST_LATENCY}" if PREVIEW_SIZES[text] else "- | -"
        print(f"| {clients} | `{text}` | {median * 1000:.1f} ms | {slow * 1000:.1f} ms | {compared} |", flush=True)


def main() -> None:
    """Starts the three servers and compares them."""
    parser = argparse.ArgumentParser(prog="script/bench uploads", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--runs", type=int, help="counted runs of each (default: 5, and 3 of the largest)")
    parser.add_argument("--scratch", type=Path, default=PROJECT.parent, help="a folder on a real disk (default: ..)")
    parser.add_argument("--fill", action="store_true", help="fill free memory first; for virtual machines")
    parser.add_argument("--previews", action="store_true", help="measure what PREVIEW_SIZES costs uploads instead")
    arguments = parser.parse_args()
    if arguments.previews:
        with tempfile.TemporaryDirectory(prefix="uploads-", dir=arguments.scratch) as scratch:
            compare_previews(Path(scratch), arguments.runs or 5)
        return
    needed = 4 * max(SIZES.values())
    if shutil.disk_usage(arguments.scratch).free < needed:
        sys.exit(f"{arguments.scratch}: {needed // MEGABYTE} MB are needed; --scratch names another folder.")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uploads-", dir=arguments.scratch)))
        make_block(folder / "block")
        programs = {
            OURS: stack.enter_context(running(folder / OURS, THREADS=THREADS)),
            PLAIN: stack.enter_context(naive(folder / "plain", sync=False)),
            SYNCED: stack.enter_context(naive(folder / "synced", sync=True)),
        }
        folders = {OURS: folder / OURS, PLAIN: folder / "plain", SYNCED: folder / "synced"}
        targets = {
            name: Target(program, Client(program.port()), folders[name] / "originals")
            for name, program in programs.items()
        }
        hole = stack.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0)) if arguments.fill else None
        if hole:
            hole.truncate(1 << 40)
        compare(targets, folder / "block", arguments.runs, hole)


if __name__ == "__main__":
    main()
