"""rendering.imagemagick: what a run means that ended without an error."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from assetstore.errors import OutOfSpace, Unavailable
from assetstore.thumbnails.rendering import engines, imagemagick, refusals
from assetstore.thumbnails.rendering.headers import JpegHeader
from tests import pictures
from tests.thumbnails.rendering.test_engines import RED, draw


@pytest.mark.parametrize(("size", "meaning"), [("4k", OutOfSpace), ("64m", refusals.Damaged)])
@pytest.mark.parametrize("is_empty", [False, True])
def test_without_an_image_the_disk_is_full_or_the_file_is_damaged(
    tmp_path: Path, mounted: Callable[[Path, str], None], size: str, meaning: type[Exception], is_empty: bool
) -> None:
    mounted(tmp_path / "disk", size)
    if is_empty:
        (tmp_path / "disk/a.png").touch()
    with pytest.raises(meaning):
        imagemagick._check(tmp_path / "disk/a.png", "")


def test_an_image_that_was_cut_off_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"an image")
    imagemagick._check(target, "a warning")
    assert target.exists()
    with pytest.raises(refusals.Damaged, match="cut off"):
        imagemagick._check(target, "Premature end of JPEG file")
    assert not target.exists()


@pytest.mark.parametrize(
    ("width", "height", "is_reduced"),
    [(201, 201, True), (6000, 4000, True), (200, 200, False), (6000, 200, False), (150, 4000, False), (0, 0, False)],
)
def test_only_a_jpeg_that_is_larger_in_both_directions_is_decoded_at_a_smaller_size(
    width: int, height: int, is_reduced: bool
) -> None:
    hint = ("-define", "jpeg:size=200x200") if is_reduced else ()
    assert imagemagick._jpeg_hint(JpegHeader(width, height), 200) == hint


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "HEIF", "AVIF"])
def test_colors_are_the_same_in_every_format(tmp_path: Path, kind: str) -> None:
    data = pictures.encoded(Image.new("RGB", (64, 48), RED), kind)
    try:
        drawn = draw(tmp_path, data, only=[engines.IMAGEMAGICK])
    except Unavailable as error:
        pytest.skip(error.public)
    assert pictures.alike(drawn.color(), RED)
