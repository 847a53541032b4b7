"""serving: Paste among slow, clumsy and hostile clients."""

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support import RunningServer, multipart_body, visible_files


def ask_testkey(server: RunningServer) -> int:
    return server.get("/testkey", random="1", token=server.token("1")).status


@contextlib.contextmanager
def connections(server: RunningServer, number: int, data: bytes) -> Iterator[list[socket.socket]]:
    """Clients that say this much and then fall silent."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(number):
            sockets.append(stack.enter_context(socket.create_connection(("127.0.0.1", server.port))))
            sockets[-1].sendall(data)
        yield sockets


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /fileget?file",
        b"GET /web_asset_store.xml HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n",
        b"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n--b",
    ],
    ids=["nothing", "half a request line", "a request, and keeps the connection", "half an upload"],
)
def test_slow_clients_do_not_stop_the_others(server: RunningServer, said: bytes) -> None:
    with connections(server, 20, said):
        assert ask_testkey(server) == 200


def test_a_silent_client_is_cut_off(start: object) -> None:
    server = start(SOCKET_TIMEOUT=1)  # type: ignore[operator]
    with connections(server, 1, b"GET / HTTP/1.1\r\n") as (client,):
        client.settimeout(30)
        assert client.recv(100) == b""


def test_every_answer_closes_the_connection_and_says_so(server: RunningServer) -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(request)
        received = b""
        while data := client.recv(65536):
            received += data
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"\r\nConnection: close\r\n") == 1


def test_http_1_0_from_a_proxy_is_answered(server: RunningServer) -> None:
    request = b"GET /web_asset_store.xml HTTP/1.0\r\nHost: museum.org\r\nConnection: close\r\n\r\n"
    assert server.raw(request).status == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /fileupload HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /fileupload HTTP/1.1\r\nContent-Length: five\r\n\r\n", 400),
        (b"POST /fileupload HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (b"POST /fileupload HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (b"POST /fileupload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 411),
        (b"POST /fileupload HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", 411),
        (b"GET nowhere HTTP/1.1\r\n\r\n", 400),
        (b"GET [::1 HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET / HTTP/x\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"X-Y: z\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /%zz%FF HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xff\xfe HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_malformed_requests_get_a_small_plain_refusal(server: RunningServer, request_bytes: bytes, status: int) -> None:
    answer = server.raw(request_bytes)
    assert answer.status == status
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert 10 < len(answer.text) < 200
    assert "Traceback" not in answer.text
    assert ask_testkey(server) == 200


def test_an_address_may_name_the_server_too(server: RunningServer) -> None:
    request = b"GET http://museum.org/web_asset_store.xml?x=1 HTTP/1.1\r\nHost: museum.org\r\n\r\n"
    assert server.raw(request).status == 200


def test_a_path_is_not_normalised_behind_the_application_s_back(server: RunningServer) -> None:
    server.upload("a.txt", b"x")
    assert server.raw(b"GET /static/originals/../originals/a.txt HTTP/1.1\r\n\r\n").status in (400, 404)
    assert server.raw(b"GET /nothing/../testkey HTTP/1.1\r\n\r\n").status == 404


def test_non_ascii_paths_arrive_whole(server: RunningServer) -> None:
    server.upload("植物.txt", b"x")
    assert server.raw("GET /static/originals/植物.txt HTTP/1.1\r\n\r\n".encode()).body == b"x"


def test_a_refused_upload_is_read_on_so_that_the_client_sees_why(server: RunningServer) -> None:
    body, content_type = multipart_body([("store", "a"), ("token", "bad"), ("f", ("f", bytes(30_000_000)))])
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/fileupload", body, {"Content-Type": content_type})
    answer = connection.getresponse()
    assert answer.status == 403
    assert b"token" in answer.read()
    connection.close()
    assert visible_files(server.originals) == []


def test_a_client_that_waits_for_permission_gets_it(server: RunningServer) -> None:
    body, content_type = multipart_body([("store", "a"), ("token", server.token("a")), ("f", ("f", b"content"))])
    head = (
        f"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(head.encode())
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    assert (server.originals / "a").read_bytes() == b"content"


def test_a_long_upload_does_not_outlive_its_token(start: object) -> None:
    server = start(TIME_TOLERANCE=2)  # type: ignore[operator]
    body, content_type = multipart_body([("f", ("f", b"slow")), ("store", "a"), ("token", server.token("a"))])
    head = f"POST /fileupload HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(head.encode() + body[:50])
        time.sleep(3.2)
        client.sendall(body[50:])
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_upload_that_is_cut_off_leaves_the_old_version(server: RunningServer) -> None:
    server.upload("a", b"old")
    body, content_type = multipart_body([("store", "a"), ("token", server.token("a")), ("f", ("f", bytes(500_000)))])
    head = f"POST /fileupload HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = server.raw(head.encode() + body[:300_000])
    assert answer.status == 400
    assert "cut off" in answer.text
    assert server.get("/fileget", filename="a").body == b"old"
    assert list(server.base.rglob("upload-*")) == []
