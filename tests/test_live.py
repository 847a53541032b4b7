"""The program as people run it: `python server.py` in a process of its own."""

import contextlib
import os
import queue
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import pictures
from tests.support import KEY, PROJECT, Client, free_port, multipart_body, newest_token, wait_for_upload

MEGABYTE = 1_000_000


class Program:
    """The running program and what it has printed."""

    def __init__(
        self,
        environ: dict[str, str],
        command: tuple[str, ...] = ("server.py",),
        folder: Path = PROJECT,
        python: str = sys.executable,
    ) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.process = subprocess.Popen(
            [python, *(str(PROJECT / part) if part == "server.py" else part for part in command)],
            env={**kept, "PYTHONUNBUFFERED": "1", **environ},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._new.put(line)
        self._new.put(None)
        self.process.stdout.close()

    def wait_for(self, words: str) -> str:
        """The next line with these words."""
        while True:
            line = self._new.get(timeout=60)
            assert line is not None, f"ended without {words!r}: {''.join(self.lines)}"
            self.lines.append(line)
            if words in line:
                return line

    def port(self) -> int:
        return int(self.wait_for("listening on").split(" port ")[1].split()[0])

    def ended(self) -> tuple[int, str]:
        """Exit status and everything that was printed."""
        status = self.process.wait(timeout=60)
        self._reader.join(timeout=60)
        with contextlib.suppress(queue.Empty):
            while (line := self._new.get_nowait()) is not None:
                self.lines.append(line)
        return status, "".join(self.lines)


@contextlib.contextmanager
def running(base: Path, **environ: str) -> Iterator[Program]:
    base.mkdir(exist_ok=True)
    defaults = {"BASE_DIR": str(base), "PORT": "0", "BIND_ADDRESS": "127.0.0.1", "ATTACHMENT_KEY": KEY}
    program = Program({**defaults, **environ})
    try:
        yield program
    finally:
        program.process.kill()
        program.ended()


def children(pid: int) -> list[int]:
    """Processes whose parent is *pid*."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def counters(pid: int) -> tuple[int, int]:
    """Bytes that the process has given to write(2) so far, and its peak memory in bytes."""
    written = next(line for line in Path(f"/proc/{pid}/io").read_text().splitlines() if line.startswith("wchar"))
    peak = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(written.split()[1]), int(peak.split()[1]) * 1024


def test_the_start_shows_what_matters_and_with_debug_all_settings(tmp_path: Path) -> None:
    for debug, shows_all in (("", False), ("true", True)):
        with running(tmp_path / f"a{debug}", DEBUG=debug) as program:
            program.port()
            program.process.send_signal(signal.SIGTERM)
            _, printed = program.ended()
        assert f"Attachments: {tmp_path / f'a{debug}'}" in printed
        assert "Page to open: http://" in printed
        assert ("KEY = '*****'" in printed) is shows_all


def test_with_verbose_the_program_shows_all_settings() -> None:
    command = [sys.executable, str(PROJECT / "server.py"), "--verbose"]
    environ = {"BASE_DIR": "/nowhere/at/all", "THREADS": "64"}  # without this folder, it ends by itself
    run = subprocess.run(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert "Page to open: http://localhost:8080/" in run.stdout
    assert "THREADS = 64" in run.stdout


def test_sigterm_ends_the_program_with_0_and_no_key_is_shown(tmp_path: Path) -> None:
    with running(tmp_path / "a", DEBUG="true") as program:
        client = Client(program.port())
        assert client.get("/testkey", random="1", token=client.token("1")).text == "Ok."
        client.upload("a.jpg", pictures.jpeg())
        assert client.thumbnail("a.jpg").status == 200
        assert client.get("/getmetadata", filename="a.jpg").status == 200
        workers = children(program.process.pid)
        assert len(workers) >= 2
        program.process.send_signal(signal.SIGTERM)
        status, printed = program.ended()
    assert status == 0
    assert "KEY = '*****'" in printed
    assert f"BASE_DIR = '{tmp_path / 'a'}'" in printed
    assert "WELL-KNOWN EXAMPLE" in printed
    assert printed.count(KEY) == 0
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def test_health_checks_do_not_wait_for_the_metadata_of_large_files(tmp_path: Path) -> None:
    with running(tmp_path / "a") as program:
        client = Client(program.port())
        with open(tmp_path / "a/originals/large.heic", "wb") as file:
            file.write(pictures.encoded(pictures.scene(), "HEIF"))
            file.write((8 + 64 * MEGABYTE).to_bytes(4) + b"mdat")
            file.truncate(file.tell() + 64 * MEGABYTE)
        with ThreadPoolExecutor(24) as threads:
            requests = [threads.submit(client.get, "/getmetadata", filename="large.heic") for _ in range(24)]
            slowest = 0.0
            while not all(request.done() for request in requests):
                began = time.monotonic()
                assert client.get("/healthz").status == 200
                slowest = max(slowest, time.monotonic() - began)
        assert {request.result().status for request in requests} == {200}
        assert slowest < 3
        program.process.send_signal(signal.SIGTERM)
        assert program.ended()[0] == 0


@pytest.mark.parametrize("server", ["paste", "granian"])
def test_a_request_running_at_sigterm_is_finished(tmp_path: Path, server: str) -> None:
    with running(tmp_path / "a", SERVER=server) as program:
        client = Client(program.port())
        parts = [("store", "a"), ("token", client.token("a")), ("f", ("f", bytes(4 * MEGABYTE)))]
        body, content_type = multipart_body(parts)
        head = f"POST /fileupload HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
            connection.sendall(head.encode() + body[:-500])
            wait_for_upload(tmp_path / "a")
            program.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(body[-500:])
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        assert program.ended()[0] == 0
    assert (tmp_path / "a/originals/a").stat().st_size == 4 * MEGABYTE


def test_without_a_key_the_first_start_prints_one_and_the_second_does_not(tmp_path: Path) -> None:
    with running(tmp_path / "a", ATTACHMENT_KEY="") as program:
        program.wait_for("No key is configured")
        program.wait_for("/.asset-server/key")
        program.wait_for("\n")
        key = program.wait_for("        ").strip()
        client = Client(program.port(), key)
        assert client.get("/testkey", random="1", token=client.token("1")).status == 200
    with running(tmp_path / "a", ATTACHMENT_KEY="") as program:
        client = Client(program.port(), key)
        assert client.get("/testkey", random="1", token=client.token("1")).status == 200
        assert not any(key in line for line in program.lines)


def test_key_none_disables_checking_with_a_warning(tmp_path: Path) -> None:
    with running(tmp_path / "a", ATTACHMENT_KEY="None") as program:
        program.wait_for("anyone who can reach this server can upload and delete")
        assert Client(program.port()).get("/testkey").status == 200


def wait_for_answers(program: Program, client: Client) -> None:
    """Waits for a web server that says that it listens before it does."""
    program.wait_for("listening on")
    for _ in range(600):
        with contextlib.suppress(ConnectionRefusedError):
            assert "It works!" in client.get("/").text
            return
        time.sleep(0.1)
    raise AssertionError("nobody answers")


@pytest.mark.parametrize("server", ["wsgiref", "paste"])
def test_the_program_runs_from_any_folder_with_any_server(tmp_path: Path, server: str) -> None:
    port = str(free_port())
    (tmp_path / "a").mkdir()
    program = Program(
        {"BASE_DIR": str(tmp_path / "a"), "PORT": port, "BIND_ADDRESS": "127.0.0.1", "SERVER": server}, folder=tmp_path
    )
    try:
        client = Client(int(port))
        wait_for_answers(program, client)
        assert client.get("/web_asset_store.xml").status == 200
    finally:
        program.process.kill()
        program.ended()


def test_the_wsgi_callable_serves_without_the_program(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r}); import server, wsgiref.util, wsgiref.validate\n"
        "environ = {'PATH_INFO': '/web_asset_store.xml'}; wsgiref.util.setup_testing_defaults(environ)\n"
        "answer = []\n"
        "body = server.application(environ, lambda status, headers, info=None: answer.append(status))\n"
        "print('ANSWER', answer[0], b''.join(body).count(b'<url '))"
    )
    (tmp_path / "a").mkdir()
    program = Program({"BASE_DIR": str(tmp_path / "a"), "KEY": "k"}, ("-c", script), tmp_path)
    status, printed = program.ended()
    assert status == 0
    assert "ANSWER 200 OK 5" in printed


def test_gunicorn_serves_by_the_documented_command(tmp_path: Path) -> None:
    documented = (PROJECT / "docs/serving.md").read_text(encoding="utf-8")
    found = re.search(r"`gunicorn --bind 127.0.0.1:8080 (.*?)`", documented)
    assert found
    (tmp_path / "a").mkdir()
    command = ("-m", "gunicorn", "--chdir", str(PROJECT), "--bind", "127.0.0.1:0", *shlex.split(found[1]))
    program = Program({"BASE_DIR": str(tmp_path / "a"), "KEY": KEY}, command, tmp_path)
    try:
        client = Client(int(program.wait_for("Listening at: ").split("127.0.0.1:")[1].split()[0]))
        assert client.upload("a.jpg", pictures.jpeg()).text == "Ok."
        assert client.thumbnail("a.jpg").status == 200
        assert client.get("/fileget", filename="a.jpg").body == pictures.jpeg()
    finally:
        program.process.terminate()
        program.ended()


def test_a_long_upload_does_not_outlive_its_token_under_other_web_servers(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path / "a", SERVER="wsgiref", PORT=str(port), TIME_TOLERANCE="2") as program:
        client = Client(port)
        wait_for_answers(program, client)
        body, content_type = multipart_body(
            [("f", ("f", b"slow")), ("store", "a"), ("token", newest_token(client, "a"))]
        )
        head = f"POST /fileupload HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(head.encode() + body[:50])
            time.sleep(3.2)
            connection.sendall(body[50:])
            assert b" 200 OK" in connection.recv(1000)


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"PORT": "http"}, "The environment variable PORT is 'http'; expected a whole"),
        ({"SERVER": "apache"}, "SERVER is 'apache'; expected one that is installed here: granian, paste"),
        ({"SERVER": "Paste"}, "SERVER is 'Paste'; expected one that is installed here: granian, paste"),
        ({"SERVER": "bjoern"}, "SERVER is 'bjoern', which is not installed"),
        ({"BASE_DIR": "/nowhere/at/all"}, "BASE_DIR: there is no folder /nowhere/at/all."),
        ({"BIND_ADDRESS": "203.0.113.1"}, "BIND_ADDRESS is '203.0.113.1', which is not an address of this machine"),
        ({"BASE_DIR": "/proc"}, "BASE_DIR: the server cannot write there: /proc/originals"),
    ],
)
def test_an_invalid_setting_is_reported_in_one_line(tmp_path: Path, environ: dict[str, str], line: str) -> None:
    base = {"BASE_DIR": str(tmp_path), "PORT": "0", "BIND_ADDRESS": "127.0.0.1", "KEY": "k"}
    status, printed = Program({**base, **environ}).ended()
    assert status == 1
    assert printed.splitlines()[-1].startswith(f"The asset server cannot start. {line}")
    assert "Traceback" not in printed


@pytest.mark.skipif(os.geteuid() != 0, reason="requires root")
def test_root_is_warned_at_the_start(tmp_path: Path) -> None:
    with running(tmp_path / "a") as program:
        program.wait_for(" WARNING The server runs as root.")


def test_object_storage_without_its_library_stops_the_start_with_one_line(tmp_path: Path) -> None:
    without = "import runpy, sys; sys.modules['obstore'] = None; runpy.run_path('server.py', {}, '__main__')"
    environ = {"BASE_DIR": str(tmp_path), "KEY": KEY, "STORAGE_URL": "s3://bucket", "AWS_ACCESS_KEY_ID": "a"}
    status, printed = Program({**environ, "PORT": "0"}, ("-c", without)).ended()
    assert status == 1
    line = "STORAGE_URL requires the library obstore, which is not installed: "
    assert printed.splitlines()[-1].startswith(f"The asset server cannot start. {line}")
    assert "Traceback" not in printed


WITHOUT_GRANIAN = "import runpy, sys; sys.modules['granian'] = None; runpy.run_path('server.py', {}, '__main__')"


def test_without_granian_paste_serves_and_the_log_says_so(tmp_path: Path) -> None:
    environ = {"BASE_DIR": str(tmp_path), "KEY": KEY, "PORT": "0", "BIND_ADDRESS": "127.0.0.1", "SERVER": "granian"}
    program = Program(environ, ("-c", WITHOUT_GRANIAN))
    try:
        program.wait_for("Granian is not installed")
        assert Client(program.port()).get("/healthz").text == "ok"
    finally:
        program.process.kill()
        program.ended()
    files = {"TLS_CERTIFICATE": "a", "TLS_KEY": "b"}
    status, printed = Program({**environ, **files}, ("-c", WITHOUT_GRANIAN)).ended()
    assert status == 1
    assert "TLS_CERTIFICATE requires Granian, which is not installed" in printed.splitlines()[-1]


def test_several_processes_select_granian_and_the_log_says_so(tmp_path: Path) -> None:
    with running(tmp_path / "a", PROCESSES="2") as program:
        program.wait_for("PROCESSES is 2, so Granian is used")
        assert Client(program.port()).get("/healthz").text == "ok"


@pytest.mark.parametrize("environ", [{}, {"SERVER": "granian"}, {"PROCESSES": "2"}])
def test_a_port_in_use_is_reported(tmp_path: Path, environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        own = {"BASE_DIR": str(tmp_path), "PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "KEY": "k"}
        status, printed = Program({**own, **environ}).ended()
    assert status == 1
    assert printed.splitlines()[-1] == f"The asset server cannot start. PORT {port} is in use by another program."


def stream_upload(client: Client, name: str, size: int) -> None:
    """Uploads *size* bytes of a repeated pattern without holding them."""
    block = bytes(range(256)) * 4096
    body, content_type = multipart_body([("store", name), ("token", client.token(name)), ("f", ("f", b"@@"))])
    before, after = body.split(b"@@")
    length = len(before) + size + len(after)
    head = f"POST /fileupload HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=120) as connection:
        connection.sendall(head.encode() + before)
        for start in range(0, size, len(block)):
            connection.sendall(block[: min(len(block), size - start)])
        connection.sendall(after)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")


def holds_pattern(path: Path, size: int) -> bool:
    block = bytes(range(256)) * 4096
    with open(path, "rb") as file:
        blocks_are_right = all(
            file.read(len(block)) == block[: min(len(block), size - start)] for start in range(0, size, len(block))
        )
        return blocks_are_right and not file.read(1)


def stream_download(client: Client, name: str, size: int) -> bool:
    """Reads an original of the repeated pattern without holding it; says whether it came whole."""
    block = bytes(range(256)) * 4096
    with socket.create_connection(("127.0.0.1", client.port), timeout=120) as connection:
        connection.sendall(f"GET /fileget?filename={name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            while answer.readline() != b"\r\n":
                pass
            return all(
                answer.read(len(block)) == block[: min(len(block), size - start)]
                for start in range(0, size, len(block))
            )


@pytest.mark.parametrize("large", [300 * MEGABYTE, pytest.param(1500 * MEGABYTE, marks=pytest.mark.acceptance)])
@pytest.mark.parametrize("server", ["paste", "granian"])
def test_large_files_are_transferred_intact_in_constant_memory_and_written_once(
    tmp_path: Path, server: str, large: int
) -> None:
    small = 20 * MEGABYTE
    with running(tmp_path / "a", SERVER=server) as program:
        client = Client(program.port())
        stream_upload(client, "small.tif", small)
        assert stream_download(client, "small.tif", small)
        process = program.process.pid if server == "paste" else children(program.process.pid)[0]
        written_before, peak_before = counters(process)
        stream_upload(client, "large.tif", large)
        assert stream_download(client, "large.tif", large)
        written, peak = counters(process)
        # What Granian sends counts as written, too (writev); what Paste sends does not (send).
        copies = 1 if server == "paste" else 2
    assert holds_pattern(tmp_path / "a/originals/large.tif", large)
    assert (written - written_before) / large < copies + 0.01, "bytes written per byte sent"
    assert peak - peak_before < 16 * MEGABYTE
    (tmp_path / "a/originals/large.tif").unlink()
