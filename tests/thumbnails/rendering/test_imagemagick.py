"""rendering.imagemagick: what a run means that ended without an error."""

from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.errors import OutOfSpace
from assetstore.thumbnails.rendering import imagemagick, refusals


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
