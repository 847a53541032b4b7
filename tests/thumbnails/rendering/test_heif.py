"""rendering.heif: previews and colour profiles of HEIC files."""

import random
import subprocess
from pathlib import Path

import pytest
from PIL import ImageCms

from assetstore.thumbnails.rendering import heif
from assetstore.thumbnails.rendering.tools import IMAGEMAGICK
from tests import pictures
from tests.support import RunningServer


def heic(path: Path, size: tuple[int, int] = (1600, 1200), **options: object) -> Path:
    path.write_bytes(pictures.encoded(pictures.scene(*size), "HEIF", **options))
    return path


def test_the_smallest_preview_that_is_large_enough_becomes_the_picture(tmp_path: Path) -> None:
    source = heic(tmp_path / "a.heic", thumbnails=[160, 320, 640])
    for wanted, found in ((100, 160), (160, 160), (161, 320), (640, 640)):
        copy = heif.copy_with_preview(source, tmp_path, wanted)
        assert copy is not None
        command = [str(IMAGEMAGICK.find()), f"heic:{copy}", "png:-"]
        picture = pictures.opened(subprocess.run(command, capture_output=True, check=True).stdout)
        assert max(picture.size) == found
        assert pictures.shows_scene(picture)
    assert heif.copy_with_preview(source, tmp_path, 641) is None


def test_without_a_preview_there_is_nothing_to_use(tmp_path: Path) -> None:
    assert heif.copy_with_preview(heic(tmp_path / "a.heic"), tmp_path, 100) is None


def test_a_preview_that_is_turned_otherwise_is_not_used(tmp_path: Path) -> None:
    source = heic(tmp_path / "a.heic", thumbnails=[320])
    data = source.read_bytes()
    association = data.index(b"ipma") + 12
    assert heif.copy_with_preview(source, tmp_path, 100) is not None
    # Item 1, the picture, loses its last property; whatever that was, the file still parses.
    source.write_bytes(data[: association + 2] + bytes([0]) + data[association + 3 :])
    assert heif.copy_with_preview(source, tmp_path, 100) is None


def test_the_profile_is_found(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert heif.color_profile(heic(tmp_path / "a.heic", icc_profile=profile)) == profile
    assert heif.color_profile(heic(tmp_path / "b.heic")) is None


@pytest.mark.parametrize("seed", range(20))
def test_broken_files_have_nothing_to_use_and_raise_nothing(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    good = heic(tmp_path / "a.heic", (320, 240), thumbnails=[160]).read_bytes()
    for _ in range(100):
        broken = bytearray(good[: dice.randrange(len(good))])
        for _ in range(dice.randrange(1, 10)):
            if broken:
                broken[dice.randrange(min(len(broken), 800))] = dice.randrange(256)
        source = tmp_path / "broken.heic"
        source.write_bytes(bytes(broken))
        heif.copy_with_preview(source, tmp_path, 100)
        heif.color_profile(source)


def test_a_thumbnail_made_of_a_preview_shows_the_picture(server: RunningServer) -> None:
    data = pictures.encoded(pictures.scene(1600, 1200), "HEIF", thumbnails=[320], exif=pictures.exif().tobytes())
    server.upload("a.heic", data)
    for scale in (100, 320, 800):
        picture = pictures.opened(server.thumbnail("a.heic", scale).body)
        assert picture.size == (scale, scale * 3 // 4)
        assert pictures.shows_scene(picture)
