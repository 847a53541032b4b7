"""rendering.libvips: how much a decoder reduces an image, and which bands of a TIFF are colours."""

from pathlib import Path

import pytest
import pyvips

from assetstore.thumbnails.rendering import libvips, libvips_tiff
from assetstore.thumbnails.rendering.job import Job
from assetstore.thumbnails.rendering.tiff_tags import (
    EXTRA_SAMPLES,
    HEIGHT,
    PHOTOMETRIC,
    SAMPLES,
    WIDTH,
    X_RESOLUTION,
    Y_RESOLUTION,
    Page,
)
from tests import pictures

JPEG = pictures.jpeg()


def reduction(folder: Path, decoder: str, longest: int, data: bytes = b"") -> dict[str, float]:
    """The reduction of an image with this longer side, in pixels, for a thumbnail of 100 pixels."""
    (folder / "a").write_bytes(data)
    with open(folder / "a", "rb") as file:
        return libvips._reduction(Job(file.name, "", decoder, "png", 100), file.fileno(), longest)


@pytest.mark.parametrize(
    ("longest", "factor"),
    [(50, 1), (399, 1), (400, 2), (799, 2), (800, 4), (1599, 4), (1600, 8), (99_999, 8)],
)
def test_a_jpeg_is_decoded_at_the_smallest_size_of_at_least_twice_the_thumbnail(
    tmp_path: Path, longest: int, factor: int
) -> None:
    assert reduction(tmp_path, "jpeg", longest, JPEG) == {"shrink": factor}


@pytest.mark.parametrize(
    ("decoder", "longest", "expected"),
    [
        ("webp", 800, {"scale": 0.25}),
        ("webp", 150, {"scale": 1.0}),
        ("svg", 800, {"scale": 0.125}),
        ("svg", 50, {"scale": 1.0}),
        ("png", 800, {}),
    ],
)
def test_only_formats_whose_decoders_can_scale_are_reduced_and_none_is_enlarged(
    tmp_path: Path, decoder: str, longest: int, expected: dict[str, float]
) -> None:
    assert reduction(tmp_path, decoder, longest) == expected


def test_a_lossless_jpeg_is_not_reduced(tmp_path: Path) -> None:
    assert reduction(tmp_path, "jpeg", 800, JPEG.replace(b"\xff\xc0", b"\xff\xc3", 1)) == {}


@pytest.mark.parametrize(
    ("photometric", "samples", "bands", "extra", "left"),
    [
        (1, 1, 1, None, 1),
        (1, 2, 2, 0, 1),
        (1, 2, 2, 1, 2),
        (1, 3, 3, 2, 2),
        (0, 2, 2, 0, 1),
        (2, 3, 3, None, 3),
        (2, 3, 3, 2, 3),  # the tag says that there is opacity, but there is not
        (2, 5, 5, 0, 3),
        (2, 5, 5, 2, 4),
        (5, 4, 4, None, 4),
        (5, 6, 6, 0, 4),
        (3, 1, 3, None, 3),  # a palette, already converted
        (2, 4, 5, 0, 5),  # libvips has read the page in its own way
        (4, 2, 2, 0, 2),  # not a colour
    ],
)
def test_bands_after_the_colors_are_left_out_except_for_opacity(
    photometric: int, samples: int, bands: int, extra: int | None, left: int
) -> None:
    tags = {PHOTOMETRIC: (photometric,), SAMPLES: (samples,)} | ({} if extra is None else {EXTRA_SAMPLES: (extra,)})
    picture = pyvips.Image.black(2, 2, bands=bands)
    assert libvips_tiff._without_other_bands(picture, Page(tags)).bands == left


@pytest.mark.parametrize(
    ("resolution", "size"),
    [
        ((100, 100), (600, 400)),
        ((300, 100), (200, 400)),
        ((100, 300), (600, 133)),
        ((100, 101), (600, 400)),  # nearly square
        ((100, 600), (600, 400)),  # an error
        ((0, 100), (600, 400)),
        ((100, 0), (600, 400)),
    ],
)
def test_pixels_become_square_by_reducing_one_side(resolution: tuple[int, int], size: tuple[int, int]) -> None:
    resolutions = {X_RESOLUTION: resolution[:1], Y_RESOLUTION: resolution[1:]}
    assert libvips_tiff.square_size(Page({WIDTH: (600,), HEIGHT: (400,), **resolutions})) == size
    assert libvips_tiff.square_size(Page({WIDTH: (1,), HEIGHT: (1,), **resolutions})) == (1, 1), "at least a pixel"
