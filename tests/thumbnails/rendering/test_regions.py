"""rendering.regions: any part of a picture, also of originals that can only be read in part, or not at all."""

from pathlib import Path

import pytest
from PIL import Image

from assetstore.thumbnails.rendering import isolation, refusals, regions
from assetstore.thumbnails.rendering.job import PYRAMID, Limits, RegionJob
from assetstore.thumbnails.rendering.orientation import Region
from tests import pictures, tiffs, zoomable
from tests.tiffs import SHORT, page

LIMITS = Limits(30, 512)
WHOLE, UPPER, LOWER = (0, 0, 64, 48), (0, 0, 64, 16), (0, 32, 64, 16)


def render(
    folder: Path, data: bytes, decoder: str, region: Region = WHOLE, size: tuple[int, int] | None = None
) -> tuple[str, Image.Image]:
    """The note and the picture of a part of an original of 64 x 48 pixels."""
    (folder / "source").write_bytes(data)
    files, how = (str(folder / "source"), str(folder / "part")), (False, 0, "color", "png")
    job = RegionJob(*files, decoder, 0, 64, 48, 1, region, size or region[2:], *how)
    note = isolation.run(lambda: regions.render(job, LIMITS), LIMITS, 20, folder)
    return note, pictures.opened((folder / "part").read_bytes())


@pytest.mark.parametrize(
    ("region", "size"), [((7, 5, 14, 22), (7, 11)), ((13, 11, 51, 37), (17, 12)), ((21, 19, 5, 3), (5, 3))]
)
def test_a_part_may_begin_and_end_anywhere(tmp_path: Path, region: Region, size: tuple[int, int]) -> None:
    scene = zoomable.scene(64, 48)
    _, shown = render(tmp_path, pictures.encoded(scene, "PNG"), "png", region, size)
    assert zoomable.psnr(shown, zoomable.part_of(scene, region, size)) > 30


def test_an_unsupported_compression_is_named(tmp_path: Path) -> None:
    data = tiffs.tiff((page(64, 48, (8,), 1, t259=(SHORT, [50002])), bytes(64 * 48)))
    with pytest.raises(refusals.Refused, match=r"does not support the compression of this image \(JPEG XL\)"):
        render(tmp_path, data, "tiff")


@pytest.mark.parametrize("decoder", ["jpeg", PYRAMID])
def test_a_file_that_cannot_be_opened_is_damaged(tmp_path: Path, decoder: str) -> None:
    with pytest.raises(refusals.Damaged) as raised:
        render(tmp_path, b"rubbish", decoder)
    assert raised.value.detail.startswith("libvips: ")


def without_pixels(kind: str) -> bytes:
    """A file with a whole header, of which nothing can be decoded."""
    if kind == "tiff":
        return tiffs.tiff((page(64, 48, (8,), 1, t259=(SHORT, [8])), b"not compressed"))
    scene = pictures.encoded(pictures.scene(64, 48), kind.upper())
    return scene[: scene.index(b"IDAT") + 8]


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_a_file_of_which_no_pixel_can_be_read_is_damaged_and_not_black(tmp_path: Path, kind: str) -> None:
    with pytest.raises(refusals.Damaged):
        render(tmp_path, without_pixels(kind), kind)


def test_a_truncated_picture_is_shown_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    whole = pictures.encoded(pictures.scene(64, 48), "JPEG", quality=95)
    cut_off = whole[: len(whole) * 9 // 10]
    assert render(tmp_path, cut_off, "jpeg", UPPER)[1].tobytes() == render(tmp_path, whole, "jpeg", UPPER)[1].tobytes()
    assert render(tmp_path, cut_off, "jpeg", LOWER)[0].startswith("rendered as far as it can be read: libvips: ")
    assert render(tmp_path, whole, "jpeg", LOWER)[0] == ""
