"""assetstore.iiif.pyramids: made once, found as long as the original is unchanged, and bounded."""

import os
import struct
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from PIL import Image

from assetstore.iiif.images import Stage
from tests import pictures, vips, zoomable
from tests.support import RunningServer

Start = Callable[..., RunningServer]

#: Larger than the pictures whose parts are rendered from the original.
SCAN = pictures.encoded(zoomable.scene(), "TIFF")
TILE = "0,0,512,512/512,512/0/default.jpg"


@pytest.fixture
def server(start: Start) -> RunningServer:
    """A server with two render workers."""
    return start(THREADS=64, limits={"render_workers": 2})


@pytest.fixture
def jobs(server: RunningServer) -> list[str]:
    """The kinds and outcomes of all jobs of the workers."""
    done: list[str] = []
    server.context.pool.on_render = lambda kind, outcome, _seconds: done.append(f"{kind} {outcome}")
    return done


def pyramids(server: RunningServer) -> list[Path]:
    return sorted(server.thumbnails.glob(".asset-server/pyramids/*/*.tif"))


def stage(server: RunningServer, name: str) -> Stage:
    return server.context.images.state("", name, 1, client="test").stage


def tile(server: RunningServer, name: str, request: str = TILE) -> int:
    answer = server.get(f"/iiif/3/{name}/{request}")
    assert answer.status != 200 or pictures.opened(answer.body).format == "JPEG"
    return answer.status


def test_a_pyramid_is_made_once_however_many_requests_need_it(server: RunningServer, jobs: list[str]) -> None:
    server.upload("a.tif", SCAN)
    requests = [f"{512 * (number % 2)},0,512,512/{512 - number},{512 - number}/0/default.jpg" for number in range(12)]
    with ThreadPoolExecutor(12) as threads:
        assert set(threads.map(lambda request: tile(server, "a.tif", request), requests)) == {200}
    assert jobs.count("pyramid made") == 1
    assert jobs.count("region made") == 12
    assert stage(server, "a.tif") is Stage.READY
    assert tile(server, "a.tif", requests[0]) == 200
    assert jobs.count("region made") == 12, "it comes from memory"


def test_the_state_tells_how_far_it_is(server: RunningServer) -> None:
    server.upload("a.tif", SCAN)
    server.upload("small.jpg", pictures.jpeg())
    assert (stage(server, "a.tif"), stage(server, "small.jpg")) == (Stage.MISSING, Stage.NOT_NEEDED)
    with ThreadPoolExecutor(1) as threads, server.context.pool.lend("one"), server.context.pool.lend("other"):
        asked = threads.submit(tile, server, "a.tif")
        while stage(server, "a.tif") is Stage.MISSING:
            time.sleep(0.01)
        assert stage(server, "a.tif") is Stage.WAITING
        progress = server.context.images.pyramids.store.progress("", "a.tif", 1)
        while not progress.parent.exists():  # created just before it waits for a worker
            time.sleep(0.01)
        progress.write_text("42")
        assert server.context.images.state("", "a.tif", 1, client="test").progress == 0.42
        assert server.get("/iiif/state/a.tif").text == '{"state": "being made", "progress": 0.42}'
        progress.unlink()
    assert asked.result() == 200


def test_small_pictures_and_tiffs_with_levels_need_no_pyramid(server: RunningServer) -> None:
    def blank(kind: str, width: int, height: int) -> bytes:
        return pictures.encoded(Image.new("RGB", (width, height), "white"), kind)

    for name, data, expected in (
        ("a.jpg", blank("JPEG", 1300, 1000), Stage.NOT_NEEDED),
        ("b.jpg", blank("JPEG", 2100, 2000), Stage.MISSING),
        ("a.png", blank("PNG", 1000, 1000), Stage.NOT_NEEDED),
        ("b.png", blank("PNG", 1001, 1000), Stage.MISSING),
        ("a.tif", vips.saved(zoomable.scene(), compression="jpeg", tile=True, pyramid=True), Stage.NOT_NEEDED),
        ("b.tif", SCAN, Stage.MISSING),
    ):
        server.upload(name, data)
        assert stage(server, name) is expected, name


def test_a_small_tiff_that_libvips_cannot_read_is_shown_by_another_library(server: RunningServer) -> None:
    scene = zoomable.scene(300, 200)
    for orientation, turned in ((1, scene), (6, scene.transpose(Image.Transpose.ROTATE_270))):
        data = pictures.encoded(scene, "TIFF", compression="zstd", exif=pictures.exif(orientation))
        server.upload("a.tif", data)
        answer = server.get("/iiif/3/a.tif/full/max/0/default.png")
        assert answer.status == 200, answer.text
        assert zoomable.psnr(pictures.opened(answer.body), turned) > 35


def test_requests_that_wait_for_a_pyramid_leave_threads_to_others(start: Start) -> None:
    server = start(THREADS=16, limits={"render_workers": 2, "thumbnail_waiters": 8})
    server.upload("a.tif", SCAN)
    server.upload("small.jpg", pictures.jpeg())
    server.get("/iiif/3/a.tif/info.json")
    pool = server.context.pool
    requests = [f"/iiif/3/a.tif/0,0,512,512/{512 - number},/0/default.jpg" for number in range(10)]
    same = [requests[0]] * 4
    with ThreadPoolExecutor(14) as threads, ExitStack() as stack:
        for client in ("one", "other"):
            stack.enter_context(pool.lend(client))
        asked = [threads.submit(server.get, request) for request in [*same, *requests]]
        while sum(one.done() for one in asked) < 10:
            time.sleep(0.01)
        refused = [one.result() for one in asked if one.done()]
        assert {answer.status for answer in refused} == {503}
        assert all(answer.headers["retry-after"] == "5" for answer in refused)
        assert all("being prepared for zooming" in answer.text for answer in refused)
        stack.close()
        assert [one.result().status for one in asked].count(200) == 4
        assert server.get("/iiif/3/small.jpg/full/max/0/default.jpg").status == 200


def test_a_request_that_may_not_wait_has_its_pyramid_made_all_the_same(start: Start) -> None:
    server = start(limits={"render_workers": 2, "thumbnail_waiters": 2})
    for name in ("a.tif", "b.tif"):
        server.upload(name, SCAN)
        server.get(f"/iiif/3/{name}/info.json")
    with ThreadPoolExecutor(1) as threads, ExitStack() as stack:
        for client in ("one", "other"):
            stack.enter_context(server.context.pool.lend(client))
        asked = threads.submit(tile, server, "a.tif")
        while stage(server, "a.tif") is Stage.MISSING:
            time.sleep(0.01)
        assert tile(server, "b.tif") == 503
        assert stage(server, "b.tif") is Stage.WAITING
        stack.close()
        assert asked.result() == 200
        while stage(server, "b.tif") is not Stage.READY:
            time.sleep(0.01)


def test_without_a_thread_a_pyramid_is_made_by_a_later_request(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.upload("a.tif", SCAN)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "pyramid":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert tile(server, "a.tif") == 503
    monkeypatch.undo()
    assert tile(server, "a.tif") == 200


def test_a_pyramid_goes_with_its_original(server: RunningServer) -> None:
    server.upload("a.tif", SCAN)
    assert tile(server, "a.tif") == 200
    assert len(pyramids(server)) == 1
    server.upload("a.tif", pictures.encoded(zoomable.scene().rotate(180), "TIFF"))
    assert pyramids(server) == []
    assert tile(server, "a.tif") == 200
    server.delete("a.tif")
    assert pyramids(server) == []
    assert tile(server, "a.tif") == 404


def test_an_original_that_was_edited_by_hand_gets_a_new_pyramid(server: RunningServer, jobs: list[str]) -> None:
    server.upload("a.tif", SCAN)
    tile(server, "a.tif")
    (server.originals / "a.tif").write_bytes(SCAN)
    assert stage(server, "a.tif") is Stage.MISSING
    assert tile(server, "a.tif") == 200
    assert jobs.count("pyramid made") == 2
    assert len(pyramids(server)) == 1


def test_a_pyramid_that_was_removed_is_made_again(server: RunningServer, jobs: list[str]) -> None:
    server.upload("a.tif", SCAN)
    tile(server, "a.tif")
    for path in pyramids(server):
        path.unlink()
    assert tile(server, "a.tif", "0,0,512,512/500,500/0/default.jpg") == 200
    assert jobs.count("pyramid made") == 2


def test_the_least_recently_used_pyramids_make_space(start: Start) -> None:
    server = start()
    server.upload("a.tif", SCAN)
    tile(server, "a.tif")
    size = pyramids(server)[0].stat().st_size
    server = start(PYRAMID_BYTES=2 * size + size // 2)
    for name in ("a.tif", "b.tif"):
        server.upload(name, SCAN)
        tile(server, name)
    [a, b] = sorted(pyramids(server), key=lambda path: path.stat().st_atime_ns)
    os.utime(a, ns=(time.time_ns(), a.stat().st_mtime_ns))
    os.utime(b, ns=(time.time_ns() - 10**12, b.stat().st_mtime_ns))
    server.upload("c.tif", SCAN)
    assert tile(server, "c.tif") == 200
    assert a.exists()
    assert not b.exists()
    assert len(pyramids(server)) == 2


def test_without_space_for_pyramids_large_pictures_cannot_be_zoomed(start: Start) -> None:
    server = start(PYRAMID_BYTES=0)
    server.upload("a.tif", SCAN)
    server.upload("small.jpg", pictures.jpeg())
    answer = server.get(f"/iiif/3/a.tif/{TILE}")
    assert (answer.status, "PYRAMID_BYTES" in answer.text) == (422, True)
    assert tile(server, "small.jpg", "full/max/0/default.jpg") == 200


def test_pyramids_leave_a_worker_free(server: RunningServer) -> None:
    server.upload("a.tif", SCAN)
    server.upload("b.tif", SCAN)
    server.upload("c.jpg", pictures.jpeg())
    pool, turns = server.context.pool, server.context.images.pyramids._turns
    with ThreadPoolExecutor(1) as threads, turns.lend("another pyramid", 60):
        asked = threads.submit(tile, server, "a.tif")
        while stage(server, "a.tif") is not Stage.WAITING:
            time.sleep(0.01)
        assert server.thumbnail("c.jpg").status == 200
        assert not asked.done()
        assert pool.workers().busy == 0
    assert asked.result() == 200


def test_large_uploads_get_their_pyramids_in_the_background(start: Start) -> None:
    server = start(PYRAMID_UPLOAD_BYTES=1_000_000)
    server.upload("small.jpg", pictures.jpeg())
    server.upload("a.tif", SCAN)
    end = time.monotonic() + 60
    while not pyramids(server):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert stage(server, "a.tif") is Stage.READY


def test_a_truncated_scan_is_shown_as_far_as_it_can_be_read(server: RunningServer) -> None:
    whole = pictures.encoded(zoomable.scene(2400, 1800), "JPEG", quality=90)
    server.upload("cut.jpg", whole[: len(whole) * 2 // 3])
    assert tile(server, "cut.jpg") == 200
    server.upload("cut.tif", SCAN[: len(SCAN) // 2])
    assert tile(server, "cut.tif") in (200, 422)


def test_a_page_that_is_too_large_is_refused(server: RunningServer) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 90_000, 90_000, 8, 2, 0, 0, 1)  # interlaced: all of it would be in memory
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    server.upload("bomb.png", bomb)
    assert tile(server, "bomb.png") == 422
    server.upload("c.jpg", pictures.jpeg())
    assert server.thumbnail("c.jpg").status == 200
