"""serving: Paste among slow, clumsy and hostile clients."""

import contextlib
import http.client
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from assetstore import handler, serving
from tests.support import PROJECT, RunningServer, multipart_body, newest_token, visible_files

HALF_AN_UPLOAD = (
    b"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    b"Content-Length: 100000\r\n\r\n--b\r\n"
)


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
        b"GET /web_asset_store.xml HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"GET /web_asset_store.xml HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n",
        HALF_AN_UPLOAD,
    ],
    ids=["nothing", "half a request line", "half a head", "a request, and keeps the connection", "half an upload"],
)
def test_slow_clients_in_hundreds_do_not_stop_the_others(server: RunningServer, said: bytes) -> None:
    with connections(server, 300, said):
        assert ask_testkey(server) == 200
        assert server.get("/web_asset_store.xml").status == 200


def test_slow_clients_of_all_kinds_at_once_do_not_stop_the_others(server: RunningServer) -> None:
    server.upload("a", b"kept")
    with contextlib.ExitStack() as stack:
        for said in (b"", b"GET /file", b"POST /filedelete HTTP/1.1\r\nHost:", HALF_AN_UPLOAD):
            stack.enter_context(connections(server, 75, said))
        for _ in range(20):
            assert server.get("/fileget", filename="a").body == b"kept"


def test_a_client_that_says_nothing_is_cut_off(start: object) -> None:
    server = start(SOCKET_TIMEOUT=1)  # type: ignore[operator]
    with connections(server, 1, b"") as (client,):
        client.settimeout(30)
        assert client.recv(100) == b""


def test_a_client_that_falls_silent_in_the_middle_is_told_and_cut_off(start: object) -> None:
    server = start(SOCKET_TIMEOUT=1)  # type: ignore[operator]
    answer = server.raw(b"GET / HTTP/1.1\r\n", finish=False)
    assert answer.status == 408
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "too long to arrive" in answer.text


def test_a_head_may_take_twenty_seconds_even_where_silence_may_be_longer(start: object) -> None:
    server = start(SOCKET_TIMEOUT=300)  # type: ignore[operator]
    assert server.http.room.patience == 20


def test_waiting_clients_do_not_hold_up_the_end(server: RunningServer) -> None:
    with connections(server, 50, b"") as clients:
        ask_testkey(server)
        server.http.stop()
        for client in clients:
            client.settimeout(30)
            assert client.recv(100) == b""


@contextlib.contextmanager
def talking(server: RunningServer) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()


def test_a_connection_stays_for_further_reading_also_after_a_pause(server: RunningServer) -> None:
    server.upload("small.bin", b"x" * 1000)
    server.upload("large.bin", bytes(range(256)) * 1000)
    with talking(server) as connection:
        for turn in range(4):
            for name, size in (("small.bin", 1000), ("large.bin", 256_000), ("absent", None)):
                for method in ("GET", "HEAD"):
                    connection.request(method, f"/fileget?filename={name}")
                    answer = connection.getresponse()
                    assert answer.status == (404 if size is None else 200)
                    assert answer.headers["Connection"] == "keep-alive"
                    body = answer.read()
                    assert len(body) == (0 if method == "HEAD" else size or len("There is no such file."))
            if turn == 2:
                time.sleep(0.1)  # now it waits without a thread
            connection.request("GET", "/fileget?filename=large.bin", headers={"Range": "bytes=1000-200999"})
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (206, (bytes(range(256)) * 1000)[1000:201_000])


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST /filedelete HTTP/1.1\r\nContent-Length: 3\r\n\r\na=b",
        b"POST /filedelete HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
def test_any_other_answer_closes_the_connection_and_says_so(server: RunningServer, request_bytes: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(request_bytes)
        received = b""
        while data := client.recv(65536):
            received += data
    assert received.count(b"\r\nConnection: close\r\n") == 1


def test_requests_that_come_together_are_answered_one_after_the_other(server: RunningServer) -> None:
    for name in "abc":
        server.upload(name, name.encode() * 70_000)
    requests = b"".join(b"GET /fileget?filename=%c HTTP/1.1\r\n\r\n" % letter for letter in b"abc")
    for cut in (len(requests), 10, 50, 95):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
            client.sendall(requests[:cut])
            time.sleep(0.05)
            client.sendall(requests[cut:])
            client.shutdown(socket.SHUT_WR)
            received = b""
            while data := client.recv(65536):
                received += data
        assert [received.count(letter * 70_000) for letter in (b"a", b"b", b"c")] == [1, 1, 1]


def test_who_always_has_another_request_does_not_hold_up_the_others() -> None:
    answered: list[str] = []

    def application(environ: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
        while not answered and http_server.thread_pool.queue.empty():
            time.sleep(0.01)  # until the other one stands in line
        answered.append(str(environ["PATH_INFO"]))
        start_response("200 OK", [("Content-Length", "0")])
        return []

    http_server = serving.Server(application, ("127.0.0.1", 0), threads=1, timeout=30)
    thread = threading.Thread(target=http_server.serve_until_stopped)
    thread.start()
    address = ("127.0.0.1", http_server.server_port)
    with (
        socket.create_connection(address, timeout=30) as greedy,
        socket.create_connection(address, timeout=30) as other,
    ):
        greedy.sendall(b"GET /greedy HTTP/1.1\r\n\r\n" * 50)
        other.sendall(b"GET /other HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert other.recv(65536)
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 50:
            received += greedy.recv(65536)
    http_server.stop()
    thread.join()
    http_server.thread_pool.shutdown()
    assert answered.index("/other") <= 2
    assert answered.count("/greedy") == 50


def test_a_hundred_idle_connections_that_stay_hold_no_thread(server: RunningServer) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(talking(server))
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok"
        assert ask_testkey(server) == 200


def test_a_file_that_is_shortened_while_it_is_sent_ends_the_connection(server: RunningServer) -> None:
    server.upload("a.bin", bytes(50_000_000))
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"GET /fileget?filename=a.bin HTTP/1.1\r\n\r\n")
        first = client.recv(1000)
        with open(server.originals / "a.bin", "r+b") as file:
            file.truncate(30_000_000)
        size = len(first)
        while data := client.recv(1 << 20):
            size += len(data)
    assert b"Content-Length: 50000000" in first
    assert size < 50_000_000
    assert ask_testkey(server) == 200


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
        (b"GET /\xa0HTTP/1.1\r\n\r\n", 400),
        # After these lines the standard library reads no more headers, and a proxy in front might.
        (b"GET / HTTP/1.1\r\nContent-Length : 5\r\n\r\nhello", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"GET / HTTP/1.1\r\nA\0: b\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n\rContent-Length: 5\r\n\r\nhello", 400),
        (b"GET / HTTP/1.1\r\nA: b\rContent-Length: 5\r\n\r\nhello", 400),
        (b"GET / HTTP/1.1\r\n Content-Length: 5\r\n\r\nhello", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n Content-Length: 5\r\n\r\nhello", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n", 411),
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
    # Two of the bytes of these letters are blanks in ISO-8859-1.
    server.upload("voilà Å.txt", b"y")
    assert server.raw("GET /static/originals/voilà%20Å.txt HTTP/1.1\r\n\r\n".encode()).body == b"y"


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
    body, content_type = multipart_body([("f", ("f", b"slow")), ("store", "a"), ("token", newest_token(server, "a"))])
    head = f"POST /fileupload HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(head.encode() + body[:50])
        time.sleep(3.2)
        client.sendall(body[50:])
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_pause_before_a_request_does_not_count_and_a_pause_within_it_does_not_either(start: object) -> None:
    server = start(TIME_TOLERANCE=2)  # type: ignore[operator]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        time.sleep(3.2)
        request = f"GET /testkey?random=1&token={newest_token(server, '1')} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        client.sendall(request[:12])
        time.sleep(3.2)
        client.sendall(request[12:])
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_empty_line_before_the_request_is_forgiven(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"\r\n")
        time.sleep(0.1)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("size", [20_000, 60_000])
def test_long_heads_are_read(server: RunningServer, size: int) -> None:
    assert server.get("/", headers={"Cookie": "x" * size}).status == 200


def test_a_request_whose_head_is_cut_off_is_not_carried_out(server: RunningServer) -> None:
    answer = server.raw(b"GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=0-")
    assert answer.status == 400
    assert "cut off" in answer.text


def test_a_refusal_of_head_has_no_body(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"HEAD / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while data := client.recv(1000):
            answer += data
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert answer.endswith(b"\r\n\r\n")


def wait_for_free_places(server: RunningServer, number: int) -> None:
    """Waits until so many more uploads may come; what happens on other connections takes its time."""
    for _ in range(600):
        if server.http.bodies._value == number:
            return
        time.sleep(0.05)
    raise AssertionError(f"{server.http.bodies._value} more uploads may come, not {number}")


@pytest.mark.parametrize("size", [1, 30_000_000])
def test_uploads_may_not_hold_all_threads(server: RunningServer, size: int) -> None:
    server.upload("a", b"kept")
    with connections(server, 24, HALF_AN_UPLOAD):
        wait_for_free_places(server, 0)
        answer = server.upload("b", bytes(size))
        assert answer.status == 503
        assert answer.headers["retry-after"] == "10"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
        assert "try again" in answer.text
        assert server.get("/fileget", filename="a").body == b"kept"
    wait_for_free_places(server, 24)
    assert not (server.originals / "b").exists()
    assert server.upload("b", b"x").status == 200


def test_refused_uploads_that_stall_do_not_hold_threads_either(server: RunningServer) -> None:
    refused = HALF_AN_UPLOAD.replace(b"/fileupload", b"/nowhere")
    with connections(server, 300, refused):
        assert ask_testkey(server) == 200
        wait_for_free_places(server, 24)
        assert server.upload("a", b"x").status == 200


def test_an_upload_that_drips_is_given_up(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "_SLOW_START_SECONDS", 0.5)
    body, content_type = multipart_body([("store", "a"), ("token", server.token("a")), ("f", ("f", bytes(500_000)))])
    head = f"POST /fileupload HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.05) as client:
        client.sendall(head.encode())
        answer = b""
        for position in range(600):
            client.sendall(body[position : position + 1])
            with contextlib.suppress(TimeoutError):
                while data := client.recv(1000):
                    answer += data
                break
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"stalled" in answer
    assert visible_files(server.originals) == []


def test_a_slow_upload_that_goes_on_is_taken(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "_SLOW_START_SECONDS", 0.2)
    body, content_type = multipart_body([("store", "a"), ("token", server.token("a")), ("f", ("f", bytes(100_000)))])
    head = f"POST /fileupload HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(head.encode())
        for start in range(0, len(body), 10_000):
            client.sendall(body[start : start + 10_000])
            time.sleep(0.1)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("limits", "files", "seats"),
    [((256, 712), 712, 200), ((256, 20_000), 8192, 4096), ((9000, 9000), 9000, 4096), ((100, 100), 100, 192)],
)
def test_many_files_are_allowed_as_far_as_the_system_lets(limits: tuple[int, int], files: int, seats: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < limits[1]:
        pytest.skip("the limits here are too low for this")
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, {limits})\n"
        "from assetstore import serving; serving._allow_many_files()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], serving._free_seats(192))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(files), str(seats)]


def test_an_upload_that_is_cut_off_leaves_the_old_version(server: RunningServer) -> None:
    server.upload("a", b"old")
    body, content_type = multipart_body([("store", "a"), ("token", server.token("a")), ("f", ("f", bytes(500_000)))])
    head = f"POST /fileupload HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = server.raw(head.encode() + body[:300_000])
    assert answer.status == 400
    assert "cut off" in answer.text
    assert server.get("/fileget", filename="a").body == b"old"
    assert list(server.base.rglob("upload-*")) == []
