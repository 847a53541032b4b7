"""The server behind the real nginx, set up by deploy/nginx.conf: nothing but its marked lines is changed."""

import contextlib
import http.client
import http.server
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO
from urllib.parse import quote

import pytest
from assetstore.gatekeeper.judging import Gatekeeper
from assetstore.gatekeeper.listening import Loop
from PIL import Image

from assetstore import content_types, delivery, formats, serving, tokens
from assetstore.rendering import Job
from tests import pictures
from tests.support import (
    KEY,
    PROJECT,
    Client,
    LowerKeys,
    Response,
    RunningServer,
    is_of_this_run,
    multipart_body,
    newest_token,
    two_free_ports,
    visible_files,
    with_query,
)
from tests.test_clients import replay

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
CONFIGURATION = (PROJECT / "deploy/nginx.conf").read_text(encoding="utf-8")
HOST = "assets.museum.org"
UUID = "7ab24b22-1fcd-4d3a-9d58-0123456789ab"
BEHIND_NGINX = {"TRUSTED_PROXIES": ["127.0.0.1"], "PUBLIC_URL": f"https://{HOST}"}
CHECKED = {**BEHIND_NGINX, "ACCEL_REDIRECT": "/protected-store"}

#: The http part of Debian's nginx.conf, with compression as eager as anybody may have it.
MAIN = """
daemon off; master_process {master}; pid {folder}/pid; error_log {folder}/error.log info; {user}
events {{ worker_connections 256; }}
http {{
    gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; gzip_vary on;
    types {{ text/html html; application/javascript js; image/x-ms-bmp bmp; }}
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/asset-server.conf;
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed; script/bootstrap --dev does that")

Start = Callable[..., RunningServer]
Changes = Mapping[str, str]
Behind = Callable[..., "Front"]


class SecureClient(Client):
    """Talks HTTPS, if need be from another address of this machine."""

    def __init__(self, port: int, trust: ssl.SSLContext, source: str = "127.0.0.1") -> None:
        super().__init__(port)
        self.trust = trust
        self.source = source
        self.lines: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def connected(self) -> Iterator[ssl.SSLSocket]:
        address = ("127.0.0.1", self.port)
        with (
            socket.create_connection(address, timeout=60, source_address=(self.source, 0)) as plain,
            self.trust.wrap_socket(plain, server_hostname=HOST) as connection,
        ):
            yield connection

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        lines = {"Host": HOST, "Content-Length": str(len(body or b"")), **(headers or {})}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return self.raw(head.encode() + b"\r\n" + (body or b""))

    def raw(self, data: bytes, finish: bool = True) -> Response:
        with self.connected() as connection:
            connection.sendall(data)
            return self.read(connection, data.split(b" ", 1)[0].decode("latin-1"))

    def read(self, connection: ssl.SSLSocket, method: str = "POST") -> Response:
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        self.lines = answer.getheaders()
        return Response(answer.status, LowerKeys(self.lines), answer.read())


class Front(SecureClient):
    """A running nginx in front of a server; `http` talks to its other port."""

    def __init__(self, folder: Path, ports: tuple[int, int], trust: ssl.SSLContext, user: str = "") -> None:
        super().__init__(ports[1], trust)
        self.http = Client(ports[0])
        self.folder = folder
        main = MAIN.format(folder=folder, user=user, master="on" if user else "off")
        (folder / "nginx.conf").write_text(main, encoding="utf-8")
        command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf")]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for port in ports:
            while not self._listens(port):
                time.sleep(0.02)

    def _listens(self, port: int) -> bool:
        if self.process.poll() is not None:
            assert self.process.stderr
            raise AssertionError(f"nginx did not start: {self.process.stderr.read()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)
        if self.process.stderr:
            self.process.stderr.close()

    def log(self) -> list[str]:
        return (self.folder / "access.log").read_text(encoding="utf-8").splitlines()

    def watched(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[Response, bool]:
        """Asks; returns the answer, and whether nginx gave it without asking the server."""
        before = len(self.log())
        answer = self.request("GET", path, headers=headers)
        while len(self.log()) == before:
            time.sleep(0.01)
        return answer, self.log()[-1].endswith(" -")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def edited(changes: Changes) -> str:
    text = CONFIGURATION
    for line, replacement in changes.items():
        assert line in text, f"deploy/nginx.conf no longer has {line!r}"
        text = text.replace(line, replacement)
    return text


def own_lines(folder: Path, base: Path, upstream: int, ports: tuple[int, int]) -> dict[str, str]:
    """What an administrator edits, and the places where an ordinary user can run nginx."""
    return {
        "server 127.0.0.1:8080;": f"server 127.0.0.1:{upstream};",
        "default /var/lib/web-asset-server;": f"default {base};",
        "    listen [::]:80;\n": "",
        "    listen [::]:443 ssl http2;\n": "",
        "listen 80;": f"listen 127.0.0.1:{ports[0]};",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{ports[1]} ssl http2;",
        "/etc/ssl/asset-server/": f"{folder}/",
        "/var/log/nginx/access.log asset_server buffer=64k flush=5s;": f"{folder}/access.log asset_server;",
    }


FAST = {'map "" $asset_fast_path {\n    default off;\n': 'map "" $asset_fast_path {\n    default on;\n'}
GATE = {'map "" $asset_gatekeeper {\n    default off;\n': 'map "" $asset_gatekeeper {\n    default on;\n'}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a throw-away certificate and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    command += ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def behind(tmp_path: Path, certificate: Path) -> Iterator[Behind]:
    """Starts nginx in front of a server, with further lines of its configuration changed."""
    running: list[Front] = []

    def start_front(server: RunningServer, changes: Changes | None = None, **own: int | str) -> Front:
        folder = tmp_path / f"nginx-{len(running)}"
        shutil.copytree(certificate, folder)
        ports = two_free_ports()
        lines = own_lines(folder, server.base, int(own.get("upstream", server.port)), ports)
        text = edited({**lines, **(changes or {})})
        (folder / "asset-server.conf").write_text(text, encoding="utf-8")
        trust = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
        running.append(Front(folder, ports, trust, str(own.get("user", ""))))
        return running[-1]

    yield start_front
    for front in running:
        front.stop()


@pytest.fixture
def keep_gate() -> Iterator[Callable[[RunningServer], dict[str, str]]]:
    """Has a gatekeeper check what a server's nginx asks; returns what is to be edited for it."""
    kept: list[tuple[Loop, threading.Thread]] = []

    def keep(server: RunningServer) -> dict[str, str]:
        gatekeeper = Gatekeeper(server.settings, server.opened.collections, server.opened.thumbnails)
        listener = serving.listen(("127.0.0.1", 0))
        port, loop = listener.getsockname()[1], Loop(listener, gatekeeper.answer)
        kept.append((loop, threading.Thread(target=loop.run)))
        kept[-1][1].start()
        return {**GATE, "server 127.0.0.1:8081;": f"server 127.0.0.1:{port};"}

    yield keep
    for loop, thread in kept:
        loop.stop()
        thread.join()


@pytest.fixture(
    params=["the server sends", "nginx sends what was checked", "nginx sends what is public", "a gatekeeper checks"]
)
def any_front(
    request: pytest.FixtureRequest,
    start: Start,
    behind: Behind,
    keep_gate: Callable[[RunningServer], dict[str, str]],
) -> tuple[RunningServer, Front]:
    """A server and its nginx in each of the ways that they can share the work."""
    server = start(**(BEHIND_NGINX if request.param == "the server sends" else CHECKED))
    if request.param == "a gatekeeper checks":
        return server, behind(server, keep_gate(server))
    return server, behind(server, FAST if request.param == "nginx sends what is public" else None)


# --- clients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["sp6-", "sp7fe-"])
def test_what_all_clients_send_works_through_https(any_front: tuple[RunningServer, Front], client: str) -> None:
    server, front = any_front
    for name, answer in replay(front, client).items():
        assert is_of_this_run(int(answer.headers["x-timestamp"])), name
        assert answer.headers["access-control-allow-origin"] == "*", name
        assert answer.headers["content-type"], name
        assert answer.status < 400 or 10 < len(answer.text) < 200, name
    if client == "sp6-":
        assert visible_files(server.originals) == visible_files(server.thumbnails) == []


def test_the_xml_names_https_addresses_whatever_a_client_claims(start: Start, behind: Behind) -> None:
    front = behind(start(TRUSTED_PROXIES=["127.0.0.1"], SERVER_NAME=HOST, SERVER_PORT=80))
    for name in ("X-Forwarded-Proto", "X_Forwarded_Proto", "X-Forwarded-Host", "Host", "Forwarded"):
        value = {"X-Forwarded-Proto": "http", "X_Forwarded_Proto": "http"}.get(name, "evil.example;proto=http")
        answer = front.get("/web_asset_store.xml", {name: value})
        assert f">https://{HOST}/fileget<" in answer.text, name
        assert "evil" not in answer.text
        assert "x-timestamp" in answer.headers
    assert f">http://{HOST}/fileget<" in front.http.get("/web_asset_store.xml", {"X-Forwarded-Proto": "https"}).text


def test_the_journal_names_the_client_that_nginx_saw(start: Start, behind: Behind) -> None:
    server = start(**BEHIND_NGINX)
    front = behind(server)
    for source in ("127.0.0.1", "127.0.0.2"):  # a trusted one, and another
        client = SecureClient(front.port, front.trust, source)
        headers = {"X-Forwarded-For": "8.8.8.8", "X_Forwarded_For": "8.8.8.8", "Forwarded": "for=8.8.8.8"}
        assert client.upload("a", b"x", headers).status == 200
        event = server.opened.originals.journal.latest("", "a")
        assert event is not None
        assert event.client == source


def test_every_answer_has_the_request_id_that_nginx_gave(start: Start, behind: Behind) -> None:
    front = behind(start(**BEHIND_NGINX))
    for path in ("/testkey", "/fileget?filename=none", "/nothing"):
        answer, _ = front.watched(path, {"X-Request-Id": "chosen-by-a-stranger"})
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        assert front.log()[-1].endswith(answer.headers["x-request-id"])


def curl(front: Front, *arguments: str, stdin: IO[bytes] | None = None) -> str:
    """What curl prints when it speaks HTTP/2: the answer, the version, the status."""
    command = ["curl", "--silent", "--show-error", "--http2", "--cacert", str(front.folder / "fullchain.pem")]
    command += ["--resolve", f"{HOST}:{front.port}:127.0.0.1", "--write-out", " %{http_version} %{http_code}"]
    *options, path = arguments
    command += [*options, f"https://{HOST}:{front.port}{path}"]
    return subprocess.run(command, stdin=stdin, capture_output=True, check=True).stdout.decode()


def test_http_2_is_spoken(start: Start, behind: Behind, tmp_path: Path) -> None:
    server = start(**CHECKED)
    front = behind(server)
    photo, back = tmp_path / "photo.jpg", tmp_path / "back.jpg"
    photo.write_bytes(pictures.jpeg() * 200)
    form = ("-F", "store=a.jpg", "-F", f"token={server.token('a.jpg')}", "-F", f"file=@{photo}")
    assert curl(front, *form, "/fileupload") == "Ok. 2 200"
    assert curl(front, "-o", str(back), "/fileget?filename=a.jpg") == " 2 200"
    assert back.read_bytes() == photo.read_bytes()
    refused = curl(front, *form, "-F", "token=2", "/fileupload")
    assert refused == "The parameter token is given 2 times. 2 403"


# --- uploads ---------------------------------------------------------------------------------------------------------

COLLECTED = {"proxy_request_buffering off;": "proxy_request_buffering on;"}


def upload_slowly(front: Front, headers: str = "") -> int:
    """Uploads for longer than the tolerance of two seconds; returns the status."""
    parts = [("store", "a"), ("f", ("f", bytes(1000))), ("token", newest_token(front, "a"))]
    body, content_type = multipart_body(parts)  # type: ignore[arg-type]
    head = f"POST /fileupload HTTP/1.1\r\nHost: x\r\n{headers}Content-Type: {content_type}\r\n"
    with front.connected() as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:500])
        time.sleep(3.2)
        connection.sendall(body[500:])
        return front.read(connection).status


@pytest.mark.parametrize(
    ("changes", "trusted", "status"),
    [({}, ["127.0.0.1"], 200), (COLLECTED, ["127.0.0.1"], 200), (COLLECTED, [], 403)],
    ids=["streamed", "collected", "collected, and nobody says how long it took"],
)
def test_a_long_upload_does_not_outlive_its_token(
    start: Start, behind: Behind, changes: Changes, trusted: list[str], status: int
) -> None:
    front = behind(start(TIME_TOLERANCE=2, TRUSTED_PROXIES=trusted), changes)
    assert upload_slowly(front) == status


def test_a_long_upload_by_http_2_of_unknown_length_does_not_either(start: Start, behind: Behind) -> None:
    server = start(TIME_TOLERANCE=2, **BEHIND_NGINX)
    front = behind(server)
    body, content_type = multipart_body([("f", ("f", bytes(1000))), ("store", "a"), ("token", server.token("a"))])
    (front.folder / "first").write_bytes(body[:500])
    (front.folder / "rest").write_bytes(body[500:])
    slowly = ["sh", "-c", "cat first; sleep 3.2; cat rest"]
    with subprocess.Popen(slowly, cwd=front.folder, stdout=subprocess.PIPE) as source:
        options = ("-X", "POST", "-T", "-", "-H", f"Content-Type: {content_type}")
        assert curl(front, *options, "/fileupload", stdin=source.stdout) == "Ok. 2 200"


@pytest.mark.parametrize("header", ["X-Receiving-Seconds", "X_Receiving_Seconds", "x-receiving_seconds"])
def test_a_client_cannot_make_an_old_token_young(start: Start, behind: Behind, header: str) -> None:
    front = behind(start(**BEHIND_NGINX))
    old = tokens.make(KEY, "a", int(time.time()) - 300)
    assert front.upload("a", b"x", {header: "299"}, token=old).status == 403
    assert front.get("/testkey", {header: "299"}, random="a", token=old).status == 403


def test_uploads_of_any_size_go_through_and_without_a_stated_length_too(start: Start, behind: Behind) -> None:
    server = start(**BEHIND_NGINX)
    front = behind(server)
    assert front.upload("large.bin", bytes(30_000_000)).text == "Ok."
    assert (server.originals / "large.bin").stat().st_size == 30_000_000
    body, content_type = multipart_body([("store", "b"), ("token", front.token("b")), ("f", ("f", b"chunks"))])
    head = f"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = front.raw(head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert (answer.status, answer.text) == (200, "Ok.")


def test_who_sends_too_much_hears_why(start: Start, behind: Behind) -> None:
    front = behind(start(**BEHIND_NGINX, MAX_UPLOAD_BYTES=1_000_000))
    answer = front.upload("a", bytes(20_000_000))
    assert answer.status == 413
    assert "at most 1000000 bytes" in answer.text
    assert answer.headers["access-control-allow-origin"] == "*"


def test_over_http_reads_are_redirected_but_never_an_upload_a_delete_or_the_xml(start: Start, behind: Behind) -> None:
    front = behind(start(**CHECKED), FAST)
    http_client = front.http
    assert http_client.upload("a.txt", b"x").text == "Ok."
    for ask in (http_client.get, http_client.head):
        answer = ask("/fileget", filename="a.txt", token="x")
        assert answer.status == 301
        assert answer.headers["location"] == f"https://{HOST}/fileget?filename=a.txt&token=x"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "x-timestamp" in answer.headers
        xml = ask("/web_asset_store.xml")
        assert xml.status == 200
        assert "x-timestamp" in xml.headers
    assert http_client.request("OPTIONS", "/fileupload").status == 200
    assert http_client.request("GET", "/fileget", headers={"Host": "evil.example"}).headers["location"] == (
        f"https://{HOST}/fileget"
    )
    assert http_client.upload("b.txt", b"x", token="bad").status == 403
    assert http_client.delete("a.txt").text == "Ok."


# --- the same answers ------------------------------------------------------------------------------------------------

#: Store name, content, and whether it has thumbnails.
FILES: list[tuple[str, bytes, bool]] = [
    ("photo.jpg", pictures.jpeg(), True),
    ("sp61234.att.JPG", pictures.jpeg(), True),
    ("drawing.gif", pictures.gif(), True),
    (f"{UUID}.png", pictures.png(), True),
    ("a.png", pictures.png(), True),
    (f"{UUID[:-1]}c.tif", pictures.tiff(), True),
    (f"{UUID[:-1]}d.pdf", pictures.pdf(), True),
    ("ñandú 植物 50%.jpg", pictures.jpeg(), True),
    ("notes.txt", b"notas \xc3\xb1", False),
    ("table.csv", b"a,b", False),
    ("call.wav", b"RIFF" + bytes(2000), False),
    ("film.mp4", b"\0\0\0\x18ftypmp42", False),
    ("page.html", b"<script>alert(1)</script>", False),
    ("plan.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", False),
    ("scans.tar.gz", b"\x1f\x8b\x08", False),
    ("without extension", b"?", False),
]

#: What may differ: who speaks, when, and under which id.
OWN_HEADERS = {"date", "server", "connection", "x-request-id", "x-timestamp"}


def queries(name: str, has_thumbnails: bool) -> Iterator[str]:
    stem = f"/fileget?filename={quote(name)}"
    yield from (stem, f"{stem}&type=O&coll=KU+Fish&downloadname=IMG_1.jpg", f"{stem}&downloadname=Foto+%C3%B1.jpg")
    if has_thumbnails:
        yield from (f"{stem}&type=T&scale=100", f"{stem}&type=T&scale=100&downloadname=IMG_1.jpg")


def comparable(answer: Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name not in OWN_HEADERS}
    return answer.status, headers, answer.body


def test_headers_and_bodies_are_the_same_with_and_without_nginx(any_front: tuple[RunningServer, Front]) -> None:
    server, front = any_front
    plain = server.restarted()
    try:
        for name, content, has_thumbnails in FILES:
            assert front.upload(name, content).status == 200
            for query in queries(name, has_thumbnails):
                expected = plain.get(query)
                answer, by_nginx = front.watched(query)
                assert is_of_this_run(int(answer.headers["x-timestamp"]))
                status, headers, body = comparable(expected)
                if by_nginx:
                    headers["etag"] = answer.headers["etag"]
                    assert re.fullmatch('"[0-9a-f]+-[0-9a-f]+"', headers["etag"])
                    if "type=T" in query:  # its date is a secret of the server's
                        del headers["last-modified"]
                assert comparable(answer) == (status, headers, body), query
                head = front.head(query)
                assert comparable(head) == (status, headers, b""), query
    finally:
        plain.stop()


#: Headers of a request, ETAG standing for the right tag, and the status of the answer.
CONDITIONS: list[tuple[dict[str, str], int]] = [
    ({"If-None-Match": "ETAG"}, 304),
    ({"If-None-Match": '"other", W/ETAG'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"other"'}, 200),
    ({"If-None-Match": '"other"', "If-Modified-Since": "Wed, 01 Jan 2098 00:00:00 GMT"}, 200),
    ({"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
    ({"If-Modified-Since": "nonsense"}, 200),
    ({"Range": "bytes=0-9"}, 206),
    ({"Range": "bytes=10-"}, 206),
    ({"Range": "bytes=-5"}, 206),
    ({"Range": "bytes=0-1,5-6"}, 200),
    ({"Range": "lines=1-2"}, 200),
    ({"Range": "bytes=0-9", "If-Range": "ETAG"}, 206),
    ({"Range": "bytes=0-9", "If-Range": '"other"'}, 200),
    ({"Range": "bytes=0-9", "If-None-Match": "ETAG"}, 304),
    ({"Range": "bytes=9999999-"}, 416),
    ({"Range": "bytes=-0"}, 416),
]


def is_right_answer(answer: Response, status: int, whole: bytes) -> bool:
    """Whether an answer of this status is about that file."""
    if status == 206:
        first, last = map(int, re.findall(r"\d+", answer.headers["content-range"])[:2])
        return answer.body == whole[first : last + 1] and answer.headers["content-range"].endswith(f"/{len(whole)}")
    if status == 416:
        is_plain = answer.headers["content-type"] == "text/plain; charset=UTF-8" and answer.text.endswith(".")
        return is_plain and answer.headers["content-range"] == f"bytes */{len(whole)}"
    return answer.body == (whole if status == 200 else b"")


def test_conditions_and_ranges_are_answered_as_by_the_server(any_front: tuple[RunningServer, Front]) -> None:
    _, front = any_front
    front.upload("a.jpg", pictures.jpeg())
    for query in ("/fileget?filename=a.jpg", "/fileget?filename=a.jpg&type=T&scale=100"):
        front.get(query)
        whole = front.get(query)
        for headers, status in CONDITIONS:
            asked = {name: value.replace("ETAG", whole.headers["etag"]) for name, value in headers.items()}
            answer = front.get(query, asked)
            assert answer.status == status, (query, headers)
            assert is_right_answer(answer, status, whole.body), (query, headers)
            for name in ("Access-Control-Allow-Origin", "X-Timestamp"):
                assert [line for line, _ in front.lines].count(name) == 1, (query, headers)


@pytest.mark.parametrize("condition", ["If-Match", "If-Unmodified-Since"])
def test_conditions_that_the_server_does_not_know_are_ignored_or_refused_but_never_judged(
    start: Start, behind: Behind, condition: str
) -> None:
    server = start(**CHECKED)
    fill(server)
    plain = server.restarted(**BEHIND_NGINX)
    try:
        for changes in (FAST, {}):
            assert behind(plain, changes).get(PUBLIC[0], {condition: '"x"'}).status == 200
            answer = behind(server, changes).get(PUBLIC[0], {condition: '"x"'})
            assert (answer.status, answer.headers["content-type"]) == (412, "text/plain; charset=UTF-8")
            assert condition in answer.text
    finally:
        plain.stop()


def test_the_date_of_an_original_is_a_validator_and_that_of_a_thumbnail_never(
    any_front: tuple[RunningServer, Front],
) -> None:
    server, front = any_front
    front.upload("a.jpg", pictures.jpeg())
    date = front.get("/fileget?filename=a.jpg").headers["last-modified"]
    assert front.get("/fileget?filename=a.jpg", {"If-Modified-Since": date}).status == 304
    for _ in range(2):
        front.thumbnail("a.jpg", 100)
    stamp = delivery.http_date((server.thumbnails / "a_100.jpg").stat().st_mtime_ns)
    answer = front.get("/fileget?filename=a.jpg&type=T&scale=100", {"If-Modified-Since": stamp})
    assert answer.status == 200
    assert not re.search("19[89][0-9]|200[01]", answer.headers.get("last-modified", ""))


def test_where_the_server_checks_only_its_own_tags_count(start: Start, behind: Behind) -> None:
    server = start(**CHECKED)
    front = behind(server)
    front.upload("a.jpg", pictures.jpeg())
    status = (server.originals / "a.jpg").stat()
    tag = f'"{int(status.st_mtime):x}-{status.st_size:x}"'
    assert behind(server, FAST).get("/fileget?filename=a.jpg").headers["etag"] == tag
    assert front.get("/fileget?filename=a.jpg", {"If-None-Match": tag}).status == 200


@pytest.mark.parametrize("path", ["/fileget?filename=none.jpg", "/nothing", "/", "/healthz", "/getmetadata?filename=x"])
def test_other_answers_are_the_server_s_own(any_front: tuple[RunningServer, Front], path: str) -> None:
    server, front = any_front
    assert comparable(front.get(path)) == comparable(server.get(path))


def test_no_header_comes_twice(any_front: tuple[RunningServer, Front]) -> None:
    _, front = any_front
    front.upload("a.html", b"x")
    front.get("/fileget?filename=a.html")
    names = [name for name, _ in front.lines]
    assert sorted(names) == sorted(set(names))


# --- private files ---------------------------------------------------------------------------------------------------


def test_what_the_server_has_checked_nginx_sends_and_nothing_else(start: Start, behind: Behind) -> None:
    server = start(**CHECKED, REQUIRE_KEY_FOR_GET=True, ALLOW_STATIC_FILE_ACCESS=False)
    front = behind(server)
    front.upload("ñ 1.jpg", pictures.jpeg())
    for query in ({}, {"type": "T", "scale": 100}):
        good = {**query, "filename": "ñ 1.jpg", "token": server.token("ñ 1.jpg")}
        direct, answer = server.get("/fileget", **good), front.get("/fileget", **good)
        assert (direct.body, answer.status) == (b"", 200)
        assert direct.headers["x-accel-redirect"].startswith("/protected-store/")
        assert pictures.opened(answer.body)
        assert "x-accel-redirect" not in answer.headers
        assert front.get("/fileget", {"Range": "bytes=0-9"}, **good).body == answer.body[:10]
        assert front.get("/fileget", {"If-None-Match": answer.headers["etag"]}, **good).status == 304
        assert front.head("/fileget", **good).headers["content-length"] == str(len(answer.body))
        old = tokens.make(KEY, "ñ 1.jpg", int(time.time()) - 300)
        for token in ({"token": old}, {"token": "bad"}, {}, {"token": server.token("other")}):
            for ask in (front.get, front.head):
                assert ask("/fileget", **{**query, "filename": "ñ 1.jpg", **token}).status == 403


#: Ways to the bytes of a.jpg, or to files of the server's own, for somebody without a key.
WAYS_ROUND = [
    "/fileget?filename=a.jpg",
    "/fileget?filename=a.jpg&type=T&scale=100",
    "/fileget?filename=a.jpg&token=" + "0" * 32 + ":1",
    "/protected-store/originals/a.jpg",
    "/protected-store/thumbnails/a_100.jpg",
    "/protected-store//originals/a.jpg",
    "//protected-store/originals/a.jpg",
    "/%70rotected-store/originals/a.jpg",
    "/x/../protected-store/originals/a.jpg",
    "/protected-store/.asset-server/key",
    "/protected-store/originals/.asset-server/key",
    "/.asset-server",
    "/.asset-server?filename=a.jpg",
    "/.asset-server-files/originals/a.jpg",
    "/.asset-server-files/thumbnails/a_100.jpg",
    "/.asset-server-files/originals/../.asset-server/key",
    "/%2easset-server-files/originals/a.jpg",
    "/.asset-server-says",
    "/static/originals/a.jpg",
    "/originals/a.jpg",
    "/assets/fileget?filename=a.jpg",
]


def test_there_is_no_way_round_the_key(start: Start, behind: Behind) -> None:
    server = start(**CHECKED, KEY="", REQUIRE_KEY_FOR_GET=True, ALLOW_STATIC_FILE_ACCESS=False)
    front = behind(server)
    server.upload("a.jpg", pictures.jpeg())
    server.get("/fileget", filename="a.jpg", type="T", scale=100, token=server.token("a.jpg"))
    for path in WAYS_ROUND:
        for headers in ({}, {"X-Accel-Redirect": "/protected-store/originals/a.jpg"}, {"X-Original-URL": "/testkey"}):
            for method in ("GET", "HEAD", "POST"):
                answer = front.request(method, path, headers=headers)
                assert answer.status in (403, 404, 405), (method, path)
                assert server.key.encode() not in answer.body
            assert front.http.request("GET", path, headers=headers).status in (301, 404)


def test_files_that_nginx_may_not_read_are_a_fault_that_says_where_to_look(start: Start, behind: Behind) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start an nginx of another user")
    server = start(**CHECKED)
    front = behind(server, FAST, user="user nobody nogroup;")
    front.upload("a.jpg", pictures.jpeg())
    answer = front.get("/fileget?filename=a.jpg")
    assert answer.status == 500
    assert "error log" in answer.text
    assert "Permission denied" in (front.folder / "error.log").read_text(encoding="utf-8")
    plain = server.restarted(**BEHIND_NGINX)
    try:
        front = behind(plain, FAST, user="user nobody nogroup;")
        assert front.get("/fileget?filename=a.jpg").body == pictures.jpeg()
    finally:
        plain.stop()


# --- the fast path ---------------------------------------------------------------------------------------------------

PUBLIC = [
    "/fileget?type=T&scale=100&filename=a.jpg",
    "/fileget?type=T&scale=100&filename=a.jpg&coll=KU+Fish",
    f"/fileget?coll=Herpetolog%C3%ADa+(1)&type=T&filename={UUID}.tif&scale=100",
    f"/fileget?type=T&scale=100&filename={UUID}.tif&token={'0' * 32}%3A17&coll=KU+Fish&disp=a&div=b+%26+c&inst=d",
    "/fileget?filename=sp612.att.PDF&type=T&scale=100",
    "/fileget?filename=a.jpg",
    "/fileget?type=O&scale=null&filename=a.jpg",
    "/fileget?coll=x&type=O&filename=a.jpg&downloadname=specimen-1.jpg",
    f"/fileget?filename={UUID}.tif",
]


def fill(server: Client) -> None:
    for name, content in (
        ("a.jpg", pictures.jpeg()),
        (f"{UUID}.tif", pictures.tiff()),
        ("sp612.att.PDF", pictures.pdf()),
    ):
        assert server.upload(name, content).status == 200
        assert server.thumbnail(name, 100).status == 200


def test_public_files_come_from_nginx_even_while_the_server_is_down(start: Start, behind: Behind) -> None:
    server = start()
    fill(server)
    front = behind(server, FAST, upstream=free_port())
    for query in PUBLIC:
        answer, by_nginx = front.watched(query)
        assert by_nginx, query
        assert (answer.status, answer.body) == (200, server.get(query).body)
    assert front.get("/fileget?filename=other.jpg").status == 502


def test_until_somebody_switches_it_on_the_server_is_asked_for_everything(start: Start, behind: Behind) -> None:
    server = start(**CHECKED)
    fill(server)
    front = behind(server)
    for query in PUBLIC:
        answer, by_nginx = front.watched(query)
        assert answer.status == 200
        assert not by_nginx, query


def test_what_nginx_sends_is_not_counted_by_the_server_and_its_log_has_no_tokens(start: Start, behind: Behind) -> None:
    server = start()
    fill(server)
    front = behind(server, FAST)
    front.watched(f"/fileget?token={'a1' * 16}%3A17&filename=a.jpg&coll=secret")
    front.watched(f"/testkey?random=1&token={'a1' * 16}:17")
    assert front.log()[0].startswith("127.0.0.1 [20")
    assert '"GET /fileget a.jpg" 200 8706 bytes' in front.log()[0]
    assert not re.search("a1a1|secret", "".join(front.log()))


def dominant(answer: Response) -> tuple[int, ...]:
    picture = pictures.opened(answer.body).convert("RGB")
    return tuple(picture.getpixel((picture.width // 2, picture.height // 2)))  # type: ignore[arg-type]


def test_a_replaced_or_deleted_file_is_gone_at_once(any_front: tuple[RunningServer, Front]) -> None:
    _, front = any_front
    queries = (f"/fileget?filename={UUID}.jpg", f"/fileget?filename={UUID}.jpg&type=T&scale=50")
    known: dict[str, tuple[int, ...]] = {}
    for turn in range(6):
        colour = (pictures.RED, pictures.GREEN, pictures.BLUE, pictures.YELLOW)[turn % 4]
        # nginx's tags hold whole seconds and the size, as deploy/nginx.conf says.
        content = pictures.encoded(Image.new("RGB", (100 + 16 * turn, 80), colour), "JPEG")
        front.upload(f"{UUID}.jpg", content)
        for query in (*queries, *queries):
            for headers in ({}, {"If-None-Match": ", ".join(known) or '"none"'}):
                answer = front.get(query, headers)
                shown = dominant(answer) if answer.status == 200 else known[answer.headers["etag"]]
                assert pictures.alike(shown, colour), (turn, query)
            known[answer.headers["etag"]] = colour
        if turn % 2:
            assert front.delete(f"{UUID}.jpg").status == 200
            assert [front.get(query, {"If-None-Match": "*"}).status for query in queries] == [404, 404]


def test_an_original_that_is_removed_by_hand_is_gone_with_its_thumbnails(
    any_front: tuple[RunningServer, Front],
) -> None:
    server, front = any_front
    fill(front)
    for name in visible_files(server.originals):
        (server.originals / name).unlink()
    assert visible_files(server.thumbnails)
    assert {front.get(query).status for query in PUBLIC} == {404}


#: Queries that look like one for a public file, but are none, or mean something else to the server.
ODD_QUERIES = [
    "filename=a.jpg&filename=b.jpg",
    "filename=b.jpg&filename=a.jpg",
    "filename=a.jpg&type=T&type=O&scale=100",
    "filename=a.jpg&type=O&type=T&scale=100",
    "filename=a.jpg&type=T&scale=100&scale=50",
    "type=T&scale=100&%66ilename=b.jpg&filename=a.jpg",
    "%74ype=T&scale=100&filename=a.jpg",
    "typ%65=T&scale=100&filename=a.jpg&type=O",
    "FILENAME=a.jpg",
    "Filename=b.jpg&filename=a.jpg",
    "TYPE=T&scale=100&filename=a.jpg",
    "filename=a.jpg&Type=T&SCALE=100",
    "filename=a.jpg&amp;type=T&amp;scale=100",
    "amp;filename=a.jpg",
    "type=T&scale=100&amp;filename=a.jpg",
    "filename=a.jpg;type=T;scale=100",
    "filename=a.jpg&type=%54&scale=100",
    "filename=a.jpg&type=t&scale=100",
    "filename=a.jpg&type=+T&scale=100",
    "filename=a.jpg&type=T&scale=0100",
    "filename=a.jpg&type=T&scale=%31%30%30",
    "filename=a.jpg&type=T&scale=+100",
    "filename=a.jpg&type=T&scale=-100",
    "filename=a.jpg&type=T&scale=1e2",
    "filename=a.jpg&type=T&scale=0",
    "filename=a.jpg&type=T&scale=",
    "filename=a.jpg&type=T",
    "filename=a.jpg&type=T&scale=4001",
    "filename=a.jpg&type=T&scale=99999999999999999999",
    "filename=a.jpg&type=T&scale=%D9%A1%D9%A0%D9%A0",
    "filename=a.jpg&type=",
    "filename=a.jpg&type",
    "filename=a.jpg&scale=null",
    "filename=a.jpg&&type=T&scale=100",
    "&filename=a.jpg",
    "filename=a.jpg&",
    "filename",
    "filename=",
    "",
    "filename=+a.jpg",
    "filename=a.jpg+",
    "filename=a.jpg%20",
    "filename=a%2Ejpg",
    "filename=%61.jpg",
    "filename=a.jpg%00",
    "filename=a.jpg%0A",
    "filename=a.jpg%00.png",
    "filename=a.jpg%",
    "filename=a.jpg%zz",
    "filename=a.jpg#b.jpg",
    "filename=a.jpg&x=%",
    "filename=a.jpg&downloadname=%FF",
    "filename=a.jpg&downloadname=..%2F..%2Fx.html",
    "filename=a.jpg&downloadname=a&downloadname=b",
    "filename=a.jpg&downloadname=.",
    "filename=a.jpg&coll=%",
    "filename=a.jpg&coll=a&coll=b",
    "filename=A.jpg",
    "filename=a.JPG",
    "filename=../originals/a.jpg",
    "filename=..%2Foriginals%2Fa.jpg",
    "filename=%2e%2e/originals/a.jpg",
    "filename=..%5Coriginals%5Ca.jpg",
    "filename=..\\originals\\a.jpg",
    "filename=./a.jpg",
    "filename=//a.jpg",
    "filename=/a.jpg",
    "filename=originals/a.jpg",
    "filename=..",
    "filename=.",
    "filename=.asset-server",
    "filename=.asset-server/key",
    "filename=.ASSET-SERVER/key",
    "filename=.asset-server%2Fkey",
    "filename=../.asset-server/key",
    "filename=../secret.jpg",
    "filename=../../secret.jpg",
    "filename=link.jpg",
    "filename=link.jpg&type=T&scale=100",
    "filename=inside.jpg",
    "filename=folder.jpg",
    "filename=folder.jpg&type=T&scale=100",
    "filename=b.jpg&type=T&scale=50",
    "filename=pipe.jpg",
    "filename=a_100.jpg",
    "filename=a_100.jpg&type=T&scale=100",
    "filename=x.tif&type=T&scale=100",
    "filename=x.png&type=T&scale=100",
    "filename=" + "a" * 196 + ".jpg",
    "filename=" + "a" * 300 + ".jpg",
    "filename=" + "a" * 9000 + ".jpg",
    "filename=" + "a" * 20000 + ".jpg",
    "&".join(f"p{number}=1" for number in range(500)) + "&filename=a.jpg",
    "&".join(["filename=a.jpg"] * 900),
    "inst=&" * 1500,
]

ODD_PATHS = [
    "//fileget?filename=a.jpg",
    "/fileget/?filename=a.jpg",
    "/./fileget?filename=a.jpg",
    "/x/../fileget?filename=a.jpg",
    "/fileget/../fileget?filename=a.jpg",
    "/%66ileget?filename=a.jpg",
    "/FILEGET?filename=a.jpg",
    "/fileget%3Ffilename=a.jpg",
    "/fileget?",
    "/fileget",
    "/fileget;x?filename=a.jpg",
    "/fileget/a.jpg",
    "/static/originals/a.jpg",
    "/static/originals/link.jpg",
    "/static/originals/../.asset-server/key",
    "/static/.asset-server/key",
    "/.asset-server/key",
    "/\xff",
    "http://evil.example/fileget?filename=a.jpg",
    "http://evil.example",
    "/assets/fileget?filename=a.jpg",
]


#: Addresses that nginx refuses by itself.
REFUSED_PATHS = ["/../../../etc/passwd", "/..%2f..%2fetc/passwd", "/fileget/../../x", "/%00", "/%zz", "/a b"]


def odd_store(server: RunningServer, outside: Path) -> None:
    """Fills a store with files, and with what somebody may put between them."""
    fill(server)
    server.upload("b.jpg", pictures.jpeg(6))
    server.upload("x.tif", pictures.tiff())
    server.upload("x.png", pictures.encoded(Image.new("RGB", (60, 40), pictures.BLUE), "PNG"))
    for name in ("x.tif", "x.png"):
        server.thumbnail(name, 100)
    secret = outside / "secret.jpg"
    secret.write_bytes(b"SECRET")
    shutil.copy(secret, server.base / "secret.jpg")
    (server.originals / "link.jpg").symlink_to(secret)
    (server.thumbnails / "link_100.jpg").write_bytes(b"SECRET")
    (server.originals / "inside.jpg").symlink_to(server.originals / "a.jpg")
    (server.originals / "folder.jpg").mkdir()
    (server.thumbnails / "folder_100.jpg").write_bytes(b"SECRET")
    (server.thumbnails / "b_50.jpg").mkdir()
    for scale in ("0100", "4001"):  # names that no thumbnail has
        (server.thumbnails / f"a_{scale}.jpg").write_bytes(b"SECRET")
    os.mkfifo(server.originals / "pipe.jpg")


def test_odd_questions_get_the_server_s_own_answers(any_front: tuple[RunningServer, Front], tmp_path: Path) -> None:
    server, front = any_front
    odd_store(server, tmp_path)
    plain = server.restarted(**BEHIND_NGINX)
    try:
        for target in [*(f"/fileget?{query}" for query in ODD_QUERIES), *ODD_PATHS]:
            data = f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode("latin-1")
            expected, answer = plain.raw(data), front.raw(data)
            assert (answer.status, answer.body) == (expected.status, expected.body), target[:100]
            assert b"SECRET" not in answer.body
            assert answer.headers["content-type"] == expected.headers["content-type"], target[:100]
            assert answer.headers.get("content-disposition") == expected.headers.get("content-disposition")
        for target in REFUSED_PATHS:
            answer = front.raw(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode("latin-1"))
            assert answer.status == 400, target
            assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
            assert answer.headers["access-control-allow-origin"] == "*"
    finally:
        plain.stop()


def test_a_folder_of_originals_that_is_a_link_to_another_disk_is_served(
    any_front: tuple[RunningServer, Front], tmp_path: Path
) -> None:
    server, front = any_front
    for folder in (server.originals, server.thumbnails):
        folder.rename(tmp_path / folder.name)
        folder.symlink_to(tmp_path / folder.name)
    fill(front)
    for query in PUBLIC:
        answer, _ = front.watched(query)
        assert (answer.status, answer.body) == (200, front.get(query).body)


COLLECTIONS = {
    '    default "";\n    #default unknown;': '    #default "";\n    default unknown;',
    '    #"~^KU(': '    "~^KU(',
    '    #"~^Herpetolog%C3%ADa$"': '    "~^Herpetolog%C3%ADa$"',
}


def test_with_folders_for_collections_nginx_looks_into_the_right_one_or_asks(start: Start, behind: Behind) -> None:
    server = start(**CHECKED, COLLECTION_DIRS={"KU Fish": "ichthyology", "Herpetología": "herps/all", "Birds": "birds"})
    front = behind(server, {**FAST, **COLLECTIONS})
    for number, collection in enumerate(("KU Fish", "Herpetología", "Birds")):
        assert front.upload("a.txt", f"{number}".encode(), coll=collection).status == 200
    (server.base / "originals").mkdir()
    (server.base / "originals/a.txt").write_bytes(b"none of any collection")
    for coll, text, expected in (
        ("&coll=KU+Fish", "0", True),
        ("&coll=KU%20Fish", "0", True),
        ("&coll=Herpetolog%C3%ADa", "1", True),
        ("&coll=Herpetolog%c3%ada", "1", False),
        ("&coll=Birds", "2", False),
        ("&coll=ku+fish", "", False),
        ("&coll=KU++Fish", "", False),
        ("&coll=KU+Fish+", "", False),
        ("&coll=unknown", "", False),
        ("&coll=/ichthyology", "", False),
        ("&coll=", "", False),
        ("", "", False),
    ):
        answer, by_nginx = front.watched(f"/fileget?filename=a.txt{coll}")
        assert (answer.status, by_nginx) == (200 if text else 404, expected), coll
        assert not text or answer.text == text


# --- the tables in the file ------------------------------------------------------------------------------------------

EXTENSIONS = [
    spelling
    for extension in [
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "gif",
        "tif",
        "tiff",
        "pdf",
        "heic",
        "heif",
        "avif",
        "webp",
        "bmp",
        "svg",
        "txt",
        "psd",
        "zip",
    ]
    for spelling in (extension, extension.upper())
]


def inline(pattern: str) -> str:
    """A pattern of nginx for Python, which spells named groups differently."""
    return pattern.replace("(?<asset", "(?P<asset")


def test_the_types_and_extensions_are_those_of_the_server() -> None:
    blocks = re.findall(r"^ +types \{\n(.*?)^ +\}", CONFIGURATION, re.M | re.S)
    tables = [re.findall(r'^ +(?:"([^"]+)"|(\S+)) +([a-z0-9 ]+);', block, re.M) for block in blocks]
    assert [len(table) for table in tables] == [32, 3]
    for quoted, bare, extensions in (row for table in tables for row in table):
        for extension in extensions.split():
            assert content_types.header(f"a.{extension}") == content_types.header(f"a.{extension.upper()}")
            assert content_types.header(f"a.{extension}") == (quoted or bare)
            assert "Content-Security-Policy" not in delivery.safe_headers(quoted or bare)
    listed = {extension for *_, extensions in tables[0] for extension in extensions.split()}
    pattern = re.search(r'"~\^original:(.*)" "/originals', CONFIGURATION)
    assert pattern
    every = {extension[1:] for extension in content_types._table()} | listed
    assert {extension for extension in every if re.fullmatch(inline(pattern[1]), f"a.{extension}")} == listed


def thumbnail_names(name: str) -> list[str]:
    """Where the fast path looks for the thumbnail of this name at 100 pixels; nothing if it does not look."""
    rows = re.findall(r'"~\^thumbnail:(.*)" "/thumbnails/(.*)";', CONFIGURATION)
    assert len(rows) == 3
    found = []
    for pattern, result in rows:
        match = re.fullmatch(inline(pattern), name)
        if match:
            values = {**match.groupdict(), "arg_scale": "100"}
            found.append(re.sub(r"\$\{?(\w+)\}?", lambda word, values=values: values[word[1]], result))
    return found


def test_the_names_of_thumbnails_are_those_of_the_server() -> None:
    for root in ("a", "b.c", UUID, UUID.upper(), "sp612.att", "sp612", "x_50", "d" * 196, "d" * 200):
        for name in (f"{root}.{extension}" for extension in EXTENSIONS):
            media_type = content_types.guess(name)
            if media_type not in formats.THUMBNAIL_TYPES or len(name) > 200:
                assert thumbnail_names(name) == [], name
                continue
            right = formats.thumbnail_name(name, media_type, 100)
            is_shared = right.lower().endswith(".png")
            assert thumbnail_names(name) == ([] if is_shared and root not in (UUID, "sp612.att") else [right]), name


# --- what the file has besides ---------------------------------------------------------------------------------------


def test_what_nginx_says_for_itself_is_a_sentence_that_pages_elsewhere_can_read(start: Start, behind: Behind) -> None:
    front = behind(start(), upstream=free_port())
    answers = [front.get("/web_asset_store.xml"), front.upload("a", bytes(3_000_000)), front.delete("a")]
    answers += [front.http.upload("a", b"x"), front.request("OPTIONS", "/fileupload")]
    assert {(answer.status, answer.headers["retry-after"]) for answer in answers} == {(502, "10")}
    others = [front.get("/" + "x" * 20_000), front.raw(b"nonsense\r\n\r\n"), front.request("TRACE", "/")]
    others += [Client(front.port).get("/"), front.get("/.asset-server-says")]
    assert [answer.status for answer in others] == [414, 400, 405, 400, 404]
    for answer in [*answers, *others]:
        assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert is_of_this_run(int(answer.headers["x-timestamp"]))
        assert answer.text.endswith(".")
        assert "nginx" not in answer.text


LIMITS = {"#geo ": "geo ", "#map ": "map ", "#limit_req": "limit_req", "burst=500": "burst=4", "50r/s": "1r/m"}


def test_the_example_of_limits_slows_strangers_down_and_nobody_else(start: Start, behind: Behind) -> None:
    server = start(**CHECKED)
    fill(server)
    front = behind(server, {**FAST, **LIMITS})
    stranger = SecureClient(front.port, front.trust, source="127.0.0.2")
    assert [stranger.get(PUBLIC[0]).status for _ in range(8)] == [200] * 5 + [429] * 3
    answer = stranger.upload("a.txt", b"x")
    assert answer.status == 429
    assert "from one address" in answer.text
    assert [name for name, _ in stranger.lines].count("Access-Control-Allow-Origin") == 1
    assert {front.get(query).status for query in PUBLIC * 3} == {200}


class Specify7(http.server.BaseHTTPRequestHandler):
    """Stands for Specify 7 on the same host, or for an asset server gone mad that gives whatever one asks for."""

    def do_GET(self) -> None:
        body = f"Specify 7 at {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.path.startswith("/give/"):
            self.send_header("X-Accel-Redirect", self.path.removeprefix("/give"))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def specify_7() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Specify7) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running.server_address[1]
        running.shutdown()
        thread.join()


def below_assets(port: int) -> dict[str, str]:
    """The set-up on the same host as Specify 7."""
    return {
        '    #"~^/assets': '    "~^/assets',
        "    location / {": f"    location / {{ proxy_pass http://127.0.0.1:{port}; }}\n    location /assets/ {{",
    }


def test_below_a_path_on_the_host_of_specify_7(start: Start, behind: Behind, specify_7: int) -> None:
    server = start(**{**CHECKED, "PUBLIC_URL": f"https://{HOST}/assets"})
    fill(server)
    front = behind(server, {**FAST, **below_assets(specify_7)})
    assert f">https://{HOST}/assets/fileget<" in front.get("/assets/web_asset_store.xml").text
    for query in PUBLIC:
        answer, by_nginx = front.watched(f"/assets{query}")
        assert (answer.status, by_nginx) == (200, True)
    body, content_type = multipart_body([("store", "b.html"), ("token", front.token("b.html")), ("f", ("f", b"<b>"))])
    assert front.request("POST", "/assets/fileupload", body, {"Content-Type": content_type}).text == "Ok."
    assert front.get("/assets/fileget?filename=b.html").text == "<b>"
    assert front.get("/assets/getfileref?filename=b.html").text == f"https://{HOST}/assets/static/originals/b.html"
    assert front.get("/assets/static/originals/b.html").text == "<b>"
    redirected = front.http.get("/assets/fileget?filename=a.jpg")
    assert redirected.headers["location"] == f"https://{HOST}/assets/fileget?filename=a.jpg"
    assert front.http.request("POST", "/assets/fileupload").status == 400
    for path in ("/", "/fileget?filename=a.jpg", "/static/originals/b.html", "/assetsx", "/assets/../fileget"):
        assert front.get(path).text.startswith("Specify 7 at "), path
    for path in ("//assets/fileget", "/%61ssets/fileget", "/x/../assets/fileget"):
        assert front.get(f"{path}?filename=a.jpg").status == 404, path


def test_whatever_the_server_says_nginx_sends_originals_and_thumbnails_only(
    start: Start, behind: Behind, specify_7: int, tmp_path: Path
) -> None:
    server = start(KEY="", COLLECTION_DIRS={"KU Fish": "fish/all"})
    server.upload("a.txt", b"first", coll="KU Fish")
    server.upload("a.txt", b"second", coll="KU Fish")
    (tmp_path / "outside.txt").write_text("SECRET")
    (server.base / "fish/all/originals/link.txt").symlink_to(tmp_path / "outside.txt")
    front = behind(server, upstream=specify_7)
    assert front.get("/give/protected-store/fish/all/originals/a.txt").text == "second"
    own = [path.relative_to(server.base) for path in server.base.rglob("*") if ".asset-server" in path.parts]
    assert {"key", "journal.sqlite", "trash"} <= {path.name for path in own}
    others = ["", "fish", "fish/all/originals", "fish/all/originals/", "../outside.txt", "fish/all/originals/link.txt"]
    for path in [*map(str, own), *others, "originals/../.asset-server/key", ".asset-server/originals/key"]:
        answer = front.get(f"/give/protected-store/{quote(path)}")
        assert answer.status >= 400, path
        assert answer.headers["content-type"] == "text/plain; charset=UTF-8", path


def test_compose_starts_nginx_only_by_its_profile_and_with_this_file(tmp_path: Path) -> None:
    compose = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
    server, nginx = compose.split("\n  nginx:\n")
    assert '"${PUBLISHED_PORT:-80}:8080"' in server
    assert "profiles:" not in server
    assert "profiles: [nginx]" in nginx
    assert "./deploy/nginx.conf:/asset-server.conf:ro" in nginx
    assert "attachments:/var/lib/web-asset-server:ro" in nginx
    command = " ".join(nginx.split(">-\n")[1].split("&& exec nginx")[0].split()).replace("$$", "$")
    (tmp_path / "conf.d").mkdir()
    command = command.replace(" /asset-server.conf ", f" {PROJECT}/deploy/nginx.conf ")
    command = command.replace("/etc/nginx/conf.d", f"{tmp_path}/conf.d")
    subprocess.run(["sh", "-c", command], check=True, env={**os.environ, "SERVER_NAME": "a.example"})
    made = (tmp_path / "conf.d/default.conf").read_text(encoding="utf-8")
    assert "    server asset-server:8080;" in made
    assert "    server asset-server:8081;" in made
    assert "    server_name a.example; " in made


def test_even_a_very_long_name_to_save_by_fits_into_the_head_of_the_answer(
    any_front: tuple[RunningServer, Front],
) -> None:
    server, front = any_front
    server.upload(f"{UUID}.jpg", pictures.jpeg())
    name = "ö" * 2000
    answer = front.get("/fileget", filename=f"{UUID}.jpg", type="T", scale=100, downloadname=name)
    assert answer.status == 200
    assert quote(name) in answer.headers["content-disposition"]


# --- the gatekeeper --------------------------------------------------------------------------------------------------


def signed_thumbnail(front: Front, name: str) -> str:
    query = {"type": "T", "filename": name, "scale": 100, "token": front.token(name)}
    return with_query("/fileget", query)


def asked_by(front: Front) -> int:
    """How many others nginx asked for the last answer."""
    return len(re.findall(r"127\.0\.0\.1:", front.log()[-1].rpartition(" s ")[2]))


def test_what_the_gatekeeper_knows_the_server_is_not_asked(
    start: Start, behind: Behind, keep_gate: Callable[[RunningServer], dict[str, str]]
) -> None:
    server = start(**CHECKED, REQUIRE_KEY_FOR_GET=True)
    front = behind(server, keep_gate(server))
    server.upload(f"{UUID}.jpg", pictures.jpeg())
    path = signed_thumbnail(front, f"{UUID}.jpg")
    for times in (2, 1, 1):  # the first one has to be made
        answer, _ = front.watched(path)
        assert answer.status == 200
        assert asked_by(front) == times
    assert front.watched(path, {"If-None-Match": answer.headers["etag"]})[0].status == 304
    assert asked_by(front) == 1
    assert front.watched(path, {"Range": "bytes=0-9"})[0].status == 206
    for wrong in (path.replace("token=", "token=0"), re.sub("token=[^&]*", "", path)):
        answer, _ = front.watched(wrong)
        assert answer.status == 403
        assert asked_by(front) == 2
        assert "token" in answer.text


@pytest.mark.parametrize("gate", ["nobody", "somebody who says nothing", "somebody who hangs up"])
def test_whatever_becomes_of_the_gatekeeper_the_server_answers(start: Start, behind: Behind, gate: str) -> None:
    server = start(**CHECKED, REQUIRE_KEY_FOR_GET=True)
    server.upload(f"{UUID}.jpg", pictures.jpeg())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if gate == "nobody":
            listener.close()
        if gate == "somebody who hangs up":
            threading.Thread(target=lambda: listener.accept()[0].close()).start()
        front = behind(server, {**GATE, "server 127.0.0.1:8081;": f"server 127.0.0.1:{port};"})
        answer = front.request("GET", signed_thumbnail(front, f"{UUID}.jpg"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(("framing", "status"), [("Content-Length: 1000000", 403), ("Transfer-Encoding: chunked", 411)])
def test_a_body_that_nobody_asked_for_is_not_collected_on_the_disk_of_nginx(
    start: Start, behind: Behind, keep_gate: Callable[[RunningServer], dict[str, str]], framing: str, status: int
) -> None:
    server = start(**CHECKED, REQUIRE_KEY_FOR_GET=True)
    front = behind(server, keep_gate(server))
    head = f"GET /fileget?type=T&filename=a.jpg&scale=9 HTTP/1.1\r\nHost: {HOST}\r\n{framing}\r\n\r\n"
    # The server refuses it at its head; nginx would wait for the rest of it.
    assert front.raw(head.encode() + b"5\r\nbegun\r\n").status == status


def test_nor_is_one_that_no_header_tells_of(
    start: Start, behind: Behind, keep_gate: Callable[[RunningServer], dict[str, str]], tmp_path: Path
) -> None:
    server = start(**CHECKED, REQUIRE_KEY_FOR_GET=True)
    front = behind(server, keep_gate(server))
    (tmp_path / "body").write_bytes(bytes(100_000))
    options = ("--request", "GET", "--header", "Content-Length:", "--data-binary", f"@{tmp_path / 'body'}")
    assert curl(front, *options, "/fileget?type=T&filename=a.jpg&scale=9").endswith(" 2 413")


# --- what the fast path needs of the server --------------------------------------------------------------------------


def plain_picture(colour: tuple[int, int, int]) -> bytes:
    return pictures.encoded(Image.new("RGB", (100, 80), colour), "JPEG")


def thumbnail_shows(front: Front, name: str, colour: tuple[int, ...]) -> bool:
    return pictures.alike(dominant(front.thumbnail(name, 50)), colour)


def test_a_picture_that_is_ready_after_its_original_was_replaced_is_not_kept(start: Start, behind: Behind) -> None:
    server = start()
    front = behind(server, FAST)
    front.upload("a.jpg", plain_picture(pictures.RED))
    pool = server.opened.pool
    render, may_end, has_begun = pool.render, threading.Event(), threading.Event()

    def render_slowly(job: Job) -> None:
        render(job)
        has_begun.set()
        assert may_end.wait(timeout=60)

    pool.render = render_slowly  # type: ignore[method-assign]
    asker = threading.Thread(target=front.thumbnail, args=("a.jpg", 50))
    asker.start()
    assert has_begun.wait(timeout=60)
    pool.render = render  # type: ignore[method-assign]
    assert front.upload("a.jpg", plain_picture(pictures.BLUE)).status == 200
    may_end.set()
    asker.join()
    assert thumbnail_shows(front, "a.jpg", pictures.BLUE)


def test_an_upload_in_the_place_of_one_removed_by_hand_shows_itself(start: Start, behind: Behind) -> None:
    server = start()
    front = behind(server, FAST)
    front.upload("a.jpg", plain_picture(pictures.RED))
    front.thumbnail("a.jpg", 50)
    (server.originals / "a.jpg").unlink()
    front.upload("a.jpg", plain_picture(pictures.BLUE))
    assert thumbnail_shows(front, "a.jpg", pictures.BLUE)


def test_a_restored_original_shows_itself(start: Start, behind: Behind) -> None:
    server = start()
    front = behind(server, FAST)
    front.upload("a.jpg", plain_picture(pictures.RED))
    front.upload("a.jpg", plain_picture(pictures.BLUE))
    front.thumbnail("a.jpg", 50)
    command = [sys.executable, str(PROJECT / "manage.py"), "trash", "restore", "--replace", "a.jpg"]
    environ = {**os.environ, "BASE_DIR": str(server.base), "KEY": KEY}
    subprocess.run(command, check=True, env=environ, capture_output=True)
    assert thumbnail_shows(front, "a.jpg", pictures.RED)
