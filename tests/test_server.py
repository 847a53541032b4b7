"""server: each route as the protocol has it, through real HTTP."""

import contextlib
import errno
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from assetstore.storage.protocols import Incoming
from tests import pictures
from tests.support import KEY, Client, Response, RunningServer, is_of_this_run, visible_files

EVERY_SERVER = True

Start = Callable[..., RunningServer]
ROUTES = ["/fileget", "/getmetadata", "/getfileref"]


def is_sentence(answer: Response) -> bool:
    """A short plain text that a person can act on."""
    plain = answer.headers["content-type"] == "text/plain; charset=UTF-8"
    return plain and answer.text.endswith((".", "?", ")")) and 10 < len(answer.text) < 250 and "/tmp" not in answer.text


# --- pages and XML ---------------------------------------------------------------------------------------------------


def test_the_front_page_confirms_the_server_and_shows_the_address_for_specify(start: Start) -> None:
    answer = start(SERVER_NAME="assets.museum.org", SERVER_PORT=80).get("/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"
    assert "It works!" in answer.text
    assert "http://assets.museum.org/web_asset_store.xml" in answer.text


def test_the_xml_lists_the_advertised_addresses_not_the_listening_port(start: Start) -> None:
    server = start(SERVER_NAME="assets.museum.org", SERVER_PORT=8080)
    answer = server.get("/web_asset_store.xml")
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    root = ET.fromstring(answer.body)
    assert root.tag == "urls"
    assert {url.get("type"): url.text for url in root} == {
        "read": "http://assets.museum.org:8080/fileget",
        "write": "http://assets.museum.org:8080/fileupload",
        "delete": "http://assets.museum.org:8080/filedelete",
        "getmetadata": "http://assets.museum.org:8080/getmetadata",
        "testkey": "http://assets.museum.org:8080/testkey",
    }
    assert [child.tag for child in root] == ["url"] * 5


def test_a_host_header_never_appears_in_the_xml(server: RunningServer) -> None:
    answer = server.get("/web_asset_store.xml", {"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    assert "evil" not in answer.text


def test_a_public_url_is_the_base_of_everything_advertised(start: Start) -> None:
    server = start(PUBLIC_URL="https://museum.org/a&b/")
    urls = [url.text for url in ET.fromstring(server.get("/web_asset_store.xml").body)]
    assert all(str(url).startswith("https://museum.org/a&b/") for url in urls)
    server.upload("a.txt", b"x")
    assert server.get("/getfileref", filename="a.txt").text == "https://museum.org/a&b/static/originals/a.txt"


# --- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("random", ["7", "-1160163795", "", "ñ"])
def test_testkey_accepts_a_token_for_any_text(server: RunningServer, random: str) -> None:
    answer = server.get("/testkey", random=random, token=server.token(random))
    assert (answer.status, answer.text) == (200, "Ok.")


def test_testkey_explains_rejections(server: RunningServer) -> None:
    wrong_key = Client(server.port, "wrong")
    for query, reason in [
        ({"random": "1"}, "no token"),
        ({"token": server.token("1")}, "the name that the token signs"),
        ({"random": "1", "token": wrong_key.token("1")}, "different keys"),
        ({"random": "1", "token": server.token("1", age=151)}, " s ago"),
        ({"random": "1", "token": "nonsense"}, "malformed"),
    ]:
        answer = server.get("/testkey", **query)
        assert answer.status == 403
        assert reason in answer.text
        assert is_sentence(answer)
        assert "x-timestamp" in answer.headers
    assert server.get("/testkey", random="1", token=server.token("1", age=100)).status == 200


def test_repeated_tokens_and_names_are_rejected(server: RunningServer) -> None:
    token = server.token("1")
    assert server.get(f"/testkey?random=1&token={token}&token={token}").status == 403
    assert server.get(f"/testkey?random=1&random=1&token={token}").status == 403


def test_without_a_key_nothing_is_checked(start: Start) -> None:
    server = start(KEY=None)
    assert server.get("/testkey").text == "Ok."
    assert server.post_parts([("store", "a.txt"), ("f", ("f", b"x"))]).status == 200
    assert server.post_form("/filedelete", b"filename=a.txt").status == 200


def test_without_a_configured_key_the_server_uses_its_own_and_never_serves_it(start: Start) -> None:
    server = start(KEY="")
    assert server.get("/testkey", random="1", token=server.token("1")).status == 200
    for path in (".asset-server/key", "originals/../.asset-server/key", "originals/.asset-server/key"):
        answer = server.get(f"/static/{path}")
        assert answer.status in (400, 404)
        assert server.key not in answer.text


def test_the_token_is_checked_before_everything_else(start: Start) -> None:
    server = start(COLLECTION_DIRS={"KU Fish": "fish"}, REQUIRE_KEY_FOR_GET=True)
    for route in ("/fileget", "/getmetadata"):
        assert server.get(route, filename="../x", coll="unknown", token="bad").status == 403
        assert server.get(route).status == 403
        assert server.get(route, filename="a.jpg", coll="unknown", token=server.token("a.jpg")).status == 404
    assert server.post_form("/filedelete", b"filename=../x&coll=unknown&token=bad").status == 403
    assert server.upload("../x", b"", token="bad", coll="unknown").status == 403
    assert server.upload("a.jpg", b"", type="T", coll="unknown").status == 404
    assert server.upload("a.jpg", b"", type="T", coll="unknown", token="bad").status == 403


@pytest.mark.paste_only
def test_a_bad_token_before_the_file_ends_an_upload_before_anything_is_written(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, begun = server.context.originals.storage, []
    receive = storage.receive

    def note(collection_dir: str | None, length: int | None, name: str | None = None) -> Incoming:
        begun.append(name)
        return receive(collection_dir, length, name)

    monkeypatch.setattr(storage, "receive", note)
    file: tuple[str, tuple[str, bytes]] = ("file", ("local.bin", bytes(100_000)))
    fields: list[tuple[str, str]] = [("store", "a.bin"), ("token", "bad")]
    assert server.post_parts([*fields, file]).status == 403
    assert begun == []
    assert server.post_parts([file, *fields]).status == 403
    assert server.upload("b.bin", b"x").status == 200
    assert begun == [None, "b.bin"]
    assert visible_files(server.originals) == ["b.bin"]


def test_the_bytes_of_an_upload_count_as_unverified_only_if_its_token_comes_last(start: Start) -> None:
    server = start(limits={"unverified_bytes": 20_000})
    file: tuple[str, tuple[str, bytes]] = ("file", ("local.bin", bytes(15_000)))
    fields: list[tuple[str, str]] = [("store", "a.bin"), ("token", server.token("a.bin"))]
    assert server.post_parts([*fields, file]).status == 200
    answer = server.post_parts([file, *fields])
    assert (answer.status, "send the token first" in answer.text) == (413, True)
    for only in fields:  # the token can be checked only with its name
        assert server.post_parts([only, file, *(field for field in fields if field != only)]).status == 413


def test_reading_requires_a_token_only_if_configured(start: Start) -> None:
    for required in (False, True):
        server = start(REQUIRE_KEY_FOR_GET=required)
        server.upload("a.jpg", pictures.jpeg())
        for route in ("/fileget", "/getmetadata"):
            assert server.get(route, filename="a.jpg").status == (403 if required else 200)
            assert server.head(route, filename="a.jpg").status == (403 if required else 200)
            assert server.get(route, filename="a.jpg", token=server.token("a.jpg")).status == 200
        assert server.get("/getfileref", filename="a.jpg").status == 200


# --- uploads and deletes ---------------------------------------------------------------------------------------------


def test_an_upload_is_served_byte_for_byte(server: RunningServer) -> None:
    content = bytes(range(256)) * 4000
    answer = server.upload("7ab24b22.ñandú", content)
    assert (answer.status, answer.text) == (200, "Ok.")
    answer = server.get("/fileget", filename="7ab24b22.ñandú")
    assert answer.body == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert (server.originals / "7ab24b22.ñandú").read_bytes() == content


def test_a_second_upload_of_a_name_replaces_the_first(server: RunningServer) -> None:
    server.upload("a.txt", b"first")
    before = server.get("/fileget", filename="a.txt").headers["etag"]
    assert server.upload("a.txt", b"other").status == 200
    answer = server.get("/fileget", filename="a.txt")
    assert answer.body == b"other"
    assert answer.headers["etag"] != before


def test_thumbnail_uploads_are_ignored_but_require_a_valid_token(server: RunningServer) -> None:
    answer = server.upload("a.jpg", b"x", type="T")
    assert (answer.status, answer.text) == (200, "Ignoring thumbnail upload!")
    assert server.post_parts([("type", "T"), ("store", "a.jpg"), ("token", server.token("a.jpg"))]).status == 200
    assert server.post_parts([("type", "T"), ("store", "a.jpg")]).status == 403
    assert visible_files(server.originals) == []


def test_only_the_exact_letter_t_means_a_thumbnail(server: RunningServer) -> None:
    for index, kind in enumerate(("t", "TT", "", "O", " T")):
        assert server.upload(f"{index}", b"x", type=kind).text == "Ok."
    assert len(visible_files(server.originals)) == 5


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("type", "O"), ("store", "a"), ("token", "good")], 400),
        ([("type", "O"), ("token", "good"), ("f", ("f", b"x"))], 403),
        ([("store", "a"), ("token", "bad"), ("f", ("f", b"x"))], 403),
        ([("f", ("f", b"x")), ("store", "a"), ("token", "bad")], 403),
        ([("f", ("f", b"x")), ("f", ("f", b"x")), ("store", "a"), ("token", "good")], 400),
        ([("store", "a"), ("store", "a"), ("token", "good"), ("f", ("f", b"x"))], 403),
        ([("store", "a"), ("token", "good"), ("x", "y" * 70_000), ("f", ("f", b"x"))], 413),
    ],
)
def test_an_invalid_upload_gets_a_reason_and_stores_nothing(
    server: RunningServer, parts: list[tuple[str, str]], status: int
) -> None:
    good = server.token("a")
    answer = server.post_parts([(name, good if value == "good" else value) for name, value in parts])
    assert answer.status == status
    assert is_sentence(answer)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert everything(server) == {}


def test_a_folder_at_the_path_of_an_upload_is_reported(server: RunningServer) -> None:
    (server.originals / "b.txt").mkdir()
    answer = server.upload("b.txt", b"x")
    assert answer.status == 400
    assert "folder" in answer.text


def test_a_body_that_is_not_multipart_is_a_bad_request(server: RunningServer) -> None:
    assert server.post_form("/fileupload", b"store=a&type=O").status == 400
    assert server.request("POST", "/fileupload").status == 400


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/fileupload", "POST", ""),
        ("/fileupload", "POST", "content-type,x-requested-with"),
        ("/filedelete", "POST", "content-type"),
        ("/fileget?filename=a.pdf&type=O", "GET", "range"),
        ("/fileget?filename=missing.pdf", "HEAD", "if-none-match,if-range,range"),
        ("/static/originals/a.pdf", "GET", "range"),
        ("/getmetadata", "GET", "if-modified-since"),
        ("/getfileref", "GET", "cache-control"),
        ("/testkey", "GET", "cache-control"),
        ("/web_asset_store.xml", "GET", "cache-control"),
        ("/", "GET", "cache-control"),
    ],
)
def test_pages_elsewhere_may_ask_before_a_request(start: Start, path: str, method: str, headers: str) -> None:
    server = start(REQUIRE_KEY_FOR_GET=True, COLLECTION_DIRS={"KU Fish": "fish"})
    asked = {"Origin": "http://specify7", "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    answer = server.request("OPTIONS", path, headers=asked)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert set(filter(None, headers.split(","))) <= set(allowed)
    assert "authorization" not in allowed
    assert "x-status-token" not in allowed


@pytest.mark.parametrize("path", ["/readyz", "/healthz", "/status", "/status/data/server", "/nothing"])
def test_pages_elsewhere_may_not_ask_the_addresses_of_the_administrator(server: RunningServer, path: str) -> None:
    answer = server.request("OPTIONS", path, headers={"Origin": "https://evil.example"})
    assert answer.status in (404, 405)
    assert "access-control-allow-headers" not in answer.headers


def test_pages_elsewhere_may_read_the_headers_that_viewers_need(server: RunningServer) -> None:
    server.upload("a.pdf", pictures.pdf())
    for answer in (
        server.get("/fileget", filename="a.pdf"),
        server.get("/fileget", {"Range": "bytes=0-9"}, filename="a.pdf"),
        server.get("/fileget", {"Range": "bytes=9999999-"}, filename="a.pdf"),
        server.thumbnail("a.pdf"),
        server.get("/static/originals/a.pdf"),
        server.get("/fileget", filename="missing.pdf"),
        server.get("/testkey"),
    ):
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"Accept-Ranges", "Content-Range", "ETag", "X-Timestamp"} <= set(exposed)


def test_deleting_removes_the_original_and_exactly_its_thumbnails(server: RunningServer) -> None:
    names = ["sp61.att.jpg", "sp612.att.jpg", "sp61.att.png", "7ab24b22-1.jpg", "7ab24b22-12.jpg"]
    for name in names:
        server.upload(name, pictures.png() if name.endswith("png") else pictures.jpeg())
        for scale in (90, 100):
            server.thumbnail(name, scale)
    assert server.delete("sp61.att.jpg").text == "Ok."
    assert server.delete("7ab24b22-1.jpg").text == "Ok."
    assert visible_files(server.originals) == ["7ab24b22-12.jpg", "sp61.att.png", "sp612.att.jpg"]
    assert visible_files(server.thumbnails) == [
        f"{root}_{scale}.{extension}"
        for root, extension in (("7ab24b22-12", "jpg"), ("sp61.att", "png"), ("sp612.att", "jpg"))
        for scale in (100, 90)
    ]


def test_deleting_a_missing_file_is_404(server: RunningServer) -> None:
    answer = server.delete("a.jpg")
    assert answer.status == 404
    assert is_sentence(answer)


def test_a_delete_may_be_sent_as_multipart(server: RunningServer) -> None:
    server.upload("a.txt", b"x")
    body = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in (("filename", "a.txt"), ("token", server.token("a.txt")))
    )
    assert server.post_form("/filedelete", body + b"--b--\r\n", "multipart/form-data; boundary=b").status == 200


def test_a_delete_by_query_string_or_get_deletes_nothing(server: RunningServer) -> None:
    server.upload("a.txt", b"x")
    query = f"/filedelete?filename=a.txt&token={quote(server.token('a.txt'))}"
    assert server.request("POST", query).status == 403
    assert server.get(query).status == 405
    assert visible_files(server.originals) == ["a.txt"]


def test_on_a_full_disk_only_uploads_and_new_thumbnails_get_507(
    tmp_path: Path, mounted: Callable[[Path, str], None]
) -> None:
    base = tmp_path / "small"
    mounted(base, "4m")
    server = RunningServer({"KEY": KEY, "BASE_DIR": str(base)})
    try:
        for name, make in (("a.png", pictures.png), ("a.pdf", pictures.pdf)):
            server.upload(name, make())
        with contextlib.suppress(OSError), open(base / "filling", "wb", buffering=0) as filling:
            while filling.write(bytes(4096)):
                pass
        answers = [server.upload("a.png", bytes(100_000)), server.thumbnail("a.png"), server.thumbnail("a.pdf")]
        for answer in answers:
            assert answer.status == 507, answer.text
            assert "full" in answer.text
            assert is_sentence(answer)
            assert answer.headers["access-control-allow-origin"] == "*"
        assert server.get("/fileget", filename="a.png").body == pictures.png(), "the old version"
        assert server.delete("a.pdf").status == 200
        (base / "filling").unlink()
        assert server.thumbnail("a.png").status == 200, "it is not remembered as a failure"
        assert server.upload("b.png", pictures.png()).status == 200
    finally:
        server.stop()


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def text(server: RunningServer) -> RunningServer:
    server.upload("notes.txt", b"0123456789")
    return server


def test_ranges_are_served(text: RunningServer) -> None:
    for header, status, body, content_range in [
        ("bytes=0-", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
    ]:
        answer = text.get("/fileget", {"Range": header}, filename="notes.txt")
        assert (answer.status, answer.headers.get("content-range")) == (status, content_range)
        assert body is None or answer.body == body
        assert "x-timestamp" in answer.headers
        assert "content-type" in answer.headers
    assert text.get("/fileget", {"Range": "bytes=0-1", "If-Range": '"old"'}, filename="notes.txt").status == 200


def test_a_client_that_has_the_file_gets_304(text: RunningServer) -> None:
    first = text.get("/fileget", filename="notes.txt")
    for header, value in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")):
        answer = text.get("/fileget", {header: first.headers[value]}, filename="notes.txt")
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == first.headers["etag"]
        assert "x-timestamp" in answer.headers


def test_head_has_the_headers_of_get(text: RunningServer) -> None:
    text.upload("a.jpg", pictures.jpeg())
    for path in (
        "/",
        "/web_asset_store.xml",
        "/fileget?filename=notes.txt",
        "/fileget?filename=a.jpg&type=T&scale=100",
        "/getmetadata?filename=a.jpg",
        "/getfileref?filename=a.jpg",
        "/static/originals/notes.txt",
        "/fileget?filename=absent",
        "/nothing",
    ):
        got, head = text.get(path), text.head(path)
        assert (head.status, head.body) == (got.status, b""), path
        for name in ("content-type", "content-length", "etag", "last-modified"):
            assert head.headers.get(name) == got.headers.get(name), (path, name)
    head = text.head("/fileget", {"Range": "bytes=2-4"}, filename="notes.txt")
    assert (head.status, head.headers["content-length"]) == (206, "3")


@pytest.mark.parametrize("first", [True, False])
def test_a_form_in_which_no_file_was_chosen_stores_nothing_and_replaces_nothing(
    server: RunningServer, first: bool
) -> None:
    server.upload("a.jpg", b"good")
    for name in ("a.jpg", "b.jpg"):
        fields: list[tuple[str, str | tuple[str, bytes]]] = [("store", name), ("token", server.token(name))]
        nothing: tuple[str, tuple[str, bytes]] = ("file", ("", b""))
        answer = server.post_parts([nothing, *fields] if first else [*fields, nothing])
        assert answer.status == 400
        assert "no file" in answer.text
    assert visible_files(server.originals) == ["a.jpg"]
    assert (server.originals / "a.jpg").read_bytes() == b"good"


def test_an_empty_file_can_be_stored_and_served(server: RunningServer) -> None:
    server.upload("empty.dat", b"")
    answer = server.get("/fileget", filename="empty.dat")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert server.get("/fileget", {"Range": "bytes=0-"}, filename="empty.dat").status == 416


def test_scale_is_ignored_for_originals_and_type_is_optional(text: RunningServer) -> None:
    for query in ({"scale": "null"}, {"type": "O", "scale": "null"}, {"type": "t"}, {}):
        assert text.get("/fileget", filename="notes.txt", **query).body == b"0123456789"


def test_a_requested_download_name_sets_content_disposition(text: RunningServer) -> None:
    answer = text.get("/fileget", filename="notes.txt", downloadname="a/notas ñ.txt")
    assert (
        answer.headers["content-disposition"] == "inline; filename*=utf-8''notas%20%C3%B1.txt; filename=\"notas n.txt\""
    )
    assert "content-disposition" not in text.get("/fileget", filename="notes.txt").headers


def test_stored_html_cannot_act_on_behalf_of_the_user(server: RunningServer) -> None:
    for name in ("a.html", "a.svg", "a.xml", "a"):
        server.upload(name, b"<script>alert(1)</script>")
        headers = server.get("/fileget", filename=name).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in headers["content-security-policy"]
    assert server.get("/fileget", filename="a").headers["content-type"] == "application/octet-stream"


def test_links_copied_from_html_work(text: RunningServer) -> None:
    text.upload("a.jpg", pictures.jpeg())
    answer = text.get("/fileget?type=T&amp;filename=a.jpg&amp;scale=100")
    assert answer.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("scale", ["", "0", "-5", "1.5", "null", "x", None])
def test_a_thumbnail_requires_a_scale(server: RunningServer, scale: str | None) -> None:
    server.upload("a.jpg", pictures.jpeg())
    query = {} if scale is None else {"scale": scale}
    answer = server.get("/fileget", type="T", filename="a.jpg", **query)
    assert answer.status == 400
    assert "scale" in answer.text


# --- metadata and links ----------------------------------------------------------------------------------------------


def test_metadata_is_a_list_of_groups(server: RunningServer) -> None:
    server.upload("a.jpg", pictures.jpeg())
    for query in ({}, {"dt": "json"}, {"dt": ""}):
        answer = server.get("/getmetadata", filename="a.jpg", **query)
        assert answer.headers["content-type"] == "application/json"
        groups = {group["Name"]: group["Fields"] for group in json.loads(answer.text)}
        assert groups["EXIF"]["DateTimeOriginal"] == "2009:05:30 12:34:56"
        assert groups["Image"]["Make"] == "Canon"


def test_the_date_is_returned_as_plain_text_or_404(server: RunningServer) -> None:
    server.upload("a.jpg", pictures.jpeg())
    server.upload("b.jpg", pictures.encoded(Image.new("RGB", (9, 9)), "JPEG"))
    answer = server.get("/getmetadata", filename="a.jpg", dt="date")
    assert (answer.text, answer.headers["content-type"]) == ("2009:05:30 12:34:56", "text/plain; charset=UTF-8")
    assert server.get("/getmetadata", filename="b.jpg", dt="date").status == 404
    assert server.get("/getmetadata", filename="b.jpg").text == "[]"


def test_a_link_redirects_to_the_file(start: Start) -> None:
    server = start(COLLECTION_DIRS={"KU Fish": "fish/wet"}, SERVER_NAME="m.org", SERVER_PORT=80)
    name = "ñ #1 & 50%.jpg"
    server.upload(name, pictures.jpeg(), coll="KU Fish")
    original = server.get("/getfileref", filename=name, coll="KU Fish")
    assert original.text.startswith("http://m.org/static/fish/wet/originals/")
    thumbnail = server.get("/getfileref", filename=name, coll="KU Fish", type="T", scale=100)
    assert thumbnail.headers["content-type"] == "text/plain; charset=UTF-8"
    assert server.get(original.text.removeprefix("http://m.org")).body == pictures.jpeg()
    assert pictures.opened(server.get(thumbnail.text.removeprefix("http://m.org")).body).size == (100, 75)


def test_direct_links_can_be_disabled(start: Start) -> None:
    server = start(ALLOW_STATIC_FILE_ACCESS=False)
    server.upload("a.txt", b"x")
    assert server.get("/getfileref", filename="a.txt").status == 404
    assert server.get("/static/originals/a.txt").status == 404


def test_static_serves_originals_and_thumbnails_and_nothing_else(start: Start) -> None:
    server = start(COLLECTION_DIRS={"KU Fish": "fish"})
    server.upload("a.txt", b"x", coll="KU Fish")
    (server.base / "private.txt").write_text("secret")
    (server.base / "fish/private.txt").write_text("secret")
    (server.base / "other/originals").mkdir(parents=True)
    (server.base / "other/originals/b.txt").write_text("secret")
    assert server.get("/static/fish/originals/a.txt").body == b"x"
    for path in (
        "", "private.txt", "fish/private.txt", "fish/originals", "fish/originals/", "other/originals/b.txt",
        "fish/originals/../private.txt", "fish/originals/..%2Fprivate.txt", "fish//originals/a.txt", "/etc/passwd",
        "fish/originals/%2e%2e/private.txt", "../settings.py", "fish\\originals\\a.txt", "originals/a.txt",
        "fish/originals/a.txt%00", "fish/originals/.asset-server/x", "./fish/originals/a.txt",
    ):  # fmt: skip
        answer = server.get(f"/static/{path}")
        assert answer.status in (400, 404), path
        assert is_sentence(answer), path


@pytest.mark.parametrize("path", ["", "originals", "originals/", "originals//", "originals/.", "originals/..", "x/"])
def test_a_folder_under_static_is_not_found(server: RunningServer, path: str) -> None:
    for answer in (server.get(f"/static/{path}"), server.head(f"/static/{path}")):
        assert answer.status == 404, path
    assert is_sentence(server.get(f"/static/{path}"))


def test_invalid_utf_8_in_a_path_matches_no_file(server: RunningServer) -> None:
    server.upload("ab.txt", b"x")
    answer = server.get("/static/originals/a%FFb.txt")
    assert answer.status == 400
    assert is_sentence(answer)


# --- hostile names ---------------------------------------------------------------------------------------------------

HOSTILE = [
    "..", "../x", "/etc/passwd", "a/b", "a\\b", "", ".", "nul%00l", "%0A", "%7F", "%C2%85", "x" * 256, "%FF%FE",
    "..%2Fx", "%2e%2e", ".asset-server",
]  # fmt: skip


def everything(server: RunningServer) -> dict[str, str]:
    """The checksums of all files below the store, without those of the server's own housekeeping."""
    own = server.base / ".asset-server"
    files = sorted(path for path in server.base.rglob("*") if path.is_file() and not path.is_relative_to(own))
    files = [path for path in files if "ballast" not in path.parts]
    return {str(path.relative_to(server.base)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_rejected_on_every_route_and_touches_nothing(start: Start, name: str) -> None:
    server = start(KEY=None)
    (server.base / "x").write_text("not an original")
    before = everything(server)
    answers = [server.get(f"{route}?filename={name}") for route in ROUTES]
    answers += [server.get(f"{route}?filename={name}&type=T&scale=100") for route in ROUTES]
    answers.append(server.post_form("/filedelete", f"filename={name}".encode()))
    answers.append(server.get(f"/static/originals/{name}".replace("\\", "%5C")))
    stored = unquote(name, errors="surrogateescape")
    answers.append(server.post_parts([("store", stored), ("f", ("f", b"x"))]))
    for answer in answers:
        assert answer.status in (400, 404)
        assert is_sentence(answer)
    assert everything(server) == before


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_collection_is_unknown_on_every_route(start: Start, name: str) -> None:
    server = start(KEY=None, COLLECTION_DIRS={"KU Fish": "fish"})
    server.upload("a.jpg", pictures.jpeg(), coll="KU Fish")
    before = everything(server)
    answers = [server.get(f"{route}?filename=a.jpg&coll={name}") for route in ROUTES]
    answers.append(server.post_form("/filedelete", f"filename=a.jpg&coll={name}".encode()))
    answers.append(server.get(f"/static/{name}/originals/a.jpg".replace("\\", "%5C")))
    stored = unquote(name, errors="surrogateescape")
    answers.append(server.post_parts([("store", "a.jpg"), ("coll", stored), ("f", ("f", b"x"))]))
    for answer in answers:
        assert answer.status in (400, 404)
        assert is_sentence(answer)
    assert everything(server) == before


@pytest.mark.parametrize(("collections", "status"), [(None, 200), ({"KU Fish": "fish"}, 400)])
def test_a_malformed_collection_name_matters_only_if_collections_are_configured(
    start: Start, collections: dict[str, str] | None, status: int
) -> None:
    server = start(KEY=None, COLLECTION_DIRS=collections)
    server.upload("a.txt", b"x", coll="KU Fish")
    for malformed in ("coll=%FF", "coll=%zz", "coll=KU+Fish&coll=KU+Fish"):
        assert server.get(f"/fileget?filename=a.txt&{malformed}").status == status


def test_uploads_of_6_7_04_in_ascii_go_to_the_only_collection_that_fits(start: Start) -> None:
    server = start(COLLECTION_DIRS={"Käfer & Co": "beetles", "KU Fish": "fish"})

    def upload(store: str, signed: str) -> Response:
        fields = {"type": "O", "store": store, "coll": "K?fer & Co", "token": server.token(signed)}
        ascii_type = "Content-Type: text/plain; charset=US-ASCII"
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n{ascii_type}\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        file = '--b\r\nContent-Disposition: form-data; name="x"; filename="x"\r\n\r\nx\r\n--b--\r\n'
        body = ("".join(parts) + file).encode("ascii")
        return server.request("POST", "/fileupload", body, {"Content-Type": "multipart/form-data; boundary=b"})

    assert upload("sp61.att.jpg", "sp61.att.jpg").text == "Ok."
    assert server.get("/fileget", filename="sp61.att.jpg", coll="Käfer & Co").body == b"x"
    refused = upload("sp62.att.??", "sp62.att.ñö")
    assert refused.status == 403
    assert "question marks" in refused.text
    assert is_sentence(refused)


# --- every answer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nothing", 404, None),
        ("GET", "/fileget/", 404, None),
        ("GET", "/fileupload", 405, "OPTIONS, POST"),
        ("PUT", "/fileupload", 405, "OPTIONS, POST"),
        ("POST", "/fileget", 405, "GET, HEAD, OPTIONS"),
        ("DELETE", "/static/originals/a", 405, "GET, HEAD, OPTIONS"),
        ("PROPFIND", "/", 405, "GET, HEAD, OPTIONS"),
        ("GET", "/filedelete", 405, "OPTIONS, POST"),
        ("GET", "/fileget", 400, None),
        ("GET", "/fileget?filename=absent.jpg", 404, None),
    ],
)
def test_errors_are_plain_text_with_the_common_headers(
    server: RunningServer, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = server.request(method, path)
    assert answer.status == status
    assert is_sentence(answer)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert is_of_this_run(int(answer.headers["x-timestamp"]))
    assert answer.headers["x-content-type-options"] == "nosniff"
    if allow is not None:
        assert answer.headers["allow"].replace(" ", "") == allow.replace(" ", "")


@pytest.mark.paste_only
def test_an_error_has_a_request_id_and_details_in_the_log_but_no_path_in_the_response(
    server: RunningServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken disk", "/tmp/b.txt")

    monkeypatch.setattr(os, "fsync", fail)
    answer = server.upload("b.txt", b"x")
    assert answer.status == 500
    request_id = answer.headers["x-request-id"]
    assert answer.text == f"The server cannot write to its attachment folder. (Request {request_id})"
    assert answer.headers["access-control-allow-origin"] == "*"
    story = next(record for record in caplog.records if record.levelname == "ERROR")
    assert request_id in story.getMessage()
    assert "b.txt" in story.getMessage()


@pytest.mark.paste_only
def test_an_unexpected_error_gets_a_plain_response(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def surprise(*arguments: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("assetstore.metadata.service.MetadataService.read", surprise)
    server.upload("a.jpg", pictures.jpeg())
    answer = server.get("/getmetadata", filename="a.jpg")
    assert answer.status == 500
    assert is_sentence(answer)
    assert "secret" not in answer.text
    assert "secret detail" in caplog.text


@pytest.mark.paste_only
def test_tokens_and_keys_stay_out_of_the_log(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    token = server.token("1")
    server.get("/testkey", random="1", token=token)
    server.get("/testkey", random="2", token=token)
    server.upload("a.txt", b"x")
    assert token.partition(":")[0] not in caplog.text
    assert server.key not in caplog.text


# --- an existing tree ------------------------------------------------------------------------------------------------


def test_an_existing_folder_is_used_in_place(start: Start) -> None:
    server = start(COLLECTION_DIRS={"KUFishvoucher": "Ichthyology"})
    originals, thumbnails = server.base / "Ichthyology/originals", server.base / "Ichthyology/thumbnails"
    (originals / "sp6123.att.jpg").write_bytes(pictures.jpeg())
    (originals / "copied by hand.tif").write_bytes(pictures.tiff())
    kept = pictures.encoded(Image.new("RGB", (123, 92), "magenta"), "JPEG")
    time.sleep(0.02)
    (thumbnails / "sp6123.att_123.jpg").write_bytes(kept)
    in_it = {"coll": "KUFishvoucher"}
    assert server.get("/fileget", filename="sp6123.att.jpg", **in_it).body == pictures.jpeg()
    assert server.thumbnail("sp6123.att.jpg", 123, **in_it).body == kept
    assert pictures.shows_scene(pictures.opened(server.thumbnail("copied by hand.tif", 100, **in_it).body))
    assert server.upload("new.jpg", pictures.jpeg(), **in_it).status == 200
    assert server.delete("sp6123.att.jpg", **in_it).status == 200
    assert visible_files(originals) == ["copied by hand.tif", "new.jpg"]
    assert visible_files(thumbnails) == ["copied by hand_100.png"]


def test_a_preflight_request_says_nothing_about_the_path(server: RunningServer) -> None:
    answer = server.request("OPTIONS", "/static/originals/a")
    assert answer.status == 200
    assert "path" not in answer.headers
