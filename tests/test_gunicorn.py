"""gunicorn with two processes and deploy/gunicorn.conf.py: together they are one server.

The id of each answer begins with the number of the process that gave it; so the tests can see to it that
both have their share.
"""

import contextlib
import http.client
import json
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

import pytest

from tests import pictures
from tests.support import KEY, PROJECT, Client, LowerKeys, Response, multipart_body, visible_files, with_query
from tests.test_live import MEGABYTE, Program, children, holds_pattern, stream_upload
from tests.test_metrics import figures, of

CONFIGURATION = PROJECT / "deploy/gunicorn.conf.py"
COMMAND = ("-m", "gunicorn", "--config", str(CONFIGURATION), "server:make_application()")
PROCESSES = 2


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def environ_for(base: Path, **environ: str) -> dict[str, str]:
    own = {"BASE_DIR": str(base), "PORT": "0", "BIND_ADDRESS": "127.0.0.1", "ATTACHMENT_KEY": KEY}
    return {**own, "WEB_CONCURRENCY": str(PROCESSES), **environ}


@contextlib.contextmanager
def gunicorn(base: Path, *options: str, **environ: str) -> Iterator[tuple[Program, Client]]:
    """The running program and a client of it; whatever the test did, it ends with 0 when it is told to."""
    base.mkdir(exist_ok=True)
    program = Program(environ_for(base, **environ), (*COMMAND, *options), base)
    try:
        address = re.search(r"http://127\.0\.0\.1:(\d+)", program.wait_for("Listening at: "))
        assert address
        yield program, Client(int(address[1]), environ.get("ATTACHMENT_KEY", KEY))
        program.process.terminate()
        assert program.ended()[0] == 0
    finally:
        program.process.kill()
        program.ended()


def process_of(answer: Response) -> int:
    return int(answer.headers["x-request-id"].partition("-")[0], 16)


class Connection:
    """A connection that is kept open, hence to one process."""

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
        assert len(found) == PROCESSES
        yield {process: connections[:each] for process, connections in found.items()}
    finally:
        for connection in opened:
            connection.close()


def all_at_once(waiting: list[Connection], path: str, queries: list[dict[str, object]]) -> list[Response]:
    """Sends a request over each connection at the same moment."""
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


def test_a_thumbnail_is_made_once_however_many_ask_both_processes(tmp_path: Path) -> None:
    port = free_port()
    with gunicorn(tmp_path / "a", METRICS_ADDRESS=f"127.0.0.1:{port}") as (_, client):
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            client.upload(name, pictures.encoded(pictures.scene(3000, 2000), "JPEG"))
            with connections(client.port, each=12) as by_process:
                waiting = [connection for group in by_process.values() for connection in group]
                answers = all_at_once(waiting, "/fileget", [{"type": "T", "filename": name, "scale": 200}] * 24)
            assert {answer.status for answer in answers} == {200}
            assert len({(answer.body, answer.headers["etag"]) for answer in answers}) == 1
            assert set(Counter(map(process_of, answers)).values()) == {12}
        assert of(figures(port), "renders_total", format="jpeg", outcome="made") == 3


def test_both_processes_together_keep_thumbnails_of_no_more_sizes_than_allowed(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "a", KEPT_THUMBNAIL_SIZES="5") as (_, client):
        client.upload("a.png", pictures.png())
        with connections(client.port, each=20) as by_process:
            waiting = [connection for group in by_process.values() for connection in group]
            queries = [{"type": "T", "filename": "a.png", "scale": 20 + number} for number in range(40)]
            answers = all_at_once(waiting, "/fileget", queries)
    assert {answer.status for answer in answers} == {200}
    assert [max(pictures.opened(answer.body).size) for answer in answers] == [20 + number for number in range(40)]
    assert len(visible_files(tmp_path / "a/thumbnails")) == 5
    sizes = visible_files(tmp_path / "a/thumbnails/.asset-server/sizes")
    assert len([size for size in sizes if size.isdigit()]) == 5


def test_the_journal_has_every_one_of_many_parallel_uploads_once(tmp_path: Path) -> None:
    names = [f"upload-{number}.txt" for number in range(200)]
    with gunicorn(tmp_path / "a") as (_, client), ThreadPoolExecutor(24) as clients:
        answers = list(clients.map(lambda name: client.upload(name, name.encode()), names))
    assert {answer.text for answer in answers} == {"Ok."}
    assert len(set(map(process_of, answers))) == PROCESSES
    assert sorted(events(tmp_path / "a", "stored")) == sorted(names)
    assert all((tmp_path / "a/originals" / name).read_text() == name for name in names)


def test_of_parallel_uploads_of_one_name_each_but_the_first_replaces_another(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "a") as (_, client), ThreadPoolExecutor(24) as clients:
        list(clients.map(lambda number: client.upload("a.txt", b"%d" % number), range(60)))
    assert len(events(tmp_path / "a", "stored")) == 1
    assert len(events(tmp_path / "a", "replaced")) == 59
    assert len(list((tmp_path / "a/originals/.asset-server/trash").iterdir())) == 59


def test_without_a_key_both_processes_use_the_same_one_which_is_shown_once(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "a", ATTACHMENT_KEY="") as (program, client), connections(client.port, 1) as by_process:
        key = (tmp_path / "a/.asset-server/key").read_text().strip()
        token = Client(client.port, key).token("1")
        answers = [group[0].get("/testkey", random="1", token=token) for group in by_process.values()]
        assert [answer.text for answer in answers] == ["Ok."] * PROCESSES
        assert set(map(process_of, answers)) == set(children(program.process.pid))
        program.process.terminate()
        assert program.ended()[1].count(key) == 1


def test_figures_add_up_over_the_processes_and_survive_the_death_of_the_one_that_gives_them(tmp_path: Path) -> None:
    port = free_port()
    with gunicorn(tmp_path / "a", METRICS_ADDRESS=f"127.0.0.1:{port}") as (program, client):
        with connections(client.port, each=3) as by_process:
            for number, group in enumerate(by_process.values(), 2):
                for connection in group[:number]:
                    connection.get("/testkey", random="1", token="forged")
        assert of(figures(port), "refused_tokens_total") == 5
        [victim] = holders(tmp_path / "a/.asset-server/metrics.lock")
        assert victim in by_process
        os.kill(victim, signal.SIGKILL)
        client.get("/testkey", random="1", token="forged")
        program.wait_for(f"Worker (pid:{victim}) was sent SIGKILL!")
        program.wait_for("metrics on 127.0.0.1")
        assert of(figures(port), "refused_tokens_total") == 6
        assert victim not in holders(tmp_path / "a/.asset-server/metrics.lock")
        with connections(client.port, each=1) as by_process:
            assert victim not in by_process


def test_the_folder_of_the_figures_is_new_at_each_start_and_gone_at_the_end(tmp_path: Path) -> None:
    folders = []
    for _ in range(2):
        port = free_port()
        with gunicorn(tmp_path / "a", METRICS_ADDRESS=f"127.0.0.1:{port}") as (program, client):
            client.get("/testkey", random="1", token="forged")
            assert of(figures(port), "refused_tokens_total") == 1
            # One of the processes has counted; another may not have made its application yet.
            maps = "".join(Path(f"/proc/{process}/maps").read_text() for process in children(program.process.pid))
            mapped = re.search(r"/\S*/asset-server-metrics-\w+(?=/)", maps)
            assert mapped
            folders.append(Path(mapped[0]))
            assert folders[-1].is_dir()
        assert not folders[-1].exists()
    assert folders[0] != folders[1]


def test_what_the_server_does_by_itself_one_process_does(tmp_path: Path) -> None:
    trash = tmp_path / "a/originals/.asset-server/trash"
    trash.mkdir(parents=True)
    for number in range(100):
        (tmp_path / f"a/originals/{number}.txt").write_text(str(number))
        entry = trash / f"2001-01-01T00.00.00.{number:09}-deleted-old-{number}.txt"
        entry.write_text("old")
        os.utime(entry, (978_307_200, 978_307_200))
    with gunicorn(tmp_path / "a", VERIFY_DAYS="1", METRICS_ADDRESS=f"127.0.0.1:{free_port()}") as (program, _):
        program.wait_for("verification has ended")
        assert len(holders(tmp_path / "a/.asset-server/metrics.lock")) == 1
        while any(trash.iterdir()):
            time.sleep(0.1)
        program.process.terminate()
        printed = program.ended()[1]
    assert printed.count("verification of 190 bytes begins") == 1
    assert sorted(events(tmp_path / "a", "adopted")) == sorted(f"{number}.txt" for number in range(100))
    assert sorted(events(tmp_path / "a", "purged")) == sorted(f"old-{number}.txt" for number in range(100))


def test_large_uploads_arrive_whole_and_ranges_give_their_part(tmp_path: Path) -> None:
    size = 20 * MEGABYTE
    with gunicorn(tmp_path / "a") as (_, client):
        stream_upload(client, "large.tif", size)
        assert holds_pattern(tmp_path / "a/originals/large.tif", size)
        whole = client.get("/fileget", filename="large.tif")
        part = client.get("/fileget", {"Range": "bytes=1000000-1000255"}, filename="large.tif")
        ending = client.get("/static/originals/large.tif", {"Range": "bytes=-3"})
    assert whole.body == (tmp_path / "a/originals/large.tif").read_bytes()
    assert (part.status, part.headers["content-range"]) == (206, f"bytes 1000000-1000255/{size}")
    assert part.body == whole.body[1_000_000:1_000_256]
    assert ending.body == whole.body[-3:]


def test_a_chunked_upload_is_taken(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "a") as (_, client):
        form, content_type = multipart_body([("store", "a"), ("token", client.token("a")), ("f", ("f", bytes(70_000)))])
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (form[:90], form[90:]))
        head = upload_head(content_type, "Transfer-Encoding: chunked")
        assert client.raw(head + chunks + b"0\r\n\r\n").text == "Ok."
        assert (tmp_path / "a/originals/a").read_bytes() == bytes(70_000)


def test_whoever_is_refused_in_the_middle_of_an_upload_gets_to_read_why(tmp_path: Path) -> None:
    large = bytes(20 * MEGABYTE)
    with gunicorn(tmp_path / "a", MAX_UPLOAD_BYTES="1000000") as (_, client):
        too_large = client.upload("a.tif", large)
        hostile = client.post_parts([("store", "a"), ("token", "forged"), ("f", ("f", large[:1_000_000]))])
        no_form = client.request("POST", "/fileupload", large[:1_000_000], {"Content-Type": "text/plain"})
        delete = client.request("POST", "/filedelete", large, {"Content-Type": "application/x-www-form-urlencoded"})
        nowhere = client.request("POST", "/web_asset_store.xml", large)
    assert too_large.status == 413
    assert too_large.text == "The file is too large: this server takes at most 1000000 bytes."
    assert (hostile.status, hostile.text) == (403, "The token is malformed.")
    assert (no_form.status, no_form.text) == (400, "An upload must be sent as multipart/form-data.")
    assert (delete.status, delete.text) == (413, "The request is too large.")
    assert (nowhere.status, nowhere.text) == (405, "This address takes GET and HEAD only.")
    for answer in (too_large, hostile, no_form, delete, nowhere):
        assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
        assert abs(int(answer.headers["x-timestamp"]) - time.time()) < 60
    assert visible_files(tmp_path / "a/originals") == []


def test_every_answer_has_the_server_s_time_and_what_browsers_need(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "a") as (_, client):
        client.upload("a.jpg", pictures.jpeg())
        etag = client.get("/fileget", filename="a.jpg").headers["etag"]
        answers = {
            200: client.get("/web_asset_store.xml"),
            206: client.get("/fileget", {"Range": "bytes=0-9"}, filename="a.jpg"),
            304: client.get("/fileget", {"If-None-Match": etag}, filename="a.jpg"),
            400: client.get("/fileget", filename="../a.jpg"),
            403: client.get("/testkey", random="1", token="forged"),
            404: client.get("/no/such/address"),
            405: client.request("PUT", "/fileupload"),
            416: client.get("/fileget", {"Range": "bytes=9999999-"}, filename="a.jpg"),
        }
        others = [client.request("OPTIONS", "/fileupload"), client.head("/fileget", filename="a.jpg")]
    assert [answer.status for answer in answers.values()] == list(answers)
    for answer in [*answers.values(), *others]:
        assert abs(int(answer.headers["x-timestamp"]) - time.time()) < 60
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"]


def upload_head(content_type: str, framing: str) -> bytes:
    return f"POST /fileupload HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n".encode()


def begin_upload(client: Client, size: int = 1000) -> tuple[socket.socket, bytes]:
    """An upload of *size* bytes of which half is sent; returns the connection and the other half."""
    body, content_type = multipart_body([("f", ("f", bytes(size))), ("store", "a"), ("token", client.token("a"))])
    head = upload_head(content_type, f"Content-Length: {len(body)}")
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=30)
    connection.sendall(head + body[: size // 2])
    return connection, body[size // 2 :]


def test_a_slow_upload_outlives_neither_its_token_nor_its_process(tmp_path: Path) -> None:
    # gunicorn does not tell when a request began to arrive; the application is called when its head is there.
    with gunicorn(tmp_path / "a", "--timeout", "2", TIME_TOLERANCE="2") as (program, client):
        connection, rest = begin_upload(client)
        with connection:
            for byte in range(8):
                time.sleep(0.5)
                connection.sendall(rest[byte : byte + 1])
            connection.sendall(rest[8:])
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        program.process.terminate()
        assert "WORKER TIMEOUT" not in program.ended()[1]


def test_clients_that_fall_silent_are_hung_up_on(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "a", SOCKET_TIMEOUT="1") as (program, client):
        client.upload("large.tif", bytes(50 * MEGABYTE))
        takes_nothing = socket.create_connection(("127.0.0.1", client.port), timeout=30)
        takes_nothing.sendall(b"GET /fileget?filename=large.tif HTTP/1.1\r\nHost: a\r\n\r\n")
        stalled = begin_upload(client)[0]
        half_head = socket.create_connection(("127.0.0.1", client.port), timeout=30)
        half_head.sendall(b"GET /fileget HTTP/1.1\r\nHost")
        with stalled, half_head:
            answer = b"".join(iter(lambda: stalled.recv(1000), b""))
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert answer.endswith(b"The upload stalled or was cut off; nothing was stored.")
            assert half_head.recv(1000) == b""
        with takes_nothing:
            program.wait_for(f"'/fileget' 'large.tif' 200 {50 * MEGABYTE} bytes")
        assert client.get("/healthz").text == "ok"
        program.process.terminate()
        assert "Traceback" not in program.ended()[1]


def test_gunicorn_speaks_in_the_form_of_the_log(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "a", LOG_FORMAT="json") as (program, client):
        client.get("/healthz")
        program.process.terminate()
        lines = [json.loads(line) for line in program.ended()[1].splitlines()]
    assert {line["level"] for line in lines} == {"INFO", "WARNING"}
    assert "Shutting down: Master" in [line.get("message") for line in lines]
    assert "/healthz" in [line.get("path") for line in lines]


def test_sigterm_lets_running_uploads_finish_and_leaves_no_process(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "a") as (program, client):
        client.upload("a.jpg", pictures.jpeg())
        assert client.thumbnail("a.jpg").status == 200
        processes = children(program.process.pid)
        all_processes = [*processes, *(worker for process in processes for worker in children(process))]
        assert len(all_processes) == PROCESSES + 1
        connection, rest = begin_upload(client)
        with connection:
            time.sleep(0.3)
            program.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(rest)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        status, printed = program.ended()
    assert status == 0
    assert "Traceback" not in printed
    assert (tmp_path / "a/originals/a").stat().st_size == 1000
    assert not [process for process in all_processes if Path(f"/proc/{process}").exists()]


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"PORT": "http"}, "the environment variable PORT is 'http'; expected a whole number"),
        ({"RENDER_QUEUE": "192"}, "RENDER_QUEUE is 192 and THREADS 192; expected more THREADS"),
        ({"BASE_DIR": "/nowhere/at/all"}, "BASE_DIR: there is no folder /nowhere/at/all."),
        ({"BASE_DIR": "/proc"}, "BASE_DIR: the server cannot write there: /proc/originals"),
    ],
)
def test_what_is_wrong_with_a_setting_stops_the_start_with_one_clear_line(
    tmp_path: Path, environ: dict[str, str], line: str
) -> None:
    status, printed = Program(environ_for(tmp_path, **environ), COMMAND, tmp_path).ended()
    assert status == 1
    assert printed.splitlines()[-1].startswith(f"The asset server does not start. {line}")
    assert "Traceback" not in printed


@pytest.mark.parametrize(("trusted", "scheme"), [("", "http"), ("127.0.0.1", "https")])
def test_what_proxies_say_counts_if_the_application_trusts_them(tmp_path: Path, trusted: str, scheme: str) -> None:
    with gunicorn(tmp_path / "a", TRUSTED_PROXIES=trusted, SERVER_PORT="80") as (_, client):
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "on", "SCRIPT_NAME": "/elsewhere"}
        answer = client.get("/web_asset_store.xml", headers)
    assert answer.status == 200
    assert f">{scheme}://localhost/fileget<" in answer.text


def test_all_processes_together_have_a_render_worker_for_each_core_unless_somebody_set_their_number(
    tmp_path: Path,
) -> None:
    cores = len(os.sched_getaffinity(0))
    for environ, number in (({}, max(1, cores // PROCESSES)), ({"RENDER_WORKERS": "7"}, 7)):
        with gunicorn(tmp_path / "a", **environ) as (program, _):
            program.wait_for(f"RENDER_WORKERS = {number}\n")


def test_the_longest_names_fit_into_a_request(tmp_path: Path) -> None:
    longest = "ÿ" * 125 + ".jpg"
    with gunicorn(tmp_path / "a") as (_, client):
        assert client.upload(longest, pictures.jpeg()).text == "Ok."
        query = {"filename": longest, "downloadname": "\u6c34" * 600 + ".jpg", "coll": "KU Fish"}
        assert client.get(with_query("/fileget", query)).body == pictures.jpeg()


def test_the_tests_have_the_gunicorn_that_is_recommended() -> None:
    pins = [
        re.findall(r"^gunicorn==[0-9.]+", (PROJECT / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in ("requirements-gunicorn.txt", "requirements-dev.txt")
    ]
    assert pins[0] == pins[1] != []
    assert "gunicorn" not in (PROJECT / "requirements.txt").read_text(encoding="utf-8")


def test_gunicorn_without_our_configuration_can_write_its_own_lines(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    command = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", "server:make_application()")
    program = Program({"BASE_DIR": str(tmp_path / "a"), "KEY": "k"}, command, PROJECT)
    program.wait_for("RENDER_MEMORY")
    program.process.terminate()
    status, printed = program.ended()
    assert (status, "Logging error" in printed) == (0, False)
