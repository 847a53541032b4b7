"""thumbnails.plain_images: only images without anything else are plain."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from assetstore.thumbnails.plain_images import is_plain
from tests import pictures

PLAIN = {kind: pictures.encoded(pictures.scene(40, 30), kind) for kind in ("JPEG", "PNG", "GIF")}


def encoded(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    return pictures.encoded(pictures.scene(40, 30).convert(mode), kind, **options)


def with_text(kind: str) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("exif:GPSLatitude", "47/1, 0/1, 0/1")
    return encoded(kind, pnginfo=text)


def animated() -> bytes:
    frames = [Image.new("P", (9, 9), number) for number in range(3)]
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:], loop=0)
    return data.getvalue()


@pytest.mark.parametrize(
    "data",
    [*PLAIN.values(), encoded("JPEG", "L"), encoded("JPEG", "CMYK"), encoded("JPEG", progressive=True)]
    + [encoded("PNG", mode) for mode in ("L", "P", "RGBA")]
    + [animated()],
)
def test_an_image_is_plain_whatever_its_colors_and_frames(data: bytes) -> None:
    file = io.BytesIO(data)
    assert is_plain(file)
    assert file.tell() == 0


@pytest.mark.parametrize(
    "data",
    [
        encoded("JPEG", exif=pictures.exif()),
        encoded("JPEG", comment=b"N 47"),
        encoded("JPEG", icc_profile=b"x" * 200),
        encoded("PNG", exif=pictures.exif()),
        with_text("PNG"),
        encoded("GIF", comment=b"N 47"),
        PLAIN["GIF"][:-1] + b"!\xff\x0bXMP DataXMP<x/>\0;",
        encoded("TIFF"),
        b"",
    ],
)
def test_anything_besides_the_image_is_not_plain(data: bytes) -> None:
    assert not is_plain(io.BytesIO(data))


@given(st.sampled_from([*PLAIN.values()]), st.integers(0, 300), st.binary(max_size=4))
def test_damaged_images_are_plain_or_not(data: bytes, position: int, other: bytes) -> None:
    assert is_plain(io.BytesIO(data[:position] + other + data[position + len(other) :])) in {True, False}
    assert not is_plain(io.BytesIO(data[: position % 10] + other[:1]))
