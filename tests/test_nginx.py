"""The server behind the real nginx, with deploy/nginx.conf and deploy/nginx-advanced.conf."""

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from assetstore import formats, media_types
from assetstore.auth import tokens
from assetstore.http import file_response
from assetstore.serving import granian_server
from assetstore.thumbnails.rendering import pool
from tests import pictures
from tests.nginx import (  # noqa: F401 - fixtures
    ADVANCED,
    BASIC,
    BEHIND_NGINX,
    CHECKED,
    FAST,
    HOST,
    NGINX,
    Behind,
    Changes,
    Front,
    SecureClient,
    Start,
    below_assets,
    curl,
    curl_command,
    edited,
    http_2,
    own_lines,
    started_nginx,
    throwaway_certificate,
)
from tests.support import (
    KEY,
    PROJECT,
    Client,
    Response,
    RunningServer,
    free_port,
    is_of_this_run,
    load_settings,
    multipart_body,
    newest_token,
    run_manage,
    visible_files,
)
from tests.test_clients import replay

UUID = "7ab24b22-1fcd-4d3a-9d58-0123456789ab"

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed; script/bootstrap --dev does that")

#: Collects uploads before they go to the server.
COLLECTED = {"proxy_request_buffering off;": "proxy_request_buffering on;"}


@pytest.fixture(params=["the server sends files", "nginx sends checked files", "nginx sends public thumbnails"])
def any_front(request: pytest.FixtureRequest, start: Start, behind: Behind) -> tuple[RunningServer, Front]:
    """A server and its nginx in each of the ways that they can share the work."""
    server = start(**(BEHIND_NGINX if request.param == "the server sends files" else CHECKED))
    is_fast = request.param == "nginx sends public thumbnails"
    return server, behind(server, FAST, ADVANCED) if is_fast else behind(server)


# --- clients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["sp6-", "sp7fe-"])
def test_requests_of_all_clients_work_through_nginx_and_https(
    any_front: tuple[RunningServer, Front], client: str
) -> None:
    server, front = any_front
    for name, response in replay(front, client).items():
        assert is_of_this_run(int(response.headers["x-timestamp"])), name
        assert response.headers["access-control-allow-origin"] == "*", name
        assert response.headers["content-type"], name
        assert response.status < 400 or 10 < len(response.text) < 200, name
    if client == "sp6-":
        assert visible_files(server.originals) == visible_files(server.thumbnails) == []


def test_the_xml_contains_https_addresses_whatever_headers_a_client_sends(start: Start, behind: Behind) -> None:
    front = behind(start(TRUSTED_PROXIES=["127.0.0.1"], SERVER_NAME=HOST, SERVER_PORT=80))
    for name in ("X-Forwarded-Proto", "X_Forwarded_Proto", "X-Forwarded-Host", "Host", "Forwarded"):
        value = {"X-Forwarded-Proto": "http", "X_Forwarded_Proto": "http"}.get(name, "evil.example")
        response = front.get("/web_asset_store.xml", {name: value})
        assert f">https://{HOST}/fileget<" in response.text, name
        assert "evil" not in response.text
    assert f">http://{HOST}/fileget<" in front.http.get("/web_asset_store.xml", {"X-Forwarded-Proto": "https"}).text


def test_the_journal_names_the_client_as_seen_by_nginx(start: Start, behind: Behind) -> None:
    server = start(**BEHIND_NGINX)
    front = behind(server)
    for source in ("127.0.0.1", "127.0.0.2"):  # a trusted one, and another
        client = SecureClient(front.port, front.trust, source)
        assert client.upload("a", b"x", {"X-Forwarded-For": "8.8.8.8", "X_Forwarded_For": "8.8.8.8"}).status == 200
        event = server.context.originals.journal.latest("", "a")
        assert event is not None
        assert event.client == source


def test_the_log_has_the_request_id_of_the_response_and_no_token(start: Start, behind: Behind) -> None:
    front = behind(start(**CHECKED))
    front.upload("a.jpg", pictures.jpeg())
    for path in ("/testkey?token=secret-xyz", "/fileget?filename=a.jpg&token=secret-xyz", "/nothing"):
        response, _ = front.watched(path, {"X-Request-Id": "chosen-by-a-stranger"})
        assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])
        assert f" {response.headers['x-request-id']} 127.0.0.1:" in front.line_of(response)
    assert re.match(r"127\.0\.0\.1 \[20.*\] POST /fileupload 200 3 bytes", front.log()[0])
    assert "secret-xyz" not in "".join(front.log())


def test_http_2_works(start: Start, behind: Behind, tmp_path: Path) -> None:
    server = start(**CHECKED)
    front = behind(server, http_2())
    photo, back = tmp_path / "photo.jpg", tmp_path / "back.jpg"
    photo.write_bytes(pictures.jpeg() * 200)
    form = ("-F", "store=a.jpg", "-F", f"token={server.token('a.jpg')}", "-F", f"file=@{photo}")
    assert curl(front, *form, "/fileupload") == "Ok. 2 200"
    assert curl(front, "-o", str(back), "/fileget?filename=a.jpg") == " 2 200"
    assert back.read_bytes() == photo.read_bytes()
    assert (
        curl(front, *form, "-F", "token=2", "/fileupload")
        == "The parameter token is given 2 times; send it once. 2 403"
    )


def test_http_reads_are_redirected_but_uploads_deletes_and_the_xml_are_not(start: Start, behind: Behind) -> None:
    front = behind(start(**CHECKED))
    assert front.http.upload("a.txt", b"x").text == "Ok."
    for ask in (front.http.get, front.http.head):
        response = ask("/fileget", filename="a.txt", token="x")
        assert (response.status, response.headers["location"]) == (
            301,
            f"https://{HOST}/fileget?filename=a.txt&token=x",
        )
        xml = ask("/web_asset_store.xml")
        assert xml.status == 200
        assert "x-timestamp" in xml.headers
    other_host = front.http.get("/fileget", {"Host": "evil.example"})
    assert other_host.headers["location"] == f"https://{HOST}/fileget"
    assert front.http.request("OPTIONS", "/fileupload").status == 200
    preflight = front.request("OPTIONS", "/fileget?filename=a.pdf", headers={"Access-Control-Request-Headers": "range"})
    assert "Range" in preflight.headers["access-control-allow-headers"].split(", ")
    assert front.http.upload("b.txt", b"x", token="bad").status == 403
    assert front.http.delete("a.txt").text == "Ok."


# --- uploads and slow clients ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "trusted", "status"),
    [({}, ["127.0.0.1"], 200), (COLLECTED, ["127.0.0.1"], 200), (COLLECTED, [], 403)],
    ids=["streamed", "collected", "collected, and X-Receiving-Seconds is not trusted"],
)
def test_a_long_upload_does_not_outlive_its_token_and_is_not_buffered_by_nginx(
    start: Start, behind: Behind, changes: Changes, trusted: list[str], status: int
) -> None:
    front = behind(start(TIME_TOLERANCE=2, TRUSTED_PROXIES=trusted), changes)
    body, content_type = multipart_body(
        [("f", ("f", bytes(3_000_000))), ("store", "a"), ("token", newest_token(front, "a"))]
    )
    head = f"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    with front.connected() as connection:
        connection.sendall(f"{head}\r\n\r\n".encode() + body[:2_000_000])
        time.sleep(3.2)
        assert bool(front.temporary_files()) == (changes == COLLECTED)
        connection.sendall(body[2_000_000:])
        assert front.read(connection).status == status


def test_a_client_cannot_rejuvenate_an_old_token(start: Start, behind: Behind) -> None:
    front = behind(start(**BEHIND_NGINX))
    old = tokens.make(KEY, "a", int(time.time()) - 300)
    for header in ("X-Receiving-Seconds", "X_Receiving_Seconds", "x-receiving_seconds"):
        assert front.upload("a", b"x", {header: "299"}, token=old).status == 403
        assert front.get("/testkey", {header: "299"}, random="a", token=old).status == 403


@pytest.mark.parametrize("name", [BASIC, ADVANCED])
def test_large_files_pass_through_without_being_buffered_for_slow_readers(
    start: Start, behind: Behind, name: str
) -> None:
    front = behind(start(**BEHIND_NGINX), name=name)
    assert front.upload("a.bin", bytes(30_000_000)).text == "Ok."
    with front.connected() as connection:
        connection.sendall(b"GET /fileget?filename=a.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.5)
        assert front.temporary_files() == set()
        assert front.read(connection, "GET").body == bytes(30_000_000)


def trickle(front: Front, version: str, method: str) -> tuple[str, set[str]]:
    """Sends a body without its length, piece by piece; returns what curl prints, and the temporary files of nginx."""
    command = curl_command(front, "-X", method, "-T", "-", "/fileupload", version=version)
    seen: set[str] = set()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        for _ in range(10):
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(bytes(200_000))
                process.stdin.flush()
            time.sleep(0.1)
            seen |= front.temporary_files()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        return process.stdout.read().decode(), seen


@pytest.mark.parametrize("name", [BASIC, ADVANCED])
@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_bodies_of_unknown_length_are_rejected_and_not_buffered_by_nginx(
    start: Start, behind: Behind, name: str, version: str, method: str
) -> None:
    front = behind(start(**CHECKED), http_2(), name)
    printed, temporary = trickle(front, version, method)
    assert printed.endswith(f" {version} 411")
    assert "Content-Length" in printed
    assert temporary == set()


def test_an_upload_that_is_too_large_gets_the_reason(start: Start, behind: Behind) -> None:
    front = behind(start(**BEHIND_NGINX, MAX_UPLOAD_BYTES=1_000_000))
    response = front.upload("a", bytes(20_000_000))
    assert response.status == 413
    assert "at most 1000000 bytes" in response.text
    assert response.headers["access-control-allow-origin"] == "*"


#: A time-out, and what a client sends before it falls silent.
SILENCES = {
    "client_header_timeout 20s;": b"GET /testkey HTTP/1.1\r\nHost: x\r\n",
    "client_body_timeout 30s;": b"POST /fileupload HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\nbegun",
    "keepalive_timeout 30s;": b"OPTIONS /fileupload HTTP/1.1\r\nHost: x\r\n\r\n",
    "send_timeout 300s;": b"GET /fileget?filename=a.bin HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("setting", SILENCES)
def test_silent_clients_are_disconnected(start: Start, behind: Behind, setting: str) -> None:
    server = start(**CHECKED)
    server.upload("a.bin", bytes(40_000_000))
    front = behind(server, {setting: re.sub(r"\d+s", "1s", setting)})
    with front.connected() as connection:
        connection.settimeout(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(SILENCES[setting])
        time.sleep(3)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(1_000_000):
                received += len(data)
    assert received < 39_000_000


# --- the same responses ----------------------------------------------------------------------------------------------

#: Store name, content, and whether it has thumbnails.
FILES: list[tuple[str, bytes, bool]] = [
    ("sp61234.att.JPG", pictures.jpeg(), True),
    ("drawing.gif", pictures.gif(), True),
    (f"{UUID}.png", pictures.png(), True),
    ("a.png", pictures.png(), True),
    (f"{UUID[:-1]}c.tif", pictures.tiff(), True),
    (f"{UUID[:-1]}d.pdf", pictures.pdf(), True),
    ("ñandú 植物 50%.jpg", pictures.jpeg(), True),
    ("notes.txt", b"notas \xc3\xb1", False),
    ("page.html", b"<script>alert(1)</script>", False),
    ("scans.tar.gz", b"\x1f\x8b\x08", False),
    ("without extension", b"?", False),
]

#: What may differ: who speaks, when, and under which id.
OWN_HEADERS = {"date", "server", "connection", "x-request-id", "x-timestamp"}


def queries(name: str, has_thumbnails: bool) -> Iterator[str]:
    stem = f"/fileget?filename={quote(name)}"
    yield from (stem, f"{stem}&type=O&coll=KU+Fish&downloadname=Foto+%C3%B1.jpg")
    if has_thumbnails:
        yield from (f"{stem}&type=T&scale=100", f"{stem}&type=T&scale=100&downloadname=IMG_1.jpg")


def comparable(response: Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in response.headers.items() if name not in OWN_HEADERS}
    return response.status, headers, response.body


def test_headers_and_bodies_are_the_same_with_and_without_nginx(any_front: tuple[RunningServer, Front]) -> None:
    server, front = any_front
    plain = server.restarted()
    try:
        for name, content, has_thumbnails in FILES:
            assert front.upload(name, content).status == 200
            for query in queries(name, has_thumbnails):
                status, headers, body = comparable(plain.get(query))
                response, by_nginx = front.watched(query)
                names = [header for header, _ in front.lines]
                assert sorted(names) == sorted(set(names)), "no header comes twice"
                assert is_of_this_run(int(response.headers["x-timestamp"]))
                if by_nginx:  # the tag is nginx's, and the date of a thumbnail is hidden
                    headers["etag"] = response.headers["etag"]
                    del headers["last-modified"]
                assert comparable(response) == (status, headers, body), query
                assert comparable(front.head(query)) == (status, headers, b""), query
    finally:
        plain.stop()


#: Headers of a request, ETAG standing for the right tag, and the status of the response.
CONDITIONS: list[tuple[dict[str, str], int]] = [
    ({"If-None-Match": '"other", W/ETAG'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"other"', "If-Modified-Since": "Wed, 01 Jan 2098 00:00:00 GMT"}, 200),
    ({"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
    ({"Range": "bytes=0-9"}, 206),
    ({"Range": "bytes=10-"}, 206),
    ({"Range": "bytes=-5"}, 206),
    ({"Range": "bytes=0-1,5-6"}, 200),
    ({"Range": "bytes=0-9", "If-Range": "ETAG"}, 206),
    ({"Range": "bytes=0-9", "If-Range": '"other"'}, 200),
    ({"Range": "bytes=0-9", "If-None-Match": "ETAG"}, 304),
    ({"Range": "bytes=9999999-"}, 416),
]


def is_right_response(response: Response, status: int, whole: bytes) -> bool:
    """Whether a response of this status is about that file."""
    if status == 206:
        first, last = map(int, re.findall(r"\d+", response.headers["content-range"])[:2])
        return response.body == whole[first : last + 1] and response.headers["content-range"].endswith(f"/{len(whole)}")
    if status == 416:
        return response.headers["content-range"] == f"bytes */{len(whole)}" and response.text.endswith(".")
    return response.body == (whole if status == 200 else b"")


def test_conditional_requests_and_ranges_work_as_on_the_server(any_front: tuple[RunningServer, Front]) -> None:
    server, front = any_front
    front.upload("a.jpg", pictures.jpeg())
    for query in ("/fileget?filename=a.jpg", "/fileget?filename=a.jpg&type=T&scale=100"):
        front.get(query)
        whole, by_server = front.get(query), front.get(query, {"Range": "bytes=0-"})
        for headers, status in CONDITIONS:
            tag = by_server.headers["etag"] if "Range" in headers else whole.headers["etag"]
            response = front.get(query, {name: value.replace("ETAG", tag) for name, value in headers.items()})
            assert response.status == status, (query, headers)
            assert is_right_response(response, status, whole.body), (query, headers)
            for name in ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "X-Timestamp"):
                assert [line for line, _ in front.lines].count(name) == 1, (query, headers)
            assert {"Accept-Ranges", "Content-Range", "ETag", "X-Timestamp"} <= set(
                response.headers["access-control-expose-headers"].split(", ")
            )
    date = front.get("/fileget?filename=a.jpg").headers["last-modified"]
    assert front.get("/fileget?filename=a.jpg", {"If-Modified-Since": date}).status == 304
    # The date of a thumbnail says of which original it is, and nothing to clients.
    date = file_response.http_date((server.thumbnails / "a_100.jpg").stat().st_mtime_ns)
    response = front.get("/fileget?filename=a.jpg&type=T&scale=100", {"If-Modified-Since": date})
    assert (response.status, response.headers.get("last-modified") == date) == (200, False)


# --- private files ---------------------------------------------------------------------------------------------------


def test_nginx_sends_only_files_that_the_server_has_authorised(start: Start, behind: Behind) -> None:
    server = start(**CHECKED, REQUIRE_KEY_FOR_GET=True, ALLOW_STATIC_FILE_ACCESS=False)
    front = behind(server)
    front.upload("ñ 1.jpg", pictures.jpeg())
    for query in ({}, {"type": "T", "scale": 100}):
        good = {**query, "filename": "ñ 1.jpg", "token": server.token("ñ 1.jpg")}
        direct, response = server.get("/fileget", **good), front.get("/fileget", **good)
        assert (direct.body, response.status) == (b"", 200)
        assert direct.headers["x-accel-redirect"].startswith("/protected-store/")
        assert pictures.opened(response.body)
        assert "x-accel-redirect" not in response.headers
        assert front.get("/fileget", {"If-None-Match": response.headers["etag"]}, **good).status == 304
        assert front.head("/fileget", **good).headers["content-length"] == str(len(response.body))
        old = tokens.make(KEY, "ñ 1.jpg", int(time.time()) - 300)
        for token in ({"token": old}, {"token": "bad"}, {}, {"token": server.token("other")}):
            for ask in (front.get, front.head):
                assert ask("/fileget", **{**query, "filename": "ñ 1.jpg", **token}).status == 403


#: Ways to the bytes of a.jpg, or to files of the server's own, for somebody without a key.
WAYS_ROUND = """
/fileget?filename=a.jpg  /fileget?filename=a.jpg&type=T&scale=100  /fileget?filename=a.jpg&token=0:1
/protected-store/originals/a.jpg  /protected-store/thumbnails/a_100.jpg  /protected-store//originals/a.jpg
//protected-store/originals/a.jpg  /%70rotected-store/originals/a.jpg  /x/../protected-store/originals/a.jpg
/protected-store/.asset-server/key  /protected-store/originals/.asset-server/key  /protected-store  /protected-store/
/asset-thumbnails/a_100.jpg  /asset-thumbnails/../originals/a.jpg  /%61sset-thumbnails/a_100.jpg
/asset-server-request?filename=a.jpg  /asset-server-error  /static/originals/a.jpg  /originals/a.jpg
/assets/fileget?filename=a.jpg
"""


@pytest.mark.parametrize("name", [BASIC, ADVANCED])
def test_the_key_cannot_be_bypassed(start: Start, behind: Behind, name: str) -> None:
    server = start(**CHECKED, KEY="", REQUIRE_KEY_FOR_GET=True, ALLOW_STATIC_FILE_ACCESS=False)
    front = behind(server, name=name)
    server.upload("a.jpg", pictures.jpeg())
    server.get("/fileget", filename="a.jpg", type="T", scale=100, token=server.token("a.jpg"))
    for path in WAYS_ROUND.split():
        for headers in ({}, {"X-Accel-Redirect": "/protected-store/originals/a.jpg"}):
            for method in ("GET", "HEAD", "POST"):
                response = front.request(method, path, headers=headers)
                assert response.status in (403, 404, 405), (method, path)
                assert server.key.encode() not in response.body
            assert front.http.request("GET", path, headers=headers).status in (301, 404)


def test_files_that_nginx_cannot_read_are_reported_with_advice(start: Start, behind: Behind) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start an nginx of another user")
    front = behind(start(**CHECKED), user="user nobody nogroup;")
    front.upload("a.jpg", pictures.jpeg())
    response = front.get("/fileget?filename=a.jpg")
    assert response.status == 403
    assert "error log" in response.text
    assert "Permission denied" in (front.folder / "error.log").read_text(encoding="utf-8")


# --- the fast path ---------------------------------------------------------------------------------------------------

PUBLIC = [
    "/fileget?type=T&scale=100&filename=a.jpg",
    "/fileget?type=T&scale=100&filename=a.jpg&coll=KU+Fish",
    f"/fileget?coll=Herpetolog%C3%ADa+(1)&type=T&filename={UUID}.tif&scale=100",
    f"/fileget?type=T&scale=100&filename={UUID}.tif&token={'0' * 32}%3A17&coll=KU+Fish&disp=a&div=b+%26+c&inst=d",
    "/fileget?filename=sp612.att.PDF&type=T&scale=100",
]


def fill(server: Client) -> None:
    for name, content in (
        ("a.jpg", pictures.jpeg()),
        (f"{UUID}.tif", pictures.tiff()),
        ("sp612.att.PDF", pictures.pdf()),
    ):
        assert server.upload(name, content).status == 200
        assert server.thumbnail(name, 100).status == 200


def test_public_thumbnails_are_served_by_nginx_while_the_server_is_down(start: Start, behind: Behind) -> None:
    server = start()
    fill(server)
    front = behind(server, FAST, ADVANCED, upstream=free_port())
    for query in PUBLIC:
        response, by_nginx = front.watched(query)
        assert (response.status, response.body, by_nginx) == (200, server.get(query).body, True), query
    assert front.get("/fileget?filename=a.jpg").status == front.thumbnail("a.jpg", 99).status == 502


def test_conditions_that_nginx_would_evaluate_differently_are_left_to_the_server(start: Start, behind: Behind) -> None:
    server = start(**BEHIND_NGINX)
    fill(server)
    front = behind(server, FAST, ADVANCED)
    query, long_ago = PUBLIC[0], "Thu, 01 Jan 1998 00:00:00 GMT"
    tag = server.get(query).headers["etag"]
    for headers, is_fast in (
        ({}, True),
        ({"If-None-Match": '"other"'}, True),
        ({"If-Modified-Since": long_ago}, True),
        ({"If-Match": '"other"'}, False),
        ({"If-Unmodified-Since": long_ago}, False),
        ({"Range": "bytes=0-9"}, False),
        ({"Range": "bytes=0-9", "If-Range": tag}, False),
    ):
        response, by_nginx = front.watched(query, headers)
        expected = server.get(query, headers)
        assert (response.status, response.body, by_nginx) == (expected.status, expected.body, is_fast), headers
    for scale, is_fast in ((4000, True), (4001, False)):
        _, by_nginx = front.watched(f"/fileget?type=T&scale={scale}&filename=a.jpg")
        assert not by_nginx, "it is not cached"
        (server.thumbnails / f"a_{scale}.jpg").write_bytes(pictures.jpeg())
        assert front.watched(f"/fileget?type=T&scale={scale}&filename=a.jpg")[1] == is_fast


@pytest.mark.parametrize("name", [BASIC, ADVANCED])
def test_nginx_waits_longer_for_the_server_than_that_may_need(name: str) -> None:
    settings = load_settings({})
    [waits] = re.findall(r"proxy_read_timeout (\d+)s;", edited({}, name))
    assert int(waits) > pool.TIMEOUT_SECONDS + 2 * settings.limits.render_seconds


@pytest.mark.parametrize("name", [BASIC, ADVANCED])
@pytest.mark.parametrize("web_server", ["granian"])  # Paste closes each connection
def test_nginx_reuses_its_connections_to_the_server_and_closes_idle_ones_first(
    start: Start, behind: Behind, name: str
) -> None:
    server = start(**BEHIND_NGINX)
    front = behind(server, name=name)
    assert [front.get("/").status for _ in range(3)] == [200] * 3
    # Only established ones (01): a server of another test may have had the same port within the last minute.
    connections = [line.split()[2:4] for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()]
    assert connections.count([f"0100007F:{server.port:04X}", "01"]) == 1
    [idle] = re.findall(r"upstream .* keepalive_timeout (\d+)s;", edited({}, name))
    assert int(idle) < min(granian_server._HEAD_SECONDS, server.settings.limits.silence_seconds)


def test_thumbnails_that_are_not_cached_yet_are_no_errors_in_the_log(start: Start, behind: Behind) -> None:
    server = start(**BEHIND_NGINX)
    fill(server)
    front = behind(server, FAST, ADVANCED)
    for query in PUBLIC:
        assert front.get(query.replace("scale=100", "scale=77")).status == 200
    assert "[error]" not in (front.folder / "error.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [BASIC, ADVANCED])
def test_only_secure_versions_of_tls_are_used(start: Start, behind: Behind, name: str) -> None:
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in directives(edited({}, name))
    front = behind(start(), name=name)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        front.trust.minimum_version = front.trust.maximum_version = version
        with front.connected() as connection:
            assert connection.version() == version.name.replace("_", ".")
        front.trust.minimum_version = ssl.TLSVersion.TLSv1_2


def test_without_the_fast_path_every_request_goes_to_the_server(start: Start, behind: Behind) -> None:
    server = start(**CHECKED)
    fill(server)
    front = behind(server, name=ADVANCED)
    assert {(response.status, by_nginx) for response, by_nginx in map(front.watched, PUBLIC)} == {(200, False)}


def plain_picture(colour: tuple[int, int, int], width: int = 100) -> bytes:
    return pictures.encoded(Image.new("RGB", (width, 80), colour), "JPEG")


def dominant(response: Response) -> tuple[int, ...]:
    picture = pictures.opened(response.body).convert("RGB")
    return tuple(picture.getpixel((picture.width // 2, picture.height // 2)))  # type: ignore[arg-type]


def test_replaced_deleted_and_removed_files_are_no_longer_served(any_front: tuple[RunningServer, Front]) -> None:
    server, front = any_front
    queries = (f"/fileget?filename={UUID}.jpg", f"/fileget?filename={UUID}.jpg&type=T&scale=90")
    known: dict[str, tuple[int, ...]] = {}
    for turn, colour in enumerate((pictures.RED, pictures.GREEN, pictures.BLUE, pictures.YELLOW)):
        # nginx's tags hold whole seconds and the size, as docs/nginx.md says.
        front.upload(f"{UUID}.jpg", plain_picture(colour, 100 + 16 * turn))
        for query in (*queries, *queries):
            for headers in ({}, {"If-None-Match": ", ".join(known) or '"none"'}):
                response = front.get(query, headers)
                shown = dominant(response) if response.status == 200 else known[response.headers["etag"]]
                assert pictures.alike(shown, colour), (turn, query)
            known[response.headers["etag"]] = colour
        if turn == 1:
            assert front.delete(f"{UUID}.jpg").status == 200
            assert [front.get(query, {"If-None-Match": "*"}).status for query in queries] == [404, 404]
    (server.originals / f"{UUID}.jpg").unlink()
    assert visible_files(server.thumbnails)
    assert [front.get(query).status for query in queries] == [404, 404]


#: Names, scales and whole queries that look like one for a cached thumbnail, but mean something else to the server.
ODD_NAMES = """
+a.jpg a.jpg%20 a%2Ejpg %61.jpg a.jpg%00 a.jpg%0A a.jpg% A.jpg a.JPG a.jpg#b.jpg a_100.jpg x.tif x.png link.jpg
..%2Foriginals%2Fa.jpg ..%5Ca.jpg ./a.jpg //a.jpg .. .asset-server .asset-server/key ../.asset-server/key ../secret.jpg
../originals/a.jpg inside.jpg folder.jpg pipe.jpg
"""
ODD_SCALES = "0 0100 %31%30%30 +100 -100 1e2 4001 99999999999999999999 100& 100&x=% 100&coll=% 100&coll=a&coll=b"
ODD_QUERIES = """
filename=a.jpg&filename=b.jpg&type=T&scale=100  filename=b.jpg&type=T&scale=100&filename=a.jpg  filename=a.jpg&type=T
filename=a.jpg&type=T&type=O&scale=100  filename=a.jpg&type=O&type=T&scale=100  filename=a.jpg&type=T&scale=100&scale=50
type=T&scale=100&%66ilename=b.jpg&filename=a.jpg  %74ype=T&scale=100&filename=a.jpg  filename  filename=
typ%65=T&scale=100&filename=a.jpg&type=O  Filename=b.jpg&filename=a.jpg&type=T&scale=100  filename=link.jpg
TYPE=T&scale=100&filename=a.jpg  filename=a.jpg&Type=T&SCALE=100  filename=a.jpg&amp;type=T&amp;scale=100
amp;filename=a.jpg&type=T&scale=100  filename=a.jpg;type=T;scale=100  filename=a.jpg&type=%54&scale=100
filename=a.jpg&type=t&scale=100  filename=a.jpg&type=+T&scale=100  filename=a.jpg&type=T:100&scale=100
filename=a.jpg&&type=T&scale=100  &filename=a.jpg&type=T&scale=100  filename=b.jpg&type=T&scale=50  inst=&inst=&inst=
filename=a.jpg&type=T&scale=100&downloadname=%FF  filename=a.jpg&type=T&scale=100&downloadname=..%2Fx.html
filename=a.jpg&type=T&scale=100&downloadname=a&downloadname=b  filename=a.jpg&downloadname=..%2F..%2Fx.html
"""
ODD_PATHS = """
/  /nothing  /healthz  /getmetadata?filename=x  /fileget?filename=none.jpg
/fileget/?filename=a.jpg  /%46ileget?filename=a.jpg  /FILEGET?filename=a.jpg  /fileget%3Ffilename=a.jpg  /fileget?
/fileget;x?filename=a.jpg  /fileget/a.jpg  /static/originals/a.jpg  /static/originals/link.jpg
/static/.asset-server/key  /.asset-server/key  http://evil.example/fileget?filename=a.jpg
http://evil.example  /assets/fileget?filename=a.jpg
"""

#: Addresses that nginx refuses by itself.
REFUSED_PATHS = ["/../../../etc/passwd", "/..%2f..%2fetc/passwd", "/fileget/../../x", "/%00", "/%zz"]


def odd_targets() -> Iterator[str]:
    names = [*ODD_NAMES.split(), "a" * 196 + ".jpg", "a" * 300 + ".jpg"]
    queries = [f"filename={name}&type=T&scale=100" for name in names]
    queries += [f"filename=a.jpg&type=T&scale={scale}" for scale in ["", *ODD_SCALES.split()]]
    queries += [*ODD_QUERIES.split(), "&".join(f"p{number}=1" for number in range(500)) + f"&{queries[0]}"]
    yield from (f"/fileget?{query}" for query in queries)
    yield from ODD_PATHS.split()


def odd_store(server: RunningServer, outside: Path) -> None:
    """Fills a store with files, and with other things that people may put between them."""
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


def test_unusual_requests_get_the_responses_of_the_server(
    any_front: tuple[RunningServer, Front], tmp_path: Path
) -> None:
    server, front = any_front
    odd_store(server, tmp_path)
    plain = server.restarted(**BEHIND_NGINX)
    try:
        for target in odd_targets():
            data = f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode("latin-1")
            expected, response = plain.raw(data), front.raw(data)
            bodies = (re.sub(rb"nonce=[^ >]+", b"", answer.body) for answer in (response, expected))
            assert (response.status, next(bodies)) == (expected.status, next(bodies)), target[:100]
            assert b"SECRET" not in response.body
            for header in ("content-type", "content-disposition"):
                assert response.headers.get(header) == expected.headers.get(header), target[:100]
        for target in REFUSED_PATHS:
            response = front.raw(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode("latin-1"))
            assert (response.status, response.headers["content-type"]) == (400, "text/plain; charset=UTF-8"), target
            assert response.headers["access-control-allow-origin"] == "*"
    finally:
        plain.stop()


def test_folders_linked_to_another_disk_are_served(start: Start, behind: Behind, tmp_path: Path) -> None:
    server = start(**CHECKED)
    for folder in (server.originals, server.thumbnails):
        folder.rename(tmp_path / folder.name)
        folder.symlink_to(tmp_path / folder.name)
    fill(server)
    front = behind(server, FAST, ADVANCED)
    assert {(response.status, by_nginx) for response, by_nginx in map(front.watched, PUBLIC)} == {(200, True)}
    assert front.get("/fileget?filename=a.jpg").body == pictures.jpeg()


COLLECTIONS = {
    '    default "";\n    #"~^KU(': '    default unknown;\n    "~^KU(',
    '    #"~^Herpetolog%C3%ADa$"': '    "~^Herpetolog%C3%ADa$"',
}


def test_with_collection_folders_nginx_finds_the_right_one_or_asks_the_server(start: Start, behind: Behind) -> None:
    folders = {"KU Fish": "ichthyology", "Herpetología": "herps/all", "Birds": "birds"}
    server = start(**CHECKED, COLLECTION_DIRS=folders)
    front = behind(server, {**FAST, **COLLECTIONS}, ADVANCED)
    colours = dict(zip(folders, (pictures.RED, pictures.GREEN, pictures.BLUE), strict=True))
    for collection, colour in colours.items():
        assert front.upload("a.jpg", plain_picture(colour), coll=collection).status == 200
        assert front.thumbnail("a.jpg", 90, coll=collection).status == 200
    for folder, name in (("originals", "a.jpg"), ("thumbnails", "a_90.jpg")):
        (server.base / folder).mkdir()
        (server.base / folder / name).write_bytes(plain_picture(pictures.YELLOW))  # of no collection
    for coll, collection, expected in (
        ("KU+Fish", "KU Fish", True),
        ("KU%20Fish", "KU Fish", True),
        ("Herpetolog%C3%ADa", "Herpetología", True),
        ("Herpetolog%c3%ada", "Herpetología", False),
        ("Birds", "Birds", False),
        *((wrong, "", False) for wrong in ("ku+fish", "KU++Fish", "KU+Fish+", "unknown", "/ichthyology", "")),
    ):
        response, by_nginx = front.watched(f"/fileget?filename=a.jpg&type=T&scale=90&coll={coll}")
        assert (response.status, by_nginx) == (200 if collection else 404, expected), coll
        assert not collection or pictures.alike(dominant(response), colours[collection])


def test_thumbnails_are_current_after_a_manual_removal_and_after_a_restore(start: Start, behind: Behind) -> None:
    server = start()
    front = behind(server, FAST, ADVANCED)
    for colour in (pictures.RED, pictures.GREEN, pictures.BLUE):
        (server.originals / "a.jpg").unlink(missing_ok=colour != pictures.GREEN)
        front.upload("a.jpg", plain_picture(colour))
        assert pictures.alike(dominant(front.thumbnail("a.jpg", 90)), colour)
    front.upload("a.jpg", plain_picture(pictures.RED))
    front.thumbnail("a.jpg", 90)
    assert run_manage(server.base, "trash", "restore", "--replace", "a.jpg").returncode == 0
    assert pictures.alike(dominant(front.thumbnail("a.jpg", 90)), pictures.BLUE)


EXTENSIONS = (
    "jpg jpeg jpe jfif png gif tif tiff pdf heic heif hif avif webp bmp jp2 j2k jxl psd"
    " cr2 cr3 nef arw dng orf raf rw2 pef svg txt zip"
)


def fast_names(name: str) -> list[str]:
    """Which cached thumbnails of 100 pixels nginx would send for this name."""
    found = []
    for pattern, result in re.findall(r'"~\^1:(.*)" "(.*)";', edited({}, ADVANCED)):
        if match := re.fullmatch(pattern.replace("(?<asset", "(?P<asset"), name):
            values = {**match.groupdict(), "arg_scale": "100"}
            found.append(re.sub(r"\$\{?(\w+)\}?", lambda word, values=values: values[word[1]], result))
    return found


def test_nginx_and_server_agree_on_names_and_types_of_thumbnails() -> None:
    assert {extension.removeprefix(".") for extension in formats._EXTENSIONS} <= set(EXTENSIONS.split())
    for root in ("a", "b.c", UUID, UUID.upper(), "sp612.att", "sp612", "x_50", "d" * 196, "d" * 200):
        for extension in [*EXTENSIONS.split(), *EXTENSIONS.upper().split()]:
            name = f"{root}.{extension}"
            media_type = media_types.guess(name)
            right = formats.thumbnail_name(name, media_type, 100) if media_type in formats.THUMBNAIL_TYPES else ""
            is_shared = right.lower().endswith(".png") and root not in (UUID, "sp612.att")
            assert fast_names(name) == ([right] if right and len(name) <= 200 and not is_shared else []), name
    [types] = re.findall(r"types \{ (.*) \}", edited({}, ADVANCED))
    for media_type, *spellings in (row.split() for row in types.split(";") if row):
        assert {media_types.header(f"a.{extension}") for extension in spellings} == {media_type}


# --- what the files have besides -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [BASIC, ADVANCED])
def test_nginx_reports_no_warnings(start: Start, behind: Behind, name: str) -> None:
    front = behind(start(), http_2(), name)
    command = [str(NGINX), "-t", "-p", str(front.folder), "-c", str(front.folder / "nginx.conf")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "successful" in printed
    assert "[warn]" not in printed


def directives(text: str) -> set[str]:
    """All directives of a configuration, and the heads of its blocks; several may share a line."""
    without_comments = re.sub(r"(?m)(?:^|\s)#.*$", "", text)
    quoted_or_plain = r"""(?:"[^"]*"|'[^']*'|[^\s;{}"'])+"""
    found = re.findall(rf"{quoted_or_plain}(?:\s+{quoted_or_plain})*\s*[;{{]", without_comments)
    return {" ".join(each.split()) for each in found}


def test_the_basic_configuration_is_short() -> None:
    assert edited({}, BASIC).count("\n") <= 60


def test_the_advanced_configuration_contains_the_basic_one() -> None:
    basic, advanced = (directives(edited({}, name)) for name in (BASIC, ADVANCED))
    assert {"proxy_request_buffering off;", "reset_timedout_connection on;", "location /protected-store/ {"} <= basic
    missing = {each for each in basic - advanced if not each.startswith(("alias", "error_page"))}
    assert missing == {"proxy_pass http://asset_server;"}


@pytest.mark.parametrize("name", [BASIC, ADVANCED])
def test_errors_of_nginx_are_plain_text_and_readable_across_origins(start: Start, behind: Behind, name: str) -> None:
    front = behind(start(), name=name, upstream=free_port())
    responses = [front.get("/web_asset_store.xml"), front.upload("a", bytes(3_000_000)), front.delete("a")]
    responses += [front.http.upload("a", b"x"), front.request("OPTIONS", "/fileupload")]
    assert {(response.status, response.text.partition(".")[0]) for response in responses} == {
        (502, "The asset server is not responding")
    }
    others = [front.get("/" + "x" * 20_000), front.raw(b"nonsense\r\n\r\n"), Client(front.port).get("/")]
    assert [response.status for response in others] == [414, 400, 400]
    for response in [*responses, *others]:
        assert response.headers["content-type"] == "text/plain; charset=UTF-8"
        assert response.headers["access-control-allow-origin"] == "*"
        assert is_of_this_run(int(response.headers["x-timestamp"]))
        assert "nginx" not in response.text


LIMITS = {"#geo ": "geo ", "#map ": "map ", "#limit_req": "limit_req", "burst=500": "burst=4", "50r/s": "1r/m"}


def test_the_example_of_rate_limits_exempts_the_listed_addresses(start: Start, behind: Behind) -> None:
    server = start(**CHECKED)
    fill(server)
    front = behind(server, {**FAST, **LIMITS}, ADVANCED)
    stranger = SecureClient(front.port, front.trust, source="127.0.0.2")
    assert [stranger.get(PUBLIC[0]).status for _ in range(8)] == [200] * 5 + [429] * 3
    response = stranger.upload("a.txt", b"x")
    assert response.status == 429
    assert "from your address" in response.text
    assert [name for name, _ in stranger.lines].count("Access-Control-Allow-Origin") == 1
    assert {front.get(query).status for query in PUBLIC * 3} == {200}


@pytest.mark.parametrize("name", [BASIC, ADVANCED])
def test_the_server_works_under_a_path_on_the_specify_7_host(start: Start, behind: Behind, name: str) -> None:
    server = start(**{**CHECKED, "PUBLIC_URL": f"https://{HOST}/assets"})
    fill(server)
    front = behind(server, {**below_assets(name), **(FAST if name == ADVANCED else {})}, name)
    assert f">https://{HOST}/assets/fileget<" in front.get("/assets/web_asset_store.xml").text
    assert f">https://{HOST}/assets/fileget<" in front.http.get("/assets/web_asset_store.xml").text
    for query in PUBLIC:
        response, by_nginx = front.watched(f"/assets{query}")
        assert (response.status, by_nginx) == (200, name == ADVANCED)
    parts = [("store", "ñ 1.html"), ("token", front.token("ñ 1.html")), ("f", ("f", b"<b>"))]
    body, content_type = multipart_body(parts)  # type: ignore[arg-type]
    assert front.request("POST", "/assets/fileupload", body, {"Content-Type": content_type}).text == "Ok."
    assert front.get("/assets/fileget", filename="ñ 1.html").text == "<b>"
    static = "/assets/static/originals/%C3%B1%201.html"
    assert front.get("/assets/getfileref", filename="ñ 1.html").text == f"https://{HOST}{static}"
    assert front.get(static).text == "<b>"
    redirected = front.http.get("/assets/fileget?filename=a.jpg")
    assert redirected.headers["location"] == f"https://{HOST}/assets/fileget?filename=a.jpg"
    assert front.http.request("POST", "/assets/fileupload").status == 400
    for path in ("/", "/fileget?filename=a.jpg", "/static/originals/b.html", "/assetsx", "/assets/../fileget"):
        assert front.get(path).text.startswith("Specify 7 at "), path


def test_compose_starts_nginx_only_with_its_profile_and_this_file(tmp_path: Path) -> None:
    compose = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
    server, nginx = compose.split("\n  nginx:\n")
    assert '"${PUBLISHED_PORT:-8080}:8080"' in server
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
    assert "{ server asset-server:8080; " in made
    assert "    server_name a.example; " in made
