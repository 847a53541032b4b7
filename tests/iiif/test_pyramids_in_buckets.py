"""Pyramids in a bucket, on a real S3 server: they are read in parts, and none of a deleted original is left."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from assetstore.iiif.images import Stage
from tests import pictures, zoomable
from tests.object_store import BUCKETS, ObjectStore
from tests.support import RunningServer

Start = Callable[..., RunningServer]

SCAN = pictures.encoded(zoomable.scene(), "TIFF")
TILE = "0,0,512,512/512,512/0/default.jpg"


@pytest.fixture
def server(start: Start, s3_settings: dict[str, object]) -> RunningServer:
    return start(**s3_settings, limits={"render_workers": 2})


def stage(server: RunningServer, name: str) -> Stage:
    return server.context.images.state("", name, 1, client="test").stage


def bytes_of_pyramids(server: RunningServer) -> int:
    return sum(pyramid.size for pyramid in server.context.images.pyramids.store.cached(""))


def test_tiles_are_read_from_the_bucket_without_a_local_copy(
    server: RunningServer, start: Start, s3_settings: dict[str, object]
) -> None:
    server.upload("a.tif", SCAN)
    first = server.get(f"/iiif/3/a.tif/{TILE}")
    assert first.status == 200
    whole = zoomable.reference(SCAN, "a.tif", 1)
    assert zoomable.psnr(pictures.opened(first.body), zoomable.part_of(whole, (0, 0, 512, 512), (512, 512))) > 35
    other = start(**s3_settings)
    jobs: list[str] = []
    other.context.pool.on_render = lambda kind, outcome, _seconds: jobs.append(f"{kind} {outcome}")
    assert other.get(f"/iiif/3/a.tif/{TILE}").body == first.body
    for region, size in zoomable.tiles(*whole.size, factor=2):
        request = f"{','.join(map(str, region))}/{size[0]},{size[1]}/0/default.jpg"
        tile = pictures.opened(other.get(f"/iiif/3/a.tif/{request}").body)
        assert zoomable.psnr(tile, zoomable.part_of(whole, region, size)) > 35
    assert "pyramid made" not in jobs
    large = [path for path in server.base.rglob("*") if path.is_file() and path.stat().st_size > 50_000]
    assert [path for path in large if "journal" not in path.name] == []


def render_processes(server: RunningServer) -> set[int]:
    processes = [worker._process._process for worker in server.context.pool._all]
    return {process.pid for process in processes if process is not None}


def test_a_pyramid_that_another_server_removed_is_made_again(server: RunningServer) -> None:
    server.upload("a.tif", SCAN)
    assert server.get(f"/iiif/3/a.tif/{TILE}").status == 200
    images = server.context.images
    images.pyramids.store._parts._blocks.clear()  # type: ignore[attr-defined]
    [pyramid] = images.pyramids.store.cached("")
    server.context.originals.storage.pyramids(1).remove(pyramid)
    processes = render_processes(server)
    assert server.get("/iiif/3/a.tif/0,0,512,512/500,500/0/default.jpg").status == 200
    assert render_processes(server) >= processes, "no worker was started again because it could not read the old one"
    assert bytes_of_pyramids(server) > 0


def test_an_original_can_be_deleted_while_its_pyramid_is_stored(
    server: RunningServer, object_store: ObjectStore
) -> None:
    server.upload("a.tif", SCAN)
    storage = server.context.originals.storage
    with ThreadPoolExecutor(1) as threads:
        with storage.locked_original("", "a.tif"):
            asked = threads.submit(server.get, f"/iiif/3/a.tif/{TILE}")
            while not object_store.unfinished_uploads(BUCKETS[0]):
                assert not asked.done()
            assert bytes_of_pyramids(server) == 0
            storage.delete_original("", "a.tif", keep_old=False)
        assert asked.result().status in (404, 503)
    assert bytes_of_pyramids(server) == 0
    while object_store.unfinished_uploads(BUCKETS[0]):  # aborted in a thread of its own
        pass
    assert server.get(f"/iiif/3/a.tif/{TILE}").status == 404
