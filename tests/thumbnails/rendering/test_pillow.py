"""rendering.pillow: what other engines would otherwise render before it."""

import struct
from pathlib import Path

import pytest
from PIL import Image

from assetstore.thumbnails.rendering import engines, pillow
from tests import pictures, tiffs
from tests.thumbnails.rendering.test_engines import BLACK, WHITE, draw
from tests.tiffs import LONG, SHORT, page

ENGINES = pytest.mark.parametrize("engine", [engines.PILLOW, engines.LIBVIPS], ids=lambda engine: engine.title)


@ENGINES
@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (-5.0, 5.0, (BLACK, WHITE)),
        (-7.0, -5.0, (BLACK, WHITE)),
        (0.0, 1.0, (BLACK, WHITE)),
        (100.0, 255.0, ((100, 100, 100), WHITE)),
    ],
)
def test_numbers_are_scaled_from_their_range_or_a_usual_one(
    tmp_path: Path, engine: engines.Engine, left: float, right: float, expected: tuple[tuple[int, ...], ...]
) -> None:
    row = struct.pack("<f", left) * 32 + struct.pack("<f", right) * 32
    data = tiffs.tiff((page(64, 48, (32,), 1, t339=(SHORT, [3])), row * 48))
    drawn = draw(tmp_path, data, only=[engine])
    assert (drawn.color(0.25), drawn.color(0.75)) == expected


def test_the_part_of_a_truncated_image_that_is_there_is_drawn(tmp_path: Path) -> None:
    whole = pictures.encoded(Image.new("RGB", (640, 480), "white"), "PNG", compress_level=0)
    drawn = draw(tmp_path, whole[: len(whole) // 2], only=[engines.PILLOW])
    assert drawn.color(0.5, 0.1) == WHITE
    assert drawn.note


@ENGINES
@pytest.mark.parametrize(
    ("kinds", "shown"), [((1,), 0), ((1, 1), 0), ((1, 0), 1), ((0, 1), 0), ((2, 2), 0), ((3, 1, 2), 2)]
)
def test_the_first_page_that_is_no_preview_is_drawn_and_else_the_first_of_all(
    tmp_path: Path, engine: engines.Engine, kinds: tuple[int, ...], shown: int
) -> None:
    pages = [
        (page(64, 48, (8,), 1, t254=(LONG, [kind])), bytes([100 * number]) * (64 * 48))
        for number, kind in enumerate(kinds)
    ]
    assert draw(tmp_path, tiffs.tiff(*pages), only=[engine]).color() == (100 * shown,) * 3


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("L", 100, (100, 100, 100)),
        ("1", 1, WHITE),
        ("RGBA", (255, 0, 0, 0), WHITE),
    ],
)
def test_every_kind_of_colors_is_converted(
    tmp_path: Path, mode: str, color: int | tuple[int, ...], expected: tuple[int, ...]
) -> None:
    data = pictures.encoded(Image.new(mode, (64, 48), color), "TIFF")
    assert pictures.alike(draw(tmp_path, data, only=[engines.PILLOW]).color(), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_picture(tmp_path: Path, orientation: int) -> None:
    exif = pictures.exif(orientation)
    (tmp_path / "a.jpg").write_bytes(pictures.encoded(Image.new("RGB", (64, 48)), "JPEG", exif=exif))
    assert pillow.upright_size(str(tmp_path / "a.jpg"), "jpeg") == ((64, 48) if orientation < 5 else (48, 64))
