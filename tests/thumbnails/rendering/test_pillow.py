"""rendering.pillow: what other engines would otherwise render before it."""

import struct
from pathlib import Path

import pytest
from PIL import Image

from assetstore.thumbnails.rendering import engines
from tests import pictures, tiffs
from tests.thumbnails.rendering.test_engines import BLACK, WHITE, draw
from tests.tiffs import LONG, SHORT, page


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
    tmp_path: Path, left: float, right: float, expected: tuple[tuple[int, ...], ...]
) -> None:
    row = struct.pack("<f", left) * 32 + struct.pack("<f", right) * 32
    data = tiffs.tiff((page(64, 48, (32,), 1, t339=(SHORT, [3])), row * 48))
    drawn = draw(tmp_path, data, only=[engines.PILLOW])
    assert (drawn.color(0.25), drawn.color(0.75)) == expected


def test_the_part_of_a_truncated_image_that_is_there_is_drawn(tmp_path: Path) -> None:
    whole = pictures.encoded(Image.new("RGB", (640, 480), "white"), "PNG", compress_level=0)
    drawn = draw(tmp_path, whole[: len(whole) // 2], only=[engines.PILLOW])
    assert drawn.color(0.5, 0.1) == WHITE
    assert drawn.note


@pytest.mark.parametrize("engine", [engines.PILLOW, engines.LIBVIPS], ids=lambda engine: engine.title)
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
