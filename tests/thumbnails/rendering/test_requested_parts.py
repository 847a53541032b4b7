"""Tiles of a pyramid that the server reads for the worker: also if it cannot be read."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from assetstore.errors import Unavailable, Unrenderable
from assetstore.thumbnails.rendering.job import PYRAMID, Limits, RegionJob
from assetstore.thumbnails.rendering.pool import RenderPool
from tests import vips, zoomable

SIZE = (zoomable.WIDTH, zoomable.HEIGHT)


@pytest.fixture(scope="module")
def pool() -> Iterator[RenderPool]:
    pool = RenderPool(1, Limits(20, 512))
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def pyramid() -> bytes:
    options = {"tile": True, "tile_width": 512, "tile_height": 512, "pyramid": True, "depth": "onetile", "Q": 90}
    return vips.saved(zoomable.scene(), compression="jpeg", bigtiff=True, **options)


def tile(pool: RenderPool, folder: Path, size: int, read_part: Callable[[int, int], bytes]) -> Image.Image:
    target = folder / "tile"
    job = RegionJob(
        "", str(target), PYRAMID, 0, *SIZE, 1, (0, 0, 1024, 1001), (512, 501), False, 0, "color", "jpeg", size
    )
    pool.render(job, "client", read_part=read_part)
    return Image.open(io.BytesIO(target.read_bytes()))


def test_a_tile_requires_few_bytes_of_a_pyramid(pool: RenderPool, pyramid: bytes, tmp_path: Path) -> None:
    read = []

    def read_part(offset: int, length: int) -> bytes:
        read.append(pyramid[offset : offset + length])
        return read[-1]

    found = tile(pool, tmp_path, len(pyramid), read_part)
    assert zoomable.psnr(found, zoomable.part_of(zoomable.scene(), (0, 0, 1024, 1001), (512, 501))) > 35
    assert sum(map(len, read)) < len(pyramid)


def test_a_part_that_cannot_be_read_costs_one_tile_only(pool: RenderPool, pyramid: bytes, tmp_path: Path) -> None:
    for readable in range(3):
        left = readable

        def read_part(offset: int, length: int) -> bytes:
            nonlocal left
            if left == 0:
                raise Unavailable("The file storage cannot be reached.")
            left -= 1
            return pyramid[offset : offset + length]

        with pytest.raises(Unavailable, match="cannot be reached"):
            tile(pool, tmp_path, len(pyramid), read_part)
        assert pool.workers().running == 1
    assert tile(pool, tmp_path, len(pyramid), lambda at, length: pyramid[at : at + length]).size == (512, 501)


def test_after_an_error_the_next_tile_is_rendered(pool: RenderPool, pyramid: bytes, tmp_path: Path) -> None:
    def shorter(offset: int, length: int) -> bytes:
        return pyramid[: len(pyramid) // 2][offset : offset + length]

    def zeros(_offset: int, length: int) -> bytes:
        return bytes(length)

    for fault in (shorter, zeros):
        with pytest.raises(Unrenderable):
            tile(pool, tmp_path, len(pyramid), fault)
        assert tile(pool, tmp_path, len(pyramid), lambda at, length: pyramid[at : at + length]).size == (512, 501)
