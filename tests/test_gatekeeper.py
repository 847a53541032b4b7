"""gatekeeper: says of kept thumbnails what the server would say, and leaves everything else to it."""

import contextlib
import errno
import http.client
import io
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from assetstore import serving, tokens
from assetstore.gatekeeper import listening, memory
from assetstore.gatekeeper.judging import ASK_THE_SERVER, Gatekeeper
from assetstore.gatekeeper.listening import Loop
from assetstore.storage import Version
from tests import pictures
from tests.support import KEY, Client, RunningServer
from tests.test_gunicorn import environ_for, free_port
from tests.test_live import Program, children

UUID = "7ab24b22-1fcd-4d3a-9d58-0123456789ab"
NAME = f"{UUID}.jpg"
PRIVATE = {"REQUIRE_KEY_FOR_GET": True, "ACCEL_REDIRECT": "/protected-store", "TRUSTED_PROXIES": ["127.0.0.1"]}
REQUEST_ID = "0123456789abcdef"

Start = Callable[..., RunningServer]


def gatekeeper_of(server: RunningServer) -> Gatekeeper:
    return Gatekeeper(server.settings, server.opened.collections, server.opened.thumbnails)


@pytest.fixture
def private(start: Start) -> RunningServer:
    """A server that checks tokens for reading, with one kept thumbnail of 100 pixels."""
    server = start(**PRIVATE)
    assert server.upload(NAME, pictures.jpeg()).status == 200
    assert server.get("/fileget", **wish(server)).status == 200
    return server


def wish(server: Client, **changes: object) -> dict[str, object]:
    query = {"type": "T", "filename": NAME, "scale": 100, "token": server.token(NAME), **changes}
    return {name: value for name, value in query.items() if value is not None}


def head(query: str, method: str = "GET", path: str = "/fileget", **headers: str) -> bytes:
    lines = {"X-Request-Id": REQUEST_ID, "Host": "asset_gatekeeper", **headers}
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path}?{query} HTTP/1.1\r\n{fields}\r\n".encode("latin-1")


class _Answer(io.BytesIO):
    """An answer as a socket gives it."""

    def makefile(self, *_arguments: object) -> "_Answer":
        return self


def understood(answer: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers, without those that differ from one answer to the next."""
    response = http.client.HTTPResponse(_Answer(answer))  # type: ignore[arg-type]
    response.begin()
    found = {name.lower(): value for name, value in response.getheaders()}
    for name in ("date", "server", "connection", "x-timestamp", "x-request-id", "content-length"):
        found.pop(name, None)
    return response.status, found


def of_server(server: RunningServer, query: str, **headers: str) -> tuple[int, dict[str, str]]:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = server.request("GET", f"/fileget?{query}", headers=lines)
    found = {name.lower(): value for name, value in answer.headers.items()}
    for name in ("date", "server", "connection", "x-timestamp", "x-request-id", "content-length"):
        found.pop(name, None)
    return answer.status, found


# --- what it says ----------------------------------------------------------------------------------------------------


def test_a_kept_thumbnail_with_a_right_token_may_be_sent_with_the_headers_of_the_server(private: RunningServer) -> None:
    for changes in ({}, {"downloadname": "Größe 1.jpg"}, {"coll": "KU Fish", "x": "y"}, {"scale": 100}):
        query = urlencode(wish(private, **changes))
        answer = gatekeeper_of(private).answer(head(query))
        assert understood(answer) == of_server(private, query)
        assert understood(answer)[1]["x-accel-redirect"] == f"/protected-store/thumbnails/{UUID}_100.jpg"
        assert f"X-Request-Id: {REQUEST_ID}".encode() in answer


def test_who_has_it_already_hears_so_as_from_the_server(private: RunningServer) -> None:
    query = urlencode(wish(private))
    tag = of_server(private, query)[1]["etag"]
    gatekeeper = gatekeeper_of(private)
    for header in (
        {"If_None_Match": f'"x", W/{tag}'},
        {"If_Modified_Since": formatdate(time.time() + 60, usegmt=True)},
    ):
        answer = gatekeeper.answer(head(query, **header))
        assert understood(answer) == of_server(private, query, **header)
        assert understood(answer)[0] == 304
        assert b"content-length" not in answer.lower()
    assert understood(gatekeeper.answer(head(query, If_None_Match='"x"')))[0] == 200


def test_wrong_old_and_missing_tokens_are_for_the_server(private: RunningServer) -> None:
    old, other_key = tokens.make(KEY, NAME, int(time.time()) - 1000), tokens.make("x" * 32, NAME, int(time.time()))
    gatekeeper = gatekeeper_of(private)
    for token in (old, other_key, private.token("other.jpg"), "", "nonsense", None):
        query = urlencode(wish(private, token=token))
        assert gatekeeper.answer(head(query)) == ASK_THE_SERVER, token
        assert of_server(private, query)[0] == 403, token


@pytest.mark.parametrize(
    "changes",
    [
        {"type": None},
        {"type": "O"},
        {"type": "t"},
        {"scale": None},
        {"scale": 101},
        {"scale": "0100"},
        {"filename": None},
        {"filename": ""},
        {"filename": "../" + NAME},
        {"filename": f"{UUID}_100.jpg"},
        {"filename": ".asset-server"},
    ],
)
def test_what_is_no_kept_thumbnail_is_for_the_server(private: RunningServer, changes: dict[str, object]) -> None:
    query = wish(private, **changes)
    query["token"] = private.token(str(query.get("filename", "")))
    assert gatekeeper_of(private).answer(head(urlencode(query))) == ASK_THE_SERVER


@pytest.mark.parametrize("name", ["type", "filename", "scale", "token"])
def test_parameters_that_come_twice_are_for_the_server(private: RunningServer, name: str) -> None:
    query = wish(private)
    doubled = f"{urlencode(query)}&{urlencode({name: query[name]})}"
    assert gatekeeper_of(private).answer(head(doubled)) == ASK_THE_SERVER


def test_other_methods_routes_and_headers_are_for_the_server(private: RunningServer) -> None:
    query, gatekeeper = urlencode(wish(private)), gatekeeper_of(private)
    heads = [head(query, method) for method in ("HEAD", "POST", "DELETE", "get")]
    heads += [head(query, path=path) for path in ("/getmetadata", "/fileget/", "//fileget", "/%66ileget", "/")]
    headers = {"Range": "bytes=0-1", "If_Range": "x", "If_Match": "*", "If_Unmodified_Since": "x", "Expect": "x"}
    headers |= {"Content_Length": "0", "Transfer_Encoding": "chunked"}
    heads += [head(query, **{name: value}) for name, value in headers.items()]
    heads += [head(query, X_Request_Id=name) for name in ("", "short", "with blank 123", "x" * 65)]
    heads += [head(query)[:-2] + b"X-Request-Id: 0123456789abcdef\r\n\r\n", head(query)[:-2] + b"no header\r\n\r\n"]
    heads += [b"", b"\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", head(query).replace(b"HTTP/1.1", b"HTTP/1.0")]
    heads += [head(query + "#x"), head(query + " x")]
    for one in heads:
        assert gatekeeper.answer(one) == ASK_THE_SERVER, one


def test_deleted_and_replaced_originals_are_for_the_server_at_once(private: RunningServer) -> None:
    gatekeeper, query = gatekeeper_of(private), head(urlencode(wish(private)))
    thumbnail = private.thumbnails / f"{UUID}_100.jpg"
    picture, status = thumbnail.read_bytes(), thumbnail.stat()
    assert gatekeeper.answer(query) != ASK_THE_SERVER
    assert private.upload(NAME, pictures.jpeg(orientation=6)).status == 200
    assert gatekeeper.answer(query) == ASK_THE_SERVER
    # Not even if the old thumbnail comes back, out of a backup for example.
    thumbnail.write_bytes(picture)
    os.utime(thumbnail, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert gatekeeper.answer(query) == ASK_THE_SERVER
    assert private.get("/fileget", **wish(private)).status == 200
    assert gatekeeper.answer(query) != ASK_THE_SERVER
    assert private.delete(NAME).status == 200
    assert gatekeeper.answer(query) == ASK_THE_SERVER


def test_what_is_remembered_counts_only_for_the_same_files(private: RunningServer) -> None:
    gatekeeper, query = gatekeeper_of(private), head(urlencode(wish(private)))
    first = gatekeeper.answer(query)
    assert understood(gatekeeper.answer(query)) == understood(first)
    original, thumbnail = private.originals / NAME, private.thumbnails / f"{UUID}_100.jpg"
    # Bytes in place, and the dates put back.
    for path in (thumbnail, original):
        before = path.stat()
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        again = gatekeeper.answer(query)
        assert understood(again) == of_server(private, urlencode(wish(private)))
        assert (understood(again) != understood(first)) == (path == thumbnail), "the tag is the thumbnail's"
        first = again
    os.utime(original)
    assert gatekeeper.answer(query) == ASK_THE_SERVER
    original.unlink()
    assert gatekeeper.answer(query) == ASK_THE_SERVER


def test_a_name_to_save_by_is_of_one_answer_only(private: RunningServer) -> None:
    gatekeeper = gatekeeper_of(private)
    for name in ("a.jpg", None, "b.jpg", "a.jpg"):
        query = urlencode(wish(private, downloadname=name))
        assert understood(gatekeeper.answer(head(query))) == of_server(private, query)


def test_long_names_to_save_by_fill_no_memory(private: RunningServer) -> None:
    gatekeeper = gatekeeper_of(private)
    for name in ("x" * 10_000 + ".jpg", "ö" * 2000):
        query = urlencode(wish(private, downloadname=name))
        assert understood(gatekeeper.answer(head(query))) == of_server(private, query)
        assert len(gatekeeper.memory) == 0
    gatekeeper.answer(head(urlencode(wish(private, downloadname="short.jpg"))))
    assert len(gatekeeper.memory) == 1


def test_only_so_many_answers_are_remembered(private: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_ANSWERS", 2)
    remembered, made = memory.Memory(), memory.identity(private.originals / NAME)
    assert made is not None
    files = (made, made)
    answers = memory.Remembered(files, Version(1, 1, 1, '"a"'), b"sent", b"unchanged")
    wishes = [memory.Wish("", name, 100, None) for name in ("a", "b", "c")]
    remembered.remember(wishes[0], answers)
    remembered.remember(wishes[1], answers)
    assert remembered.recall(wishes[0], files) == answers
    remembered.remember(wishes[2], answers)
    assert [remembered.recall(wish, files) is not None for wish in wishes] == [True, False, True]


def test_each_collection_has_its_own_thumbnails(start: Start) -> None:
    server = start(**PRIVATE, COLLECTION_DIRS={"KU Fish": "fish/all", "KU Birds": "birds"})
    server.upload(NAME, pictures.jpeg(), coll="KU Fish")
    assert server.get("/fileget", **wish(server, coll="KU Fish")).status == 200
    gatekeeper = gatekeeper_of(server)
    found = understood(gatekeeper.answer(head(urlencode(wish(server, coll="KU Fish")))))[1]
    assert found["x-accel-redirect"] == f"/protected-store/fish/all/thumbnails/{UUID}_100.jpg"
    for collection in ("KU Birds", "KU Herps", "", None):
        assert gatekeeper.answer(head(urlencode(wish(server, coll=collection)))) == ASK_THE_SERVER


def test_a_thumbnail_that_is_a_link_is_for_the_server_which_knows_where_it_may_lead(private: RunningServer) -> None:
    thumbnail, other = private.thumbnails / f"{UUID}_100.jpg", private.thumbnails / "other.jpg"
    thumbnail.rename(other)
    thumbnail.symlink_to(other)
    query = urlencode(wish(private))
    assert gatekeeper_of(private).answer(head(query)) == ASK_THE_SERVER
    assert private.get(f"/fileget?{query}").body == other.read_bytes()


def test_without_a_key_for_reading_it_needs_no_token(start: Start) -> None:
    server = start(**{**PRIVATE, "REQUIRE_KEY_FOR_GET": False})
    server.upload(NAME, pictures.jpeg())
    assert server.thumbnail(NAME, 100).status == 200
    query = urlencode(wish(server, token=None))
    assert understood(gatekeeper_of(server).answer(head(query))) == of_server(server, query)


_TYPE = st.sampled_from(["type=T", "type=T", "%74ype=T", "type=%54", "type=O", "Type=T"])
_SCALE = st.sampled_from(["scale=100", "scale=100", "scale=%3100", "scale=+100", "scale=100+", "scale=99"])
_FILE = st.sampled_from(
    [f"filename={NAME}", f"filename={NAME.replace('-', '%2D')}", f"filename=+{NAME}", "filename=%ff"]
)
_OTHERS = [
    "coll=a",
    "coll=%ff",
    "downloadname=b.jpg",
    "downloadname=%0d%0aX:y",
    "x",
    "=",
    "%",
    "amp;scale=100",
    "token=",
]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(_TYPE, _SCALE, _FILE, st.lists(st.sampled_from(_OTHERS), max_size=2), st.randoms(use_true_random=False))
def test_whatever_it_is_asked_its_yes_is_the_yes_of_the_server(
    private: RunningServer, kind: str, scale: str, file: str, others: list[str], order: random.Random
) -> None:
    pieces = [kind, scale, file, urlencode({"token": private.token(NAME)}), *others]
    order.shuffle(pieces)
    query = "&".join(pieces)
    answer = gatekeeper_of(private).answer(head(query))
    event("yes" if answer != ASK_THE_SERVER else "for the server")
    if answer != ASK_THE_SERVER:
        assert understood(answer) == of_server(private, query)


# --- the loop --------------------------------------------------------------------------------------------------------


class Listener(socket.socket):
    """A listening socket whose process has no descriptors for others as long as the test wants."""

    full = False
    tried = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.tried += 1
        if self.full:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


@contextlib.contextmanager
def looping(answer: Callable[[bytes], bytes], listener: socket.socket | None = None) -> Iterator[int]:
    """A running loop; gives its port."""
    listener = listener or serving.listen(("127.0.0.1", 0))
    port, loop = listener.getsockname()[1], Loop(listener, answer)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield port
    finally:
        loop.stop()
        thread.join()
    with socket.socket() as late:
        assert late.connect_ex(("127.0.0.1", port))


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def echo(data: bytes) -> bytes:
    return data.upper()


def test_a_connection_gets_one_answer_after_the_other() -> None:
    with looping(echo) as port, connected(port) as one, connected(port) as other:
        for number in range(3):
            for connection in (one, other):
                connection.sendall(f"get {number}\r\n\r\n".encode())
                assert connection.recv(1000) == f"GET {number}\r\n\r\n".encode()


def test_heads_may_come_in_pieces_and_hold_up_nobody() -> None:
    with looping(echo) as port, connected(port) as slow, connected(port) as quick:
        for piece in (b"a", b"b\r\n", b"\r"):
            slow.sendall(piece)
            quick.sendall(b"c\r\n\r\n")
            assert quick.recv(1000) == b"C\r\n\r\n"
        slow.sendall(b"\n")
        assert slow.recv(1000) == b"AB\r\n\r\n"


@pytest.mark.parametrize("said", [b"a\r\n\r\nb\r\n\r\n", b"a\r\n\r\nbody", b"a" * 70_000, b""])
def test_who_speaks_otherwise_than_nginx_is_hung_up_on(said: bytes) -> None:
    with looping(echo) as port, connected(port) as odd, connected(port) as good:
        odd.sendall(said)
        odd.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert odd.recv(1000) == b""
        good.sendall(b"c\r\n\r\n")
        assert good.recv(1000) == b"C\r\n\r\n"


def test_a_fault_of_one_request_is_the_server_s_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(data: bytes) -> bytes:
        if data.startswith(b"fail"):
            raise RuntimeError("odd")
        return data

    with looping(fail) as port, connected(port) as connection:
        for said, expected in ((b"fail\r\n\r\n", ASK_THE_SERVER), (b"ok\r\n\r\n", b"ok\r\n\r\n")):
            connection.sendall(said)
            assert connection.recv(1000) == expected
    assert "RuntimeError: odd" in caplog.text


def test_of_too_many_connections_the_oldest_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MOST_CONNECTIONS", 3)
    with looping(echo) as port, contextlib.ExitStack() as opened:
        connections = [opened.enter_context(connected(port)) for _ in range(5)]
        for connection in connections[2:]:
            connection.sendall(b"c\r\n\r\n")
            assert connection.recv(1000) == b"C\r\n\r\n"
        for connection in connections[:2]:
            assert connection.recv(1000) == b""


def test_without_free_descriptors_it_tries_again_later_rather_than_all_the_time() -> None:
    with Listener(fileno=serving.listen(("127.0.0.1", 0)).detach()) as listener:
        listener.full = True
        with looping(echo, listener) as port, connected(port) as connection:
            connection.sendall(b"c\r\n\r\n")
            time.sleep(1.2)
            assert 1 <= listener.tried < 20
            listener.full = False
            assert connection.recv(1000) == b"C\r\n\r\n"


def test_a_connection_that_cannot_be_watched_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with looping(echo) as port, connected(port) as good:
        good.sendall(b"a\r\n\r\n")
        assert good.recv(1000) == b"A\r\n\r\n"
        with monkeypatch.context() as patch:
            patch.setattr(socket, "TCP_NODELAY", 9999)  # what no kernel knows
            with connected(port) as odd:
                assert odd.recv(1000) == b""
        good.sendall(b"b\r\n\r\n")
        assert good.recv(1000) == b"B\r\n\r\n"


# --- the process -----------------------------------------------------------------------------------------------------


def asked(port: int, data: bytes) -> bytes:
    with connected(port) as connection:
        connection.sendall(data)
        return connection.recv(10_000)


def test_the_program_keeps_a_gate_and_opens_it_again_when_its_keeper_was_killed(tmp_path: Path) -> None:
    gate, base = free_port(), tmp_path / "a"
    base.mkdir()
    own = {"GATEKEEPER_ADDRESS": f"127.0.0.1:{gate}", "ACCEL_REDIRECT": "/protected-store"}
    program = Program(environ_for(base, REQUIRE_KEY_FOR_GET="True", **own))
    try:
        client = Client(program.port())
        assert program.lines[-1].endswith("by 1 process\n")
        assert client.upload(NAME, pictures.jpeg()).status == 200
        assert client.get("/fileget", **wish(client)).status == 200
        query = head(urlencode(wish(client)))
        assert understood(asked(gate, query))[0] == 200
        keeper = max(children(program.process.pid))  # begun last
        os.kill(keeper, signal.SIGKILL)
        program.wait_for(f"process {keeper} ended with -9; another one begins")
        assert understood(asked(gate, query))[0] == 200
        assert client.get("/healthz").status == 200
        program.process.terminate()
        assert program.ended()[0] == 0
    finally:
        program.process.kill()
        program.ended()


@pytest.mark.parametrize("stuck", [max, min])  # the gatekeeper, which is begun last; the server
def test_a_process_that_hangs_keeps_no_address_of_the_others(tmp_path: Path, stuck: Callable[[list[int]], int]) -> None:
    gate, base = free_port(), tmp_path / "a"
    base.mkdir()
    own = {"GATEKEEPER_ADDRESS": f"127.0.0.1:{gate}", "ACCEL_REDIRECT": "/protected-store"}
    program = Program(environ_for(base, **own))
    port = program.port()
    assert Client(port).get("/healthz").status == 200
    assert asked(gate, head("x")) == ASK_THE_SERVER
    process = stuck(children(program.process.pid))
    os.kill(process, signal.SIGSTOP)  # as if its disk did not answer
    try:
        program.process.kill()
        deadline = time.monotonic() + 30
        while listens(port if stuck is max else gate):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.kill(process, signal.SIGKILL)
        program.ended()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_busy_address_of_the_gate_stops_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        own = {"GATEKEEPER_ADDRESS": f"127.0.0.1:{port}", "ACCEL_REDIRECT": "/protected-store"}
        (tmp_path / "a").mkdir()
        status, printed = Program(environ_for(tmp_path / "a", **own)).ended()
    assert status != 0
    assert f"GATEKEEPER_ADDRESS {port} is in use by another program." in printed


def test_without_nginx_s_part_the_gate_stays_shut_and_the_log_says_why(tmp_path: Path) -> None:
    gate = free_port()
    (tmp_path / "a").mkdir()
    program = Program(environ_for(tmp_path / "a", GATEKEEPER_ADDRESS=f"127.0.0.1:{gate}"))
    try:
        program.wait_for("GATEKEEPER_ADDRESS has no effect without ACCEL_REDIRECT")
        program.port()
        assert not listens(gate)
    finally:
        program.process.terminate()
        program.ended()
