"""Several processes of Granian (PROCESSES): together they are one server.

The id of each answer begins with the number of the process that gave it; so the tests can see to it that
both have their share.
"""

import contextlib
import http.client
import os
import re
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from assetstore.config.limits import Limits, this_machine
from assetstore.storage.disk.sizes import DiskSizes
from assetstore.storage.thumbnail_sizes import SizeRules
from tests import pictures
from tests.monitoring.test_metrics import metrics, of
from tests.support import (
    KEY,
    Client,
    LowerKeys,
    Response,
    free_port,
    multipart_body,
    use_up_sizes,
    visible_files,
    wait_for_upload,
    with_query,
)
from tests.test_live import MEGABYTE, Program, children, holds_pattern, stream_upload

PROCESSES = 2


def environ_for(base: Path, **environ: str) -> dict[str, str]:
    own = {"BASE_DIR": str(base), "PORT": "0", "BIND_ADDRESS": "127.0.0.1", "ATTACHMENT_KEY": KEY}
    return {**own, "SERVER": "granian", "PROCESSES": str(PROCESSES), **environ}


def begin_upload(client: Client, size: int) -> tuple[socket.socket, bytes]:
    """Sends an upload but for its last bytes; returns the connection and those."""
    body, content_type = multipart_body([("store", "a"), ("token", client.token("a")), ("f", ("f", bytes(size)))])
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=30)
    head = (
        f"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body[:-500])
    return connection, body[-500:]


@contextlib.contextmanager
def granian(base: Path, **environ: str) -> Iterator[tuple[Program, Client]]:
    """The running program and a client of it; whatever the test did, it ends with 0 when it is told to."""
    base.mkdir(exist_ok=True)
    program = Program(environ_for(base, **environ))
    try:
        yield program, Client(program.port(), environ.get("ATTACHMENT_KEY", KEY))
        program.process.terminate()
        assert program.ended()[0] == 0
    finally:
        program.process.kill()
        program.ended()


def process_of(answer: Response) -> int:
    return int(answer.headers["x-request-id"].partition("-")[0], 16)


class Connection:
    """A connection that stays open, and therefore belongs to one process."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.connect()

    def get(self, path: str, **query: object) -> Response:
        self.send(path, **query)
        return self.receive()

    def send(self, path: str, **query: object) -> None:
        self._connection.request("GET", with_query(path, query))

    def receive(self) -> Response:
        answer = self._connection.getresponse()
        return Response(answer.status, LowerKeys(answer.getheaders()), answer.read())

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def connections(port: int, each: int) -> Iterator[dict[int, list[Connection]]]:
    """Open connections, *each* to every process, by process."""
    opened: list[Connection] = []
    found: dict[int, list[Connection]] = defaultdict(list)
    try:
        for _ in range(100):
            batch = [Connection(port) for _ in range(2 * each * PROCESSES)]
            opened += batch
            for connection in batch:
                connection.send("/healthz")
            for connection in batch:
                found[process_of(connection.receive())].append(connection)
            if len(found) == PROCESSES and min(map(len, found.values())) >= each:
                break
            time.sleep(0.05)  # one of them may only be beginning
        assert len(found) == PROCESSES
        yield {process: connections[:each] for process, connections in found.items()}
    finally:
        for connection in opened:
            connection.close()


def all_at_once(waiting: list[Connection], path: str, queries: list[dict[str, object]]) -> list[Response]:
    """Sends a request over each connection at the same time."""
    start = threading.Barrier(len(waiting))

    def ask(connection: Connection, query: dict[str, object]) -> Response:
        start.wait(30)
        return connection.get(path, **query)

    with ThreadPoolExecutor(len(waiting)) as clients:
        return list(clients.map(ask, waiting, queries))


def events(base: Path, operation: str) -> list[str]:
    """The names in the journal that this happened to."""
    with contextlib.closing(sqlite3.connect(base / ".asset-server/journal/journal.sqlite")) as journal:
        return [name for (name,) in journal.execute("SELECT name FROM events WHERE operation = ?", (operation,))]


def holders(lock: Path) -> list[int]:
    """The processes that hold a lock on this file."""
    inode = str(lock.stat().st_ino)
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [int(row[4]) for row in rows if row[1] == "FLOCK" and row[5].rpartition(":")[2] == inode]


def test_concurrent_requests_to_both_processes_generate_a_thumbnail_once(tmp_path: Path) -> None:
    port = free_port()
    with granian(tmp_path / "a", METRICS_ADDRESS=f"127.0.0.1:{port}") as (_, client):
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            client.upload(name, pictures.encoded(pictures.scene(3000, 2000), "JPEG"))
            with connections(client.port, each=12) as by_process:
                waiting = [connection for group in by_process.values() for connection in group]
                answers = all_at_once(waiting, "/fileget", [{"type": "T", "filename": name, "scale": 200}] * 24)
            assert {answer.status for answer in answers} == {200}
            assert len({(answer.body, answer.headers["etag"]) for answer in answers}) == 1
            assert set(Counter(map(process_of, answers)).values()) == {12}
        assert of(metrics(port), "renders_total", format="jpeg", outcome="made") == 3


def test_both_processes_together_cache_thumbnails_of_no_more_sizes_than_allowed(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(6)]
    with granian(tmp_path / "a") as (_, client):
        use_up_sizes(tmp_path / "a", left=5)
        for name in names:
            client.upload(name, pictures.png())
        with connections(client.port, each=20) as by_process:
            waiting = [connection for group in by_process.values() for connection in group]
            for name in names:
                queries = [{"type": "T", "filename": name, "scale": 20 + number} for number in range(40)]
                answers = all_at_once(waiting, "/fileget", queries)
                assert {answer.status for answer in answers} == {200}
                shown = [max(pictures.opened(answer.body).size) for answer in answers]
                assert shown == [20 + number for number in range(40)]
        sizes = DiskSizes(tmp_path / "a/thumbnails", SizeRules(Limits.cached_sizes))
        assert len(sizes.cached()) == Limits.cached_sizes
        known, cached = sizes.known(), visible_files(tmp_path / "a/thumbnails")
        shown_sizes = {int(name.partition("_")[2].removesuffix(".png")) for name in cached}
        assert len(shown_sizes) >= 5
        assert shown_sizes <= known
        for name in names:
            assert client.delete(name).status == 200
        assert visible_files(tmp_path / "a/thumbnails") == []


def test_parallel_uploads_are_each_journaled_once(tmp_path: Path) -> None:
    names = [f"upload-{number}.txt" for number in range(200)]
    with granian(tmp_path / "a") as (_, client), ThreadPoolExecutor(24) as clients:
        answers = list(clients.map(lambda name: client.upload(name, name.encode()), names))
    assert {answer.text for answer in answers} == {"Ok."}
    assert len(set(map(process_of, answers))) == PROCESSES
    assert sorted(events(tmp_path / "a", "stored")) == sorted(names)
    assert all((tmp_path / "a/originals" / name).read_text() == name for name in names)


def test_parallel_uploads_of_one_name_replace_each_other(tmp_path: Path) -> None:
    with granian(tmp_path / "a") as (_, client), ThreadPoolExecutor(24) as clients:
        list(clients.map(lambda number: client.upload("a.txt", b"%d" % number), range(60)))
    assert len(events(tmp_path / "a", "stored")) == 1
    assert len(events(tmp_path / "a", "replaced")) == 59
    assert len(list((tmp_path / "a/originals/.asset-server/trash").iterdir())) == 59


def test_without_a_key_both_processes_use_the_same_one_which_is_shown_once(tmp_path: Path) -> None:
    with granian(tmp_path / "a", ATTACHMENT_KEY="") as (program, client), connections(client.port, 1) as by_process:
        key = (tmp_path / "a/.asset-server/key").read_text().strip()
        token = Client(client.port, key).token("1")
        answers = [group[0].get("/testkey", random="1", token=token) for group in by_process.values()]
        assert [answer.text for answer in answers] == ["Ok."] * PROCESSES
        assert set(map(process_of, answers)) == set(children(program.process.pid))
        program.process.terminate()
        assert program.ended()[1].count(key) == 1


def test_metrics_are_summed_over_processes_and_survive_the_exporting_process(tmp_path: Path) -> None:
    port = free_port()
    with granian(tmp_path / "a", METRICS_ADDRESS=f"127.0.0.1:{port}") as (program, client):
        with connections(client.port, each=3) as by_process:
            for number, group in enumerate(by_process.values(), 2):
                for connection in group[:number]:
                    connection.get("/testkey", random="1", token="forged")
        assert of(metrics(port), "refused_tokens_total") == 5
        [victim] = holders(tmp_path / "a/.asset-server/metrics.lock")
        assert victim in by_process
        os.kill(victim, signal.SIGKILL)
        client.get("/testkey", random="1", token="forged")
        program.wait_for("Unexpected exit from worker")
        program.wait_for("metrics on 127.0.0.1")
        assert of(metrics(port), "refused_tokens_total") == 6
        assert victim not in holders(tmp_path / "a/.asset-server/metrics.lock")
        with connections(client.port, each=1) as by_process:
            assert victim not in by_process


def test_the_metrics_folder_is_created_at_start_and_removed_at_exit(tmp_path: Path) -> None:
    folders = []
    for _ in range(2):
        port = free_port()
        with granian(tmp_path / "a", METRICS_ADDRESS=f"127.0.0.1:{port}") as (program, client):
            client.get("/testkey", random="1", token="forged")
            assert of(metrics(port), "refused_tokens_total") == 1
            # One of the processes has counted; another may not have made its application yet.
            maps = "".join(Path(f"/proc/{process}/maps").read_text() for process in children(program.process.pid))
            mapped = re.search(r"/\S*/asset-server-metrics-\w+(?=/)", maps)
            assert mapped
            folders.append(Path(mapped[0]))
            assert folders[-1].is_dir()
        assert not folders[-1].exists()
    assert folders[0] != folders[1]


def test_periodic_tasks_run_in_one_process_only(tmp_path: Path) -> None:
    trash = tmp_path / "a/originals/.asset-server/trash"
    trash.mkdir(parents=True)
    for number in range(100):
        (tmp_path / f"a/originals/{number}.txt").write_text(str(number))
        entry = trash / f"2001-01-01T00.00.00.{number:09}-deleted-old-{number}.txt"
        entry.write_text("old")
        os.utime(entry, (978_307_200, 978_307_200))
    with granian(tmp_path / "a", VERIFY_DAYS="1", METRICS_ADDRESS=f"127.0.0.1:{free_port()}") as (program, _):
        program.wait_for("verification finished")
        assert len(holders(tmp_path / "a/.asset-server/metrics.lock")) == 1
        while any(trash.iterdir()):
            time.sleep(0.1)
        program.process.terminate()
        printed = program.ended()[1]
    assert printed.count("verification of 190 bytes started") == 1
    assert sorted(events(tmp_path / "a", "adopted")) == sorted(f"{number}.txt" for number in range(100))
    assert sorted(events(tmp_path / "a", "purged")) == sorted(f"old-{number}.txt" for number in range(100))


def test_large_uploads_are_stored_intact_and_ranges_work(tmp_path: Path) -> None:
    size = 20 * MEGABYTE
    with granian(tmp_path / "a") as (_, client):
        stream_upload(client, "large.tif", size)
        assert holds_pattern(tmp_path / "a/originals/large.tif", size)
        whole = client.get("/fileget", filename="large.tif")
        part = client.get("/fileget", {"Range": "bytes=1000000-1000255"}, filename="large.tif")
        ending = client.get("/static/originals/large.tif", {"Range": "bytes=-3"})
    assert whole.body == (tmp_path / "a/originals/large.tif").read_bytes()
    assert (part.status, part.headers["content-range"]) == (206, f"bytes 1000000-1000255/{size}")
    assert part.body == whole.body[1_000_000:1_000_256]
    assert ending.body == whole.body[-3:]


def test_sigterm_lets_running_uploads_finish_and_leaves_no_process(tmp_path: Path) -> None:
    with granian(tmp_path / "a") as (program, client):
        client.upload("a.jpg", pictures.jpeg())
        assert client.thumbnail("a.jpg").status == 200
        processes = children(program.process.pid)
        all_processes = [*processes, *(worker for process in processes for worker in children(process))]
        assert len(all_processes) == PROCESSES + 1
        connection, rest = begin_upload(client, 4 * MEGABYTE)
        with connection:
            wait_for_upload(tmp_path / "a")
            program.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(rest)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        status, printed = program.ended()
    assert status == 0
    assert "Traceback" not in printed
    assert (tmp_path / "a/originals/a").stat().st_size == 4 * MEGABYTE
    assert not [process for process in all_processes if Path(f"/proc/{process}").exists()]


def test_sighup_replaces_both_processes_and_lets_running_uploads_finish(tmp_path: Path) -> None:
    with granian(tmp_path / "a") as (program, client), connections(client.port, 1):
        before = set(children(program.process.pid))
        connection, rest = begin_upload(client, 4 * MEGABYTE)
        with connection:
            wait_for_upload(tmp_path / "a")
            program.process.send_signal(signal.SIGHUP)
            while len(set(children(program.process.pid)) - before) < PROCESSES:
                time.sleep(0.1)
            time.sleep(3)  # the old ones were told to stop
            connection.sendall(rest)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        while before & set(children(program.process.pid)):
            time.sleep(0.1)
        assert client.get("/fileget", filename="a").status == 200


def test_all_processes_together_have_one_render_worker_per_core(tmp_path: Path) -> None:
    workers = max(1, this_machine().cores // PROCESSES)
    with granian(tmp_path / "a", DEBUG="1") as (program, _):
        program.process.terminate()
        assert f"render_workers = {workers}," in program.ended()[1]


def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    with granian(tmp_path / "a") as (program, client):
        client.upload("a.jpg", pictures.jpeg())
        for _ in range(2):
            victim = children(program.process.pid)[0]
            os.kill(victim, signal.SIGKILL)
            program.wait_for("Unexpected exit from worker")
        with connections(client.port, each=2) as by_process:
            for group in by_process.values():
                assert group[0].get("/fileget", filename="a.jpg").body == pictures.jpeg()


def test_no_process_survives_its_supervisor(tmp_path: Path) -> None:
    program = Program(environ_for(tmp_path))
    port = program.port()
    assert Client(port).get("/healthz").status == 200
    processes = children(program.process.pid)
    program.process.kill()
    while any(Path(f"/proc/{process}").exists() for process in processes):
        time.sleep(0.05)
    program.ended()
    with granian(tmp_path, PORT=str(port)) as (_, client):
        assert client.get("/healthz").status == 200


def test_a_configuration_error_is_reported_once_and_no_process_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        for environ, line in (
            ({"PORT": str(other.getsockname()[1])}, "is in use by another program."),
            ({"BASE_DIR": "/nowhere/at/all"}, "BASE_DIR: there is no folder /nowhere/at/all."),
            ({"SERVER": "wsgiref"}, "PROCESSES is 2 and SERVER 'wsgiref'; expected SERVER = 'granian'."),
        ):
            program = Program(environ_for(tmp_path, **environ))
            status, printed = program.ended()
            assert status == 1
            assert line in printed.splitlines()[-1]
            assert printed.count("The asset server cannot start.") == 1
