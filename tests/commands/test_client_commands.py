"""manage.py put, get, delete, metadata, token: against real servers, through cut connections, and again."""

import contextlib
import csv
import fcntl
import hashlib
import http.client
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from assetstore.client import downloads
from assetstore.client.asset_client import RemoteServer
from assetstore.client.http_client import Address
from assetstore.client.receipts import COLUMNS
from assetstore.commands import get as get_command
from assetstore.commands import remote_options
from assetstore.commands.progress import Progress
from assetstore.errors import BadRequest
from tests import command_server, pictures
from tests.support import KEY, PROJECT, RunningServer, free_port, visible_files

Manage = Callable[..., subprocess.CompletedProcess[str]]
MEGABYTE = 1 << 20


def environment(**variables: str) -> dict[str, str]:
    """No settings of this program's own server: everything is said by URL and key."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "ASSET_SERVER_KEY": KEY, **variables}


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(PROJECT / "manage.py"), *arguments]


@pytest.fixture
def manage(server: RunningServer, tmp_path: Path) -> Manage:
    """Runs manage.py in an empty folder against the running server."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        variables = {"ASSET_SERVER_URL": f"http://127.0.0.1:{server.port}", **variables}
        return command_server.run(arguments, environment(**variables), tmp_path)

    return run


class Obstacle:
    """A proxy in front of a server that cuts connections after a number of bytes, a number of times.

    Parameters:
        port: of the server.
        cuts: for each connection that is to be cut, after how many bytes, in the direction *downwards*.
    """

    def __init__(self, port: int, cuts: list[int], *, downwards: bool) -> None:
        self._target, self._cuts, self._downwards = port, cuts, downwards
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if connection.getpeername()[1] == self._ender:
                connection.close()
                return
            self._threads.append(threading.Thread(target=self._pass_on, args=(connection,)))
            self._threads[-1].start()

    _ender = -1

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            upwards = threading.Thread(target=self._copy, args=(client, server, not self._downwards))
            upwards.start()
            self._copy(server, client, self._downwards)
            upwards.join()

    def _copy(self, source: socket.socket, target: socket.socket, may_cut: bool) -> None:
        passed = 0
        try:
            while data := source.recv(65536):
                passed += len(data)
                target.sendall(data)
                if may_cut and self._cuts and passed > self._cuts[0]:
                    del self._cuts[0]
                    for end in (source, target):
                        end.shutdown(socket.SHUT_RDWR)
                    return
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self) -> None:
        with socket.socket() as ender:
            ender.bind(("127.0.0.1", 0))
            self._ender = ender.getsockname()[1]
            ender.connect(("127.0.0.1", self.port))
            self._accepting.join()
        for thread in self._threads:
            thread.join()
        self._listener.close()


@pytest.fixture
def obstacle(server: RunningServer) -> Iterator[Callable[..., Obstacle]]:
    running: list[Obstacle] = []

    def collection_dir(cuts: list[int], *, downwards: bool) -> Obstacle:
        running.append(Obstacle(server.port, cuts, downwards=downwards))
        return running[-1]

    yield collection_dir
    for one in running:
        one.stop()


def receipt(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_can_be_put_and_got_under_the_printed_name(
    server: RunningServer, manage: Manage, tmp_path: Path
) -> None:
    (tmp_path / "Käfer 植物.JPG").write_bytes(pictures.jpeg())
    run = manage("put", "Käfer 植物.JPG")
    assert run.returncode == 0, run.stderr
    name = run.stdout.strip()
    assert name.endswith(".JPG")
    assert (server.originals / name).read_bytes() == pictures.jpeg()
    assert manage("get", name).stdout.startswith("fetched\t")
    assert (tmp_path / name).read_bytes() == pictures.jpeg()
    assert "DateTimeOriginal\t2009:05:30 12:34:56" in manage("metadata", name).stdout
    thumbnail = manage("get", "--thumbnail", "123", "--output", "small.jpg", name, "--json")
    assert json.loads(thumbnail.stdout)["sha256"] == hashlib.sha256((tmp_path / "small.jpg").read_bytes()).hexdigest()
    assert max(pictures.opened((tmp_path / "small.jpg").read_bytes()).size) == 123
    assert manage("delete", name, "--yes").stdout == f"deleted\t{name}\n"
    assert visible_files(server.originals) == []


def test_commands_use_the_local_server_by_default(start: Callable[..., RunningServer], tmp_path: Path) -> None:
    server = start(KEY="")
    (tmp_path / "a.txt").write_bytes(b"x")
    variables = {"BASE_DIR": str(server.base), "PORT": str(server.port)}
    run = subprocess.run(
        command("put", str(tmp_path / "a.txt")), env=variables, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert visible_files(server.originals) == [run.stdout.strip()]


def test_the_local_key_is_not_used_for_another_server(server: RunningServer, manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x")
    run = manage("put", "a.txt", ASSET_SERVER_KEY="", KEY=KEY)
    assert run.returncode == 1
    assert "Set the environment variable ASSET_SERVER_KEY" in run.stderr
    run = manage("token", "a.txt", ASSET_SERVER_KEY="", KEY=KEY)
    assert (run.returncode, run.stdout) == (2, "")


def test_the_key_can_be_read_from_a_file_and_is_never_printed(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "a.txt").write_bytes(b"x")
    run = manage("put", "a.txt", "--key-file", "key", "--receipt", "r.csv", "--json", ASSET_SERVER_KEY="")
    assert run.returncode == 0
    assert KEY not in run.stdout + run.stderr + (tmp_path / "r.csv").read_text()


def test_tokens_follow_the_clock_of_the_server(
    start: Callable[..., RunningServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, real_time = start(), time.time
    monkeypatch.setattr("time.time", lambda: real_time() + 7200)
    url = f"http://127.0.0.1:{server.port}/web_asset_store.xml"
    run = subprocess.run(
        command("token", "ä", "--url", url, "--json"), env=environment(), capture_output=True, text=True, check=False
    )
    found = json.loads(run.stdout)
    assert abs(found["seconds_ahead"] - 7200) <= 2
    assert server.get("/testkey", random="ä", token=found["token"]).status == 200
    assert server.get("/testkey", random="ä", token=server.token("ä", 7200)).status == 403, "by our clock"


def test_a_receipt_records_each_upload_and_prevents_a_second_one(
    server: RunningServer, manage: Manage, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"first")
    (tmp_path / 'b, "b".txt').write_bytes(b"second")
    (tmp_path / "folder").mkdir()
    files = ("a.txt", 'b, "b".txt', "folder", "missing.txt")
    run = manage("put", *files, "--receipt", "r.csv")
    assert run.returncode == 1
    assert "folder" in run.stderr
    assert "missing.txt: No such file" in run.stderr
    lines = receipt(tmp_path / "r.csv")
    assert tuple(lines[0]) == COLUMNS
    assert [(line["local name"], line["size"], line["outcome"]) for line in lines] == [
        ("a.txt", "5", "done"),
        ('b, "b".txt', "6", "done"),
    ]
    assert lines[0]["SHA-256"] == hashlib.sha256(b"first").hexdigest()
    assert run.stdout.split() == [line["store name"] for line in lines]
    before = sorted((path.name, path.stat().st_mtime_ns) for path in server.originals.glob("*.txt"))
    again = manage("put", *files[:2], "--receipt", "r.csv")
    assert (again.returncode, again.stdout) == (0, run.stdout)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in server.originals.glob("*.txt")) == before


@pytest.mark.parametrize("name", ["=1+1.txt", "@a.txt", "'a.txt", "+a.txt", "a\r\nb.txt"])
def test_names_that_resemble_formulas_are_escaped_in_receipts(manage: Manage, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    first = manage("put", name, "--receipt", "r.csv")
    assert first.returncode == 0
    line = receipt(tmp_path / "r.csv")[0]
    assert line["local name"] == (name if name.startswith("a") else f"'{name}")
    assert manage("put", name, "--receipt", "r.csv").stdout == first.stdout, "and found again"


def test_a_changed_file_replaces_its_previous_version(server: RunningServer, manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    first = manage("put", "a.txt", "--receipt", "r.csv").stdout
    (tmp_path / "a.txt").write_bytes(b"new")
    assert manage("put", "a.txt", "--receipt", "r.csv").stdout == first
    assert (server.originals / first.strip()).read_bytes() == b"new"
    assert len(visible_files(server.originals)) == 1


def test_a_killed_upload_resumes_without_duplicates(server: RunningServer, tmp_path: Path, manage: Manage) -> None:
    for number in range(30):
        (tmp_path / f"{number}.bin").write_bytes(bytes([number]) * MEGABYTE)
    files = [f"{number}.bin" for number in range(30)]
    variables = environment(ASSET_SERVER_URL=f"http://127.0.0.1:{server.port}")
    process = subprocess.Popen(
        command("put", *files, "--receipt", "r.csv"), env=variables, cwd=tmp_path, stdout=subprocess.PIPE
    )
    while len(visible_files(server.originals)) < 3:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(visible_files(server.originals)) < 30
    with open(tmp_path / "r.csv", "a", encoding="utf-8") as torn:
        torn.write('29.bin,"a line that a power fail')
    assert manage("put", *files, "--receipt", "r.csv").returncode == 0
    lines = receipt(tmp_path / "r.csv")
    assert {line["outcome"] for line in lines} == {"done"}
    assert sorted(line["store name"] for line in lines) == visible_files(server.originals)
    for line in lines:
        assert (server.originals / line["store name"]).read_bytes() == (tmp_path / line["local name"]).read_bytes()


def test_an_interrupted_upload_is_retried(
    server: RunningServer, manage: Manage, tmp_path: Path, obstacle: Callable[..., Obstacle]
) -> None:
    content = os.urandom(3 * MEGABYTE)
    (tmp_path / "a.bin").write_bytes(content)
    way = obstacle([MEGABYTE], downwards=False)
    run = manage("put", "a.bin", "--receipt", "r.csv", ASSET_SERVER_URL=f"http://127.0.0.1:{way.port}")
    assert run.returncode == 0, run.stderr
    assert (server.originals / run.stdout.strip()).read_bytes() == content
    assert receipt(tmp_path / "r.csv")[0]["SHA-256"] == hashlib.sha256(content).hexdigest()


def test_two_commands_cannot_use_one_receipt(manage: Manage, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "a.txt").write_bytes(b"x")
    with open(tmp_path / "r.csv", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run = manage("put", "a.txt", "--receipt", "r.csv")
    assert run.returncode == 1
    assert "Another command is using the receipt" in run.stderr


def test_a_file_that_is_not_a_receipt_is_not_changed(manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x")
    (tmp_path / "records.csv").write_text("Catalog Number,Remarks\n1,mine\n")
    run = manage("put", "a.txt", "--receipt", "records.csv")
    assert run.returncode == 1
    assert "is not a receipt" in run.stderr
    assert (tmp_path / "records.csv").read_text() == "Catalog Number,Remarks\n1,mine\n"


def test_a_chosen_name_replaces_a_file_only_on_request(server: RunningServer, manage: Manage, tmp_path: Path) -> None:
    server.upload("a.txt", b"old")
    (tmp_path / "a.txt").write_bytes(b"new")
    for choice in (("--local-names",), ("--name", "a.txt")):
        run = manage("put", "a.txt", *choice)
        assert run.returncode == 1
        assert "The server already has an original with this name" in run.stderr
    assert (server.originals / "a.txt").read_bytes() == b"old"
    assert manage("put", "a.txt", "--local-names", "--replace").stdout == "a.txt\n"
    assert (server.originals / "a.txt").read_bytes() == b"new"


@pytest.mark.parametrize(
    "arguments",
    [
        ("put", "a", "b", "--name", "c"),
        ("put", "a", "--name", "c", "--local-names"),
        ("get", "a", "b", "--output", "c"),
    ],
)
def test_one_name_for_several_files_is_refused_before_any_request(manage: Manage, arguments: tuple[str, ...]) -> None:
    run = manage(*arguments, ASSET_SERVER_URL=f"http://127.0.0.1:{free_port()}")
    assert (run.returncode, arguments[-2 if arguments[-1] == "c" else -3] in run.stderr) == (2, True)


def test_a_rejected_file_does_not_stop_the_others_but_a_wrong_key_does(
    start: Callable[..., RunningServer], manage: Manage, tmp_path: Path
) -> None:
    server = start(MAX_UPLOAD_BYTES=1000)
    url = {"ASSET_SERVER_URL": f"http://127.0.0.1:{server.port}"}
    for name, size in (("a", 10), ("b", 2 * MEGABYTE), ("c", 10)):
        (tmp_path / name).write_bytes(bytes(size))
    run = manage("put", "a", "b", "c", "--local-names", **url)
    assert (run.returncode, run.stdout) == (1, "a\nc\n")
    assert run.stderr.startswith("b: The server returned 413: ")
    run = manage("put", "a", "b", "c", ASSET_SERVER_KEY="wrong", **url)
    assert run.returncode == 1
    assert run.stderr.count("different keys") == 1
    assert "Stopped" in run.stderr


def test_an_interrupted_download_resumes(
    server: RunningServer, manage: Manage, tmp_path: Path, obstacle: Callable[..., Obstacle]
) -> None:
    content = os.urandom(3 * MEGABYTE)
    server.upload("a.bin", content)
    way = obstacle([MEGABYTE], downwards=True)
    run = manage("get", "a.bin", "--json", ASSET_SERVER_URL=f"http://127.0.0.1:{way.port}")
    found = json.loads(run.stdout)
    assert found["outcome"].startswith("fetched, the first ")
    assert int(found["outcome"].split()[3]) >= MEGABYTE - 65536
    assert found["sha256"] == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "a.bin").read_bytes() == content
    assert not list(tmp_path.glob(".part-*"))


def test_the_progress_of_downloads_ends_at_the_sum_of_their_sizes(
    server: RunningServer, tmp_path: Path, obstacle: Callable[..., Obstacle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_options, "_PAUSES", (0, 0))
    way = obstacle([MEGABYTE], downwards=True)
    remote, bar = RemoteServer(Address("http", "127.0.0.1", way.port), KEY, None), Progress("Fetching", 0)
    for name, size in (("interrupted", 3 * MEGABYTE), ("a", 5), ("empty", 0)):
        server.upload(name, bytes(size))
        get_command._get(remote, name, None, tmp_path / name, False, bar)
    assert bar._length == 3 * MEGABYTE + 5
    assert bar._done == bar._length


def test_a_download_completed_by_another_command_is_not_overwritten(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.upload("a", b"whole")
    remote = RemoteServer(Address("http", "127.0.0.1", server.port), KEY, None)
    target, flock = tmp_path / "a", fcntl.flock

    def flock_late(file: BinaryIO, operation: int) -> None:
        os.replace(file.name, target)  # as the other command does at its end, between our opening and locking
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock_late)
    with pytest.raises(BadRequest, match="Another command"):
        downloads.fetch(remote, "a", None, target, lambda _bytes, _end: None)


def test_a_file_changed_since_the_interruption_is_downloaded_from_the_start(
    server: RunningServer, manage: Manage, tmp_path: Path, obstacle: Callable[..., Obstacle]
) -> None:
    server.upload("a.bin", os.urandom(5 * MEGABYTE))
    way = obstacle([MEGABYTE // 2] * 3, downwards=True)
    url = {"ASSET_SERVER_URL": f"http://127.0.0.1:{way.port}"}
    run = manage("get", "a.bin", **url)
    assert run.returncode == 1
    assert not (tmp_path / "a.bin").exists(), "nothing half-written"
    for content in (os.urandom(3 * MEGABYTE), b"much shorter"):
        server.upload("a.bin", content)
        (tmp_path / "a.bin").unlink(missing_ok=True)
        assert manage("get", "a.bin", **url).stdout.startswith("fetched\t")
        assert (tmp_path / "a.bin").read_bytes() == content


def test_a_second_get_downloads_nothing_and_replaces_no_other_file(
    server: RunningServer, manage: Manage, tmp_path: Path
) -> None:
    server.upload("a.txt", b"on the server")
    assert manage("get", "a.txt").stdout.startswith("fetched\t")
    assert manage("get", "a.txt").stdout.startswith("here already\t")
    (tmp_path / "a.txt").write_bytes(b"my own notes!")
    run = manage("get", "a.txt")
    assert run.returncode == 1
    assert "--replace" in run.stdout
    assert (tmp_path / "a.txt").read_bytes() == b"my own notes!"
    assert manage("get", "a.txt", "--replace").returncode == 0
    assert (tmp_path / "a.txt").read_bytes() == b"on the server"


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a\nb", ""])
def test_invalid_names_are_rejected_before_any_request(manage: Manage, name: str) -> None:
    for arguments in (("get", name), ("delete", name, "--yes"), ("metadata", name)):
        run = manage(*arguments, ASSET_SERVER_URL="http://127.0.0.1:1")
        assert run.returncode == 1
        assert "file name" in run.stderr


def test_deleting_asks_for_confirmation_has_a_dry_run_and_can_be_repeated(
    server: RunningServer, manage: Manage
) -> None:
    server.upload("a.txt", b"x")
    assert manage("delete", "a.txt").returncode == 1, "nobody answered the question"
    assert manage("delete", "a.txt", "b.txt", "--dry-run").stdout == "would be deleted\ta.txt\nwas not there\tb.txt\n"
    assert visible_files(server.originals) == ["a.txt"]
    assert manage("delete", "a.txt", "--yes", "--json").stdout == '{"name": "a.txt", "outcome": "deleted"}\n'
    run = manage("delete", "a.txt", "--yes")
    assert (run.returncode, run.stdout) == (0, "was not there\ta.txt\n")


def test_commands_work_with_collections_and_tokens_for_reading(
    start: Callable[..., RunningServer], manage: Manage, tmp_path: Path
) -> None:
    server = start(COLLECTION_DIRS={"KU Fish": "fish"}, REQUIRE_KEY_FOR_GET=True)
    url = {"ASSET_SERVER_URL": f"http://127.0.0.1:{server.port}"}
    (tmp_path / "a.txt").write_bytes(b"x")
    assert "does not know this collection" in manage("put", "a.txt", **url).stderr
    assert manage("put", "a.txt", "--local-names", "--collection", "KU Fish", **url).stdout == "a.txt\n"
    assert manage("get", "a.txt", "--collection", "KU Fish", "--output", "b.txt", **url).returncode == 0
    assert manage("get", "a.txt", "--collection", "KU Fish", "--replace", ASSET_SERVER_KEY="", **url).returncode == 1
    assert manage("delete", "a.txt", "--yes", "--collection", "KU Fish", **url).stdout == "deleted\ta.txt\n"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:1", "No server listens on port 1 of 127.0.0.1."),
        ("http://no-such-machine.invalid", "The host name no-such-machine.invalid is unknown."),
        ("assets.museum.org", "is not the address of a server"),
        ("ftp://assets.museum.org", "is not the address of a server"),
    ],
)
def test_an_invalid_address_is_explained_in_one_sentence(manage: Manage, url: str, sentence: str) -> None:
    run = manage("delete", "a", "--yes", ASSET_SERVER_URL=url)
    assert run.returncode == 1
    assert sentence in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_other_kinds_of_servers_are_recognised(manage: Manage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

        thread = threading.Thread(target=answer)
        thread.start()
        run = manage("token", "a", ASSET_SERVER_URL=f"http://127.0.0.1:{port}")
        thread.join()
    assert run.returncode == 1
    assert "is not an attachment server" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "header", "body", "sentence"),
    [
        (["token", "a"], 200, "X-Timestamp: " + "9" * 400, b"", "is not an attachment server"),
        (["token", "a"], 200, "X-Timestamp: " + "9" * 5000, b"", "is not an attachment server"),
        (["get", "a"], 200, "Last-Modified: Mon, 01 Jan 99999999999999999999 00:00:00 GMT", b"x", "fetched"),
        (["get", "a"], 206, f"Content-Range: bytes {'9' * 5000}-1/2", b"x", "but no range was requested"),
        (["metadata", "a"], 200, "X-A: b", b"[" * 200_000, "is not JSON"),
        (["metadata", "a"], 200, "X-A: b", b"[1]", "not a list of groups"),
        (["metadata", "a"], 200, "X-A: b", b'[{"Name": "EXIF", "Fields": [1]}]', "not a list of groups"),
        (["metadata", "a"], 404, "X-A: b", b"\x1b]0;name\x07", "?]0;name?"),
        (["get", "a"], 403, "X-A: b", b"\x1b]0;name\x07", "?]0;name?"),
    ],
)
def test_messages_of_a_server_cannot_control_the_terminal(
    manage: Manage, tmp_path: Path, arguments: list[str], status: int, header: str, body: bytes, sentence: str
) -> None:
    head = f"HTTP/1.1 {status} X\r\n{header}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ending = threading.Event()

        def answer() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    if ending.is_set():
                        return
                    is_xml = b"/web_asset_store.xml" in connection.recv(65536) and arguments[0] != "token"
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Timestamp: 1\r\n\r\n" if is_xml else head.encode() + body)

        thread = threading.Thread(target=answer)
        thread.start()
        port = listener.getsockname()[1]
        try:
            run = manage(*arguments, ASSET_SERVER_URL=f"http://127.0.0.1:{port}")
        finally:
            ending.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()
    assert sentence in run.stdout + run.stderr, run.stderr
    assert "Traceback" not in run.stderr
    assert "\x1b" not in run.stdout + run.stderr


def peak_of_put(server: RunningServer, path: Path) -> int:
    """Uploads a file with `put` in a child of its own; returns that child's peak memory in kilobytes."""
    script = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    variables = environment(ASSET_SERVER_URL=f"http://127.0.0.1:{server.port}")
    arguments = [sys.executable, "-c", script, *command("put", str(path), "--name", path.name)]
    run = subprocess.run(arguments, env=variables, capture_output=True, text=True, check=True)
    return int(run.stdout)


def test_memory_use_does_not_grow_with_file_size(server: RunningServer, tmp_path: Path) -> None:
    peaks = []
    for name, size in (("small.bin", MEGABYTE), ("large.bin", 300 * MEGABYTE)):
        with open(tmp_path / name, "wb") as file:
            file.truncate(size)
        peaks.append(peak_of_put(server, tmp_path / name))
        assert (server.originals / name).stat().st_size == size
    assert peaks[1] - peaks[0] < 8 * 1024


def test_a_slow_upload_shows_progress_on_a_terminal_only(tmp_path: Path) -> None:
    with open(tmp_path / "a.bin", "wb") as file:
        file.truncate(24 * MEGABYTE)
    terminal, end = pty.openpty()
    seen = threading.Event()
    with _slow_server(seen) as url:
        variables = environment(ASSET_SERVER_URL=url, TERM="xterm")
        arguments = command("put", str(tmp_path / "a.bin"))
        with subprocess.Popen(arguments, env=variables, stdout=subprocess.DEVNULL, stderr=end) as process:
            os.close(end)
            shown = b"".join(iter(lambda: _read_terminal(terminal, seen), b"")).decode()
    os.close(terminal)
    assert process.returncode == 0, shown
    assert "Uploading" in shown
    assert "%" in shown


def _read_terminal(terminal: int, seen: threading.Event) -> bytes:
    """The next output on a terminal; empty when the last process that writes to it has ended (EIO on Linux)."""
    try:
        output = os.read(terminal, 65536)
    except OSError:
        output = b""
    seen.set()
    return output


@contextlib.contextmanager
def _slow_server(hurry: threading.Event) -> Iterator[str]:
    """The address of a server that says the time at once, and receives an upload slowly until *hurry* is set."""
    with socket.socket() as listener:
        # A large buffer would accept most of the upload before the client notices that the server is slow.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(60)
        thread = threading.Thread(target=_answer_twice, args=(listener, hurry))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def _answer_twice(listener: socket.socket, hurry: threading.Event) -> None:
    for _ in range(2):
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as received:
            length = 0
            while (line := received.readline().strip()) != b"":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split()[1])
            while length:
                hurry.wait(0.4)
                length -= len(received.read(min(length, MEGABYTE)))
            text = f"HTTP/1.1 200 OK\r\nX-Timestamp: {int(time.time())}\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(text.encode())


@pytest.mark.parametrize("name", ["put", "get", "delete", "metadata", "token"])
def test_every_command_has_help(manage: Manage, name: str) -> None:
    run = manage(name, "--help")
    assert run.returncode == 0
    assert "ASSET_SERVER_URL" in run.stdout
    assert http.client.OK


def test_a_file_that_the_server_does_not_have_leaves_nothing_behind(
    server: RunningServer, manage: Manage, tmp_path: Path
) -> None:
    run = manage("get", "nosuch.jpg")
    assert run.returncode == 1
    assert "There is no such file." in run.stdout
    assert list(tmp_path.glob(".part*")) == list(tmp_path.glob("*.jpg")) == []


def test_a_missing_key_is_explained_with_the_variable_for_it(
    server: RunningServer, manage: Manage, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes(b"x")
    for arguments in (["put", "a.txt"], ["delete", "a.txt", "--yes"]):
        run = manage(*arguments, ASSET_SERVER_KEY="")
        assert run.returncode == 1
        sentence = "The server requires a key. Set the environment variable ASSET_SERVER_KEY, or use --key-file."
        assert sentence in run.stdout + run.stderr
