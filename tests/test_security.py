"""What strangers and clumsy clients try over HTTP; docs/security.md has the list of threats."""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.auth import tokens
from tests import pictures
from tests.support import KEY, PROJECT, RunningServer, multipart_body

Start = Callable[..., RunningServer]


def test_the_server_s_own_files_are_never_served(start: Start) -> None:
    server = start(KEY="")
    server.upload("a.txt", b"first")
    server.upload("a.txt", b"second")
    server.delete("a.txt")
    own = [path.relative_to(server.base) for path in server.base.rglob(".asset-server/**/*") if path.is_file()]
    assert {"key", "journal.sqlite"} <= {path.name for path in own}
    assert sum("trash" in path.parts for path in own) == 2
    for path in own:
        for route in (f"/static/{path}", f"/static/originals/../{path}", f"/fileget?filename={path}", f"/{path}"):
            answer = server.get(route)
            assert answer.status in (400, 404), route
            assert b"first" not in answer.body
            assert server.key.encode() not in answer.body
        assert server.get("/fileget", filename=path.name).status in (400, 404)


@pytest.mark.parametrize(
    ("name", "content", "is_sandboxed"),
    [
        ("page.html", b"<script>alert(1)</script>", True),
        ("page.xhtml", b"<html xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></html>", True),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", True),
        ("data.xml", b"<?xml-stylesheet type='text/xsl' href='x'?><x/>", True),
        ("code.js", b"alert(1)", True),
        ("unknown.zzz", b"<script>alert(1)</script>", True),
        ("without extension", b"<!doctype html><script>alert(1)</script>", True),
        ("notes.txt", b"<script>alert(1)</script>", False),
        ("scan.pdf", pictures.pdf(), False),
        ("photo.jpg", pictures.jpeg(), False),
        ("song.mp3", b"ID3", False),
        ("film.mp4", b"\0\0\0\x18ftypmp42", False),
    ],
)
def test_stored_content_is_viewable_but_cannot_run_scripts(
    server: RunningServer, name: str, content: bytes, is_sandboxed: bool
) -> None:
    server.upload(name, content)
    for answer in (server.get("/fileget", filename=name), server.get(f"/static/originals/{name.replace(' ', '%20')}")):
        assert answer.body == content
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        policy = answer.headers.get("content-security-policy", "")
        assert ("sandbox" in policy and "default-src 'none'" in policy) is is_sandboxed
        assert answer.headers["accept-ranges"] == "bytes"
        assert "content-disposition" not in answer.headers
        assert ("html" in answer.headers["content-type"]) is name.endswith("html")


@pytest.mark.parametrize("destination", ["script", "serviceworker", "worker", "sharedworker", "style"])
def test_a_browser_may_not_run_a_stored_file_in_a_page_of_the_same_origin(
    server: RunningServer, destination: str
) -> None:
    server.upload("a.js", b"alert(1)")
    for path in ("/fileget?filename=a.js", "/static/originals/a.js"):
        assert server.get(path, {"Sec-Fetch-Dest": destination}).status == 403
        assert server.get(path, {"Sec-Fetch-Dest": "document"}).body == b"alert(1)"


def test_tokens_are_checked_against_the_arrival_time_reported_by_a_trusted_proxy(start: Start) -> None:
    server = start(TRUSTED_PROXIES=("127.0.0.1",))
    old = tokens.make(KEY, "a", int(time.time()) - 300)
    parts: list[tuple[str, str | tuple[str, bytes]]] = [("store", "a"), ("token", old), ("f", ("f", b"x"))]
    assert server.post_parts(parts).status == 403
    assert server.post_parts(parts, {"X-Receiving-Seconds": "299.5"}).status == 200
    assert server.post_parts(parts, {"X-Receiving-Seconds": "100"}).status == 403
    for nonsense in ("-300", "3e2", "300s", "", "nan", "299, 299", "9" * 400):
        assert server.post_parts(parts, {"X-Receiving-Seconds": nonsense}).status == 403, nonsense


def test_an_untrusted_client_cannot_rejuvenate_an_old_token(server: RunningServer) -> None:
    old = tokens.make(KEY, "a", int(time.time()) - 300)
    answer = server.get("/testkey", {"X-Receiving-Seconds": "300"}, random="a", token=old)
    assert answer.status == 403


def test_the_journal_names_the_client_reported_by_trusted_proxies_only(start: Start) -> None:
    for trusted, client in ((("127.0.0.1",), "203.0.113.9"), ((), "127.0.0.1")):
        server = start(TRUSTED_PROXIES=trusted)
        server.upload("a", b"x", {"X-Forwarded-For": "8.8.8.8, 203.0.113.9"})
        event = server.context.originals.journal.latest("", "a")
        assert event is not None
        assert event.client == client


def test_rejected_tokens_are_counted_by_client_and_not_logged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = start()
    caplog.set_level("INFO")
    forged = tokens.make("another key", "a", int(time.time()))
    for _ in range(3):
        assert server.get("/testkey", random="a", token=forged).status == 403
    assert "rejected token 3 from 127.0.0.1" in caplog.text
    assert "different keys" in caplog.text
    assert forged.partition(":")[0] not in caplog.text


def test_a_reader_always_gets_one_complete_version_with_matching_headers(server: RunningServer) -> None:
    versions = [bytes([number]) * (300_000 + 1000 * number) for number in range(5)]
    server.upload("a.bin", versions[0])
    done = threading.Event()

    def replace() -> None:
        for turn in range(60):
            assert server.upload("a.bin", versions[turn % 5]).status == 200
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    tags: dict[str, bytes] = {}
    try:
        while not done.is_set():
            answer = server.get("/fileget", filename="a.bin")
            assert answer.status == 200, answer.text
            assert answer.body in versions
            assert int(answer.headers["content-length"]) == len(answer.body)
            assert tags.setdefault(answer.headers["etag"], answer.body) == answer.body
    finally:
        writer.join()
    assert len(tags) > 1


def test_the_etag_changes_with_the_content_even_if_size_and_date_do_not(server: RunningServer) -> None:
    import os

    server.upload("a.bin", b"one")
    path = server.originals / "a.bin"
    before, status = server.get("/fileget", filename="a.bin").headers["etag"], path.stat()
    time.sleep(0.02)  # longer than the kernel's clock ticks
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    answer = server.get("/fileget", {"If-None-Match": before}, filename="a.bin")
    assert (answer.status, answer.body) == (200, b"two")


def test_a_client_that_sends_too_much_receives_the_reason(start: Start) -> None:
    server = start(MAX_UPLOAD_BYTES=1_000_000)
    body, content_type = multipart_body([("store", "a"), ("token", server.token("a")), ("f", ("f", bytes(20_000_000)))])
    answer = server.request("POST", "/fileupload", body, {"Content-Type": content_type})
    assert answer.status == 413
    assert "at most 1000000 bytes" in answer.text
    assert answer.headers["access-control-allow-origin"] == "*"
    assert server.upload("a", bytes(1_000_000)).status == 200
    assert server.upload("b", bytes(1_000_001)).status == 413


def test_the_table_of_threats_names_tests_that_exist() -> None:
    table = (PROJECT / "docs/security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", table)
    assert len(named) >= 30
    for file, test in named:
        assert f"def {test}(" in Path(PROJECT / file).read_text(encoding="utf-8"), test
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith(("| Threat", "|---"))]
    assert all("`tests/" in row for row in rows), "a threat without a test"
