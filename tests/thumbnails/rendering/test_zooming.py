"""rendering.zooming: pyramids of damaged originals, and who says what is wrong with them."""

from pathlib import Path

import pytest

from assetstore.thumbnails.rendering import refusals, zooming
from assetstore.thumbnails.rendering.job import Limits, PyramidJob
from tests import pictures


@pytest.mark.parametrize(
    ("kind", "length", "complaint"), [("bmp", 60, "Pillow: "), ("png", 60, "libvips: ")], ids=["by Pillow", "directly"]
)
def test_a_page_of_which_nothing_can_be_read_is_damaged(tmp_path: Path, kind: str, length: int, complaint: str) -> None:
    data = pictures.encoded(pictures.scene(640, 480), kind.upper())
    (tmp_path / "source").write_bytes(data[:length])
    job = PyramidJob(str(tmp_path / "source"), str(tmp_path / "target"), kind, 0, 1, "", 20, 64)
    with pytest.raises(refusals.Damaged) as raised:
        zooming.run(job, Limits(20, 512))
    assert complaint in raised.value.detail
