"""gunicorn with two processes and deploy/gunicorn.conf.py: together they are one server.

The id of each answer begins with the number of the process that gave it; so the tests can see to it that
both have their share.
"""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import pictures
from tests.support import KEY, PROJECT, Client, is_of_this_run, multipart_body, newest_token, visible_files, with_query
from tests.test_live import MEGABYTE, Program

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
        assert is_of_this_run(int(answer.headers["x-timestamp"]))
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
        assert is_of_this_run(int(answer.headers["x-timestamp"]))
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"]


def upload_head(content_type: str, framing: str) -> bytes:
    return f"POST /fileupload HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n".encode()


def begin_upload(client: Client, size: int = 1000) -> tuple[socket.socket, bytes]:
    """An upload of *size* bytes of which half is sent; returns the connection and the other half."""
    body, content_type = multipart_body(
        [("f", ("f", bytes(size))), ("store", "a"), ("token", newest_token(client, "a"))]
    )
    head = upload_head(content_type, f"Content-Length: {len(body)}")
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=30)
    connection.sendall(head + body[: size // 2])
    return connection, body[size // 2 :]


def test_a_slow_upload_outlives_neither_its_token_nor_its_process(tmp_path: Path) -> None:
    # gunicorn does not tell when a request began to arrive; the application is called when its head is there.
    with gunicorn(tmp_path / "a", "--timeout", "3", TIME_TOLERANCE="2") as (program, client):
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
