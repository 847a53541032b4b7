"""rendering.headers: what the segments of a JPEG say, and where the first frame of a GIF is."""

import struct
from pathlib import Path

import pytest
from PIL import ImageCms

from assetstore.thumbnails.rendering.headers import GifFrame, JpegHeader, gif_first_frame, jpeg_header
from tests import pictures

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def header(folder: Path, data: bytes) -> JpegHeader:
    (folder / "a.jpg").write_bytes(data)
    with open(folder / "a.jpg", "rb") as file:
        return jpeg_header(file.fileno())


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def test_size_and_profile_are_found(tmp_path: Path) -> None:
    scene = pictures.scene(640, 480)
    for profile in (None, PROFILE):
        found = header(tmp_path, pictures.encoded(scene, "JPEG", icc_profile=profile))
        assert (found.width, found.height, found.has_profile) == (640, 480, profile is not None)
        assert found.is_plain is (profile is None)
    assert JpegHeader().is_plain is False, "it may have a profile"


@pytest.mark.parametrize(
    ("before", "has_profile"),
    [
        (segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(50)) + segment(0xE1, b"Exif\0\0" + bytes(50)), True),
        (segment(0xE2, b"MPF\0" + bytes(50)), False),
        (segment(0xE1, b"ICC_PROFILE\0\1\1" + bytes(50)), False),
        (b"\xff\xff\xff" + segment(0xFE, b"a comment after some filling"), False),
    ],
)
def test_other_segments_are_skipped(tmp_path: Path, before: bytes, has_profile: bool) -> None:
    found = header(tmp_path, b"\xff\xd8" + before + segment(0xC0, b"\x08" + struct.pack(">HH", 300, 400) + bytes(10)))
    assert (found.width, found.height, found.has_profile, found.is_lossless) == (400, 300, has_profile, False)


@pytest.mark.parametrize("rest", [b"", b"\xff", b"\x00" * 40, segment(0xE0, b"x"), b"\xff" * 5000])
def test_a_header_without_a_frame_has_no_size(tmp_path: Path, rest: bytes) -> None:
    assert header(tmp_path, b"\xff\xd8" + rest) == JpegHeader()


@pytest.mark.parametrize(
    ("left", "top", "width", "height", "covers"),
    [
        (0, 0, 40, 30, True),
        (0, 0, 41, 31, True),
        (0, 0, 39, 30, False),
        (0, 0, 40, 29, False),
        (1, 0, 40, 30, False),
        (0, 1, 40, 30, False),
    ],
)
def test_a_frame_of_a_gif_covers_the_canvas_only_if_it_reaches_all_its_sides(
    tmp_path: Path, left: int, top: int, width: int, height: int, covers: bool
) -> None:
    comment = b"!\xfe\x03abc\x02de\0"
    for colors, table in ((0, b""), (0x80, bytes(6)), (0x87, bytes(3 * 256))):
        head = b"GIF89a" + struct.pack("<HHBBB", 40, 30, colors, 0, 0) + table
        (tmp_path / "a.gif").write_bytes(head + comment + b"," + struct.pack("<4HB", left, top, width, height, 0))
        with open(tmp_path / "a.gif", "rb") as file:
            frame = gif_first_frame(file.fileno())
        assert frame == GifFrame(40, 30, left, top, width, height)
        assert frame.covers_canvas == covers
