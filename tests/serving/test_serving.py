"""serving: the web servers with slow, careless and hostile clients; the same rules apply to all of them."""

import contextlib
import http.client
import re
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support import RunningServer, multipart_body, newest_token, visible_files

EVERY_SERVER = True

Start = Callable[..., RunningServer]

HALF_AN_UPLOAD = (
    b"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    b"Content-Length: 100000\r\n\r\n--b\r\n"
)


def ask_testkey(server: RunningServer) -> int:
    return server.get("/testkey", random="1", token=server.token("1")).status


@contextlib.contextmanager
def connections(
    server: RunningServer, number: int, data: bytes, source: str = "127.0.0.1"
) -> Iterator[list[socket.socket]]:
    """Clients of one address that say this much and then fall silent."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(number):
            address = ("127.0.0.1", server.port)
            client = stack.enter_context(socket.create_connection(address, timeout=30, source_address=(source, 0)))
            client.sendall(data)
            clients.append(client)
        yield clients


def head_of_upload(content_type: str, length: int, *fields: str) -> bytes:
    lines = ["POST /fileupload HTTP/1.1", "Host: x", f"Content-Type: {content_type}", f"Content-Length: {length}"]
    return "\r\n".join([*lines, *fields, "\r\n"]).encode()


def slow_upload(client: socket.socket, head: bytes, body: bytes, at: int, seconds: float) -> bytes:
    """Sends an upload with a pause in it; returns the response, all that comes of it at once."""
    client.sendall(head + body[:at])
    time.sleep(seconds)
    client.sendall(body[at:])
    return client.recv(1000)


def test_http_1_0_from_a_proxy_is_answered(server: RunningServer) -> None:
    request = b"GET /web_asset_store.xml HTTP/1.0\r\nHost: museum.org\r\nConnection: close\r\n\r\n"
    assert server.raw(request, finish=False).status == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Length: five\r\n\r\n", 400),
        (b"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (b"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Y: z\r\n" * 200 + b"\r\n", 431),
        (b"GET /%zz%FF HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
)
def test_malformed_requests_are_rejected_and_the_server_continues(
    server: RunningServer, web_server: str, request_bytes: bytes, status: int
) -> None:
    response = server.raw(request_bytes, finish=False)
    assert response.status // 100 in (4, 5)
    if web_server == "paste":
        assert response.status in (status, 505)
        assert response.headers["content-type"] == "text/plain; charset=UTF-8"
        assert 10 < len(response.text) < 200
    assert ask_testkey(server) == 200


@pytest.mark.parametrize("path", [b"/fileupload", b"/filedelete"])
def test_bodies_of_unknown_length_are_rejected_before_they_are_read(server: RunningServer, path: bytes) -> None:
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = server.raw(head, finish=False)  # nothing of the body has been sent
    assert response.status == 411
    assert "Content-Length" in response.text
    assert response.headers["access-control-allow-origin"] == "*"


def test_absolute_request_targets_are_accepted(server: RunningServer) -> None:
    request = b"GET http://museum.org/web_asset_store.xml?x=1 HTTP/1.1\r\nHost: museum.org\r\n\r\n"
    assert server.raw(request, finish=False).status == 200


def test_a_path_is_not_normalised(server: RunningServer) -> None:
    server.upload("a.txt", b"x")
    up = b"GET /static/originals/../originals/a.txt HTTP/1.1\r\nHost: x\r\n\r\n"
    assert server.raw(up, finish=False).status in (400, 404)
    assert server.raw(b"GET /nothing/../testkey HTTP/1.1\r\nHost: x\r\n\r\n", finish=False).status == 404


def test_non_ascii_paths_are_passed_on_unchanged(server: RunningServer) -> None:
    server.upload("植物.txt", b"x")
    assert server.get("/static/originals/%E6%A4%8D%E7%89%A9.txt").body == b"x"
    raw = "GET /static/originals/植物.txt HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    assert server.raw(raw, finish=False).body == b"x"
    # Two of the bytes of these letters are blanks in ISO-8859-1.
    server.upload("voilà Å.txt", b"y")
    raw = "GET /static/originals/voilà%20Å.txt HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    assert server.raw(raw, finish=False).body == b"y"


@pytest.mark.paste_only
def test_an_invalid_request_target_is_rejected(server: RunningServer) -> None:
    assert server.raw(b"GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n", finish=False).status == 400


@pytest.mark.paste_only
def test_headers_with_underscores_are_ignored(start: Start) -> None:
    server = start(TRUSTED_PROXIES=("127.0.0.1",))
    request = b"GET /web_asset_store.xml HTTP/1.1\r\nHost: x\r\nX_Forwarded_Proto: https\r\n\r\n"
    assert "https" not in server.raw(request, finish=False).text


def test_a_rejected_upload_is_drained_so_that_the_client_reads_the_reason(server: RunningServer) -> None:
    body, content_type = multipart_body([("store", "a"), ("token", "bad"), ("f", ("f", bytes(30_000_000)))])
    response = server.request("POST", "/fileupload", body, {"Content-Type": content_type})
    assert response.status == 403
    assert "token" in response.text
    assert visible_files(server.originals) == []


def test_a_token_before_the_file_is_checked_before_the_file_is_read(server: RunningServer) -> None:
    body, content_type = multipart_body([("store", "a"), ("token", "bad:1"), ("f", ("f", bytes(100_000)))])
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        # Only a part of the file comes; the answer of a server that waited for more would not.
        client.sendall(head_of_upload(content_type, len(body)) + body[:20_000])
        wait_for_refusal(server)
    assert list(server.base.rglob("upload-*")) == []


def wait_for_refusal(server: RunningServer) -> None:
    """Waits until nothing is being received: the upload was refused, or never stored."""
    for _ in range(100):
        assert list(server.base.rglob("upload-*")) == []
        time.sleep(0.02)


def test_a_client_that_expects_100_continue_gets_it(server: RunningServer) -> None:
    body, content_type = multipart_body([("store", "a"), ("token", server.token("a")), ("f", ("f", b"content"))])
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(head_of_upload(content_type, len(body), "Expect: 100-continue"))
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    assert (server.originals / "a").read_bytes() == b"content"


def test_a_long_upload_does_not_outlive_its_token(start: Start) -> None:
    server = start(TIME_TOLERANCE=2)
    ask_testkey(server)  # a process that is only starting would count from its first look
    body, content_type = multipart_body([("f", ("f", b"slow")), ("store", "a"), ("token", newest_token(server, "a"))])
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        response = slow_upload(client, head_of_upload(content_type, len(body)), body, 50, 3.2)
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_idle_time_before_a_request_does_not_age_its_token(start: Start) -> None:
    server = start(TIME_TOLERANCE=2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        time.sleep(3.2)
        request = f"GET /testkey?random=1&token={newest_token(server, '1')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        client.sendall(request)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_long_request_heads_are_accepted(server: RunningServer) -> None:
    assert server.get("/", headers={"Cookie": "x" * 60_000}).status == 200


def test_the_longest_names_fit_into_a_request(server: RunningServer) -> None:
    name = "植" * 83 + ".txt"  # 253 bytes, 757 percent-encoded
    assert server.upload(name, b"x").text == "Ok."
    assert server.get("/fileget", filename=name, downloadname=name, coll=name).body == b"x"


def test_an_error_response_to_head_has_no_body(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"HEAD /fileget?filename=absent HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        response = b""
        while data := client.recv(1000):
            response += data
    assert response.startswith(b"HTTP/1.1 404 ")
    assert response.endswith(b"\r\n\r\n")


def test_a_file_truncated_while_it_is_sent_ends_the_connection(server: RunningServer) -> None:
    server.upload("a.bin", bytes(50_000_000))
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"GET /fileget?filename=a.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        first = client.recv(1000)
        with open(server.originals / "a.bin", "r+b") as file:
            file.truncate(30_000_000)
        size = len(first)
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(1 << 20):
                size += len(data)
    assert b"content-length: 50000000" in first.lower()
    assert size < 50_000_000
    assert ask_testkey(server) == 200


def test_an_aborted_upload_preserves_the_old_version(server: RunningServer) -> None:
    server.upload("a", b"old")
    body, content_type = multipart_body([("store", "a"), ("token", server.token("a")), ("f", ("f", bytes(500_000)))])
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(head_of_upload(content_type, len(body)) + body[:300_000])
    assert server.get("/fileget", filename="a").body == b"old"
    # A request that came after it has been answered, so it has begun by now, and ends by itself.
    for _ in range(100):
        time.sleep(0.1)
        if not list(server.base.rglob("upload-*")):
            break
    else:
        raise AssertionError("what was uploaded of it is still there")
    assert server.get("/fileget", filename="a").body == b"old"


def test_a_file_sent_before_its_token_cannot_fill_the_disk(start: Start) -> None:
    server = start(limits={"unverified_bytes": 2_000_000})
    file, token = ("f", ("f", bytes(1_500_000))), ("token", server.token("a"))
    refused = server.post_parts([file, ("store", "a"), token])
    assert refused.status == 413
    assert "before its token" in refused.text
    assert server.post_parts([("store", "a"), token, file]).status == 200
    small = ("f", ("f", bytes(900_000)))
    for _ in range(5):
        assert server.post_parts([small, ("store", "a"), token]).status == 200


def test_one_address_with_stalled_uploads_and_readers_does_not_stop_another(server: RunningServer) -> None:
    server.upload("large", bytes(20_000_000))
    server.upload("a", b"kept")
    read = b"GET /fileget?filename=large HTTP/1.1\r\nHost: x\r\n\r\n"
    with connections(server, 150, HALF_AN_UPLOAD, "127.0.0.2"), connections(server, 150, read, "127.0.0.2"):
        assert server.upload("b", bytes(1_000_000)).status == 200
        assert server.get("/fileget", filename="a").body == b"kept"
        assert server.delete("b").status == 200
        assert ask_testkey(server) == 200
        # What is too much for that one address gets an answer, too.
        with connections(server, 1, HALF_AN_UPLOAD, "127.0.0.2") as (refused,):
            response = refused.recv(4000).lower()
        assert response.startswith(b"http/1.1 503 ")
        assert b"retry-after: 10" in response
        assert b"access-control-allow-origin: *" in response


def test_idle_open_connections_do_not_block_others(server: RunningServer) -> None:
    with connections(server, 200, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") as clients:
        for client in clients:
            assert b"200 OK" in client.recv(1000)
        assert ask_testkey(server) == 200


def test_a_client_that_stalls_in_its_request_head_is_disconnected(start: Start) -> None:
    server = start(limits={"silence_seconds": 1})
    with connections(server, 1, b"GET / HTTP/1.1\r\n") as (client,):
        assert re.fullmatch(rb"|HTTP/1.1 408 .*", client.recv(1000), re.DOTALL)


def test_a_steady_reader_of_10_kb_a_second_gets_the_whole_file(start: Start) -> None:
    # Shortened: a reader far slower than the limit of silence allows for the whole file.
    server = start(limits={"silence_seconds": 2})
    content = bytes(range(256)) * 4000
    server.upload("a", content)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect(("127.0.0.1", server.port))
        client.sendall(b"GET /fileget?filename=a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while data := client.recv(40_000):
            received += data
            time.sleep(0.1)
    assert received.partition(b"\r\n\r\n")[2] == content


def test_shutdown_does_not_wait_for_silent_clients(server: RunningServer) -> None:
    with connections(server, 50, b"") as clients:
        ask_testkey(server)
        server.stop()
        for client in clients:
            with contextlib.suppress(ConnectionResetError, BlockingIOError):
                assert client.recv(100, socket.MSG_DONTWAIT) == b""


@pytest.mark.paste_only
def test_each_response_announces_that_it_closes_the_connection(server: RunningServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/healthz")
    response = connection.getresponse()
    assert response.headers["Connection"] == "close"
    response.read()
    connection.close()


def test_a_wrong_token_before_the_file_is_rejected_before_the_file_is_sent(server: RunningServer) -> None:
    body, content_type = multipart_body([("token", "0:0"), ("store", "a"), ("f", ("f", bytes(1_000_000)))])
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(head_of_upload(content_type, len(body)) + body[: 64 * 1024])
        assert client.recv(1000).startswith(b"HTTP/1.1 403 ")
        client.sendall(body[64 * 1024 :])  # a client that looks for the response later is not cut off
