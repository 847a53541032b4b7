"""routes.recent_thumbnails: a response from memory is repeated only while everything else would give the same one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import server as asset_server
from assetstore.routes.access import Access
from assetstore.routes.recent_thumbnails import RecentThumbnails
from assetstore.thumbnails import service
from tests import pictures
from tests.support import Response, RunningServer

Start = Callable[..., RunningServer]
Asked = list[str]


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The methods of all requests for thumbnails that Bottle handled. Files count as unchanged at once."""
    monkeypatch.setattr(service, "_SETTLED_NS", 0)
    seen: Asked = []

    def make(application: Any, *others: Any) -> RecentThumbnails:
        def counting(environ: dict[str, Any], start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/fileget":
                seen.append(environ["REQUEST_METHOD"])
            return application(environ, start_response)

        return RecentThumbnails(counting, *others)

    monkeypatch.setattr(asset_server, "RecentThumbnails", make)
    return seen


@pytest.fixture
def server(start: Start) -> RunningServer:
    """A server with one thumbnail in memory."""
    server = start(THREADS=16)
    server.upload("a.jpg", pictures.jpeg())
    server.thumbnail("a.jpg")
    return server


def cached_file(server: RunningServer) -> Path:
    return server.thumbnails / "a_200.jpg"


def lasting(answer: Response) -> tuple[int, dict[str, str], bytes]:
    """What does not differ among responses to the same request."""
    changing = ("x-timestamp", "x-request-id", "date")
    return answer.status, {name: text for name, text in answer.headers.items() if name not in changing}, answer.body


def test_a_repeated_request_gets_the_same_response_from_memory(server: RunningServer, asked: Asked) -> None:
    asked.clear()
    tag = server.thumbnail("a.jpg").headers["etag"]
    assert asked == []
    for method, headers in (
        ("GET", {}),
        ("HEAD", {}),
        ("GET", {"If-None-Match": tag}),
        ("GET", {"If-None-Match": '"other"'}),
        ("GET", {"Range": "bytes=1-3"}),
        ("GET", {"Sec-Fetch-Dest": "image"}),
    ):
        path = "/fileget?type=T&filename=a.jpg&scale=200&downloadname=b"
        first, second = (server.request(method, path, headers=headers) for _ in range(2))
        assert lasting(first) == lasting(second)
        assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert len(asked) == 6


@pytest.mark.parametrize("scale", ["", "x", "200&scale=100"])
def test_errors_are_not_repeated(server: RunningServer, asked: Asked, scale: str) -> None:
    asked.clear()
    for _ in range(2):
        assert server.request("GET", f"/fileget?type=T&filename=a.jpg&scale={scale}").status == 400
    assert len(asked) == 2


def test_browsers_cannot_run_a_thumbnail_that_is_in_memory(server: RunningServer) -> None:
    assert server.get("/fileget", {"Sec-Fetch-Dest": "script"}, type="T", filename="a.jpg", scale=200).status == 403


def write_in_place(path: Path) -> None:
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # within one tick of the clock of the file system
        path.write_bytes(b"x" * before.st_size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing had happened


def rename_over(path: Path) -> None:
    before, other = path.stat(), path.with_name("other")
    other.write_bytes(b"x" * before.st_size)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


def link_to_another(path: Path) -> None:
    other = path.with_name("other")
    rename_over(path)
    path.rename(other)
    path.symlink_to("other")


@pytest.mark.parametrize("change", [write_in_place, rename_over, link_to_another])
def test_a_thumbnail_that_was_changed_by_hand_is_read_again(
    server: RunningServer, change: Callable[[Path], None]
) -> None:
    change(cached_file(server))
    assert set(server.thumbnail("a.jpg").body) == set(b"x")


def test_a_thumbnail_that_was_deleted_by_hand_is_made_again(server: RunningServer) -> None:
    cached_file(server).unlink()
    assert server.thumbnail("a.jpg").status == 200
    assert cached_file(server).exists()


def test_an_original_that_was_changed_or_deleted_by_hand_is_noticed(server: RunningServer) -> None:
    before = server.thumbnail("a.jpg").body
    (server.originals / "a.jpg").write_bytes(pictures.encoded(pictures.scene(300, 100), "JPEG"))
    assert server.thumbnail("a.jpg").body != before
    (server.originals / "a.jpg").unlink()
    assert server.thumbnail("a.jpg").status == 404


def test_a_thumbnail_that_has_just_changed_is_not_in_memory(
    server: RunningServer, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_SETTLED_NS", 3600 * 10**9)  # within one tick, it could change again
    asked.clear()
    assert [server.thumbnail("a.jpg").status for _ in range(2)] == [200, 200]
    assert len(asked) == 2


def test_large_thumbnails_are_not_in_memory(server: RunningServer, asked: Asked) -> None:
    noise = os.urandom(300 * 300 * 3)
    server.upload("noise.png", pictures.encoded(pictures.Image.frombytes("RGB", (300, 300), noise), "PNG"))
    asked.clear()
    sizes = [len(server.thumbnail("noise.png", 300).body) for _ in range(2)]
    assert min(sizes) > 64 << 10
    assert len(asked) == 2


def test_a_collection_that_was_removed_is_noticed(start: Start) -> None:
    server = start(THREADS=16, COLLECTION_DIRS={"Fish": "fish", "Birds": "birds"})
    server.upload("a.jpg", pictures.jpeg(), coll="Fish")
    assert [server.thumbnail("a.jpg", coll="Fish").status for _ in range(2)] == [200, 200]
    folders = server.context.collections.folders()
    server.context.collections._folders = {name: folder for name, folder in folders.items() if name != "Fish"}
    assert server.thumbnail("a.jpg", coll="Fish").status == 404


def test_nothing_that_requires_a_token_is_repeated(start: Start, asked: Asked) -> None:
    server = start(THREADS=16, REQUIRE_KEY_FOR_GET=True)
    server.upload("a.jpg", pictures.jpeg())
    token = server.token("a.jpg")
    assert [server.thumbnail("a.jpg", token=token).status for _ in range(2)] == [200, 200]
    assert server.thumbnail("a.jpg").status == 403
    assert len(asked) == 3


def test_an_original_that_became_private_is_noticed(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Access, "_is_open", lambda _self, _name: False)
    assert server.thumbnail("a.jpg").status == 403


def test_a_response_from_memory_is_logged_with_the_name(
    server: RunningServer, asked: Asked, capfd: pytest.CaptureFixture[str]
) -> None:
    asked.clear()
    server.thumbnail("a.jpg")
    assert asked == []
    assert "'/fileget' 'a.jpg' 200" in capfd.readouterr().out
