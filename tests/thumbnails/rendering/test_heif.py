"""rendering.heif: previews of HEIC files."""

from pathlib import Path

import pillow_heif.heif
import pytest

from assetstore.thumbnails.rendering import heif
from assetstore.thumbnails.rendering.job import Job, Limits
from tests import pictures


@pytest.fixture(scope="module")
def photograph() -> bytes:
    """A HEIC file with three previews; encoding it takes a second."""
    return pictures.encoded(pictures.scene(1600, 1200), "HEIF", thumbnails=[160, 320, 640])


@pytest.mark.parametrize(("wanted", "decoded"), [(100, 160), (160, 160), (161, 320), (640, 640), (641, None)])
def test_the_smallest_sufficient_preview_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photograph: bytes, wanted: int, decoded: int | None
) -> None:
    source, target = tmp_path / "a.heic", tmp_path / "thumbnail"
    source.write_bytes(photograph)
    sizes: list[int | None] = []
    load = pillow_heif.heif.HeifThumbnail.load

    def noted(preview: pillow_heif.heif.HeifThumbnail) -> None:
        sizes.append(max(preview.size))
        load(preview)

    monkeypatch.setattr(pillow_heif.heif.HeifThumbnail, "load", noted)
    heif.render(Job(str(source), str(target), "heic", "png", wanted), Limits(30, 512))
    picture = pictures.opened(target.read_bytes())
    assert max(picture.size) == wanted
    assert pictures.shows_scene(picture)
    assert set(sizes) == ({decoded} if decoded else set())
