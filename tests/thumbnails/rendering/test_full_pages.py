"""rendering.full_pages: which pictures are read row by row, and so may be larger."""

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from assetstore.thumbnails.rendering import full_pages, isolation
from assetstore.thumbnails.rendering.job import Limits
from tests import pictures
from tests.test_zoo import chunk

RED = Image.new("RGB", (64, 48), "red")


def png(interlace: int) -> bytes:
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, interlace)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(2))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


@pytest.mark.parametrize(
    ("decoder", "data", "is_streamed"),
    [
        ("jpeg", pictures.encoded(RED, "JPEG"), True),
        ("jpeg", pictures.encoded(RED, "JPEG", progressive=True), False),
        ("png", png(0), True),
        ("png", png(1), False),
        ("webp", pictures.encoded(RED, "WEBP"), False),
        ("tiff", pictures.encoded(RED, "TIFF"), True),
    ],
)
def test_only_pictures_that_are_stored_row_by_row_are_streamed(
    tmp_path: Path, decoder: str, data: bytes, is_streamed: bool
) -> None:
    (tmp_path / "a").write_bytes(data)

    def check() -> str:
        with open(tmp_path / "a", "rb") as file:
            picture = full_pages.open_header(decoder, file.fileno())
            return str(full_pages.is_streamed(decoder, file.fileno(), picture))

    # In a process of its own, because libvips starts threads.
    assert isolation.run(check, Limits(30, 512), 20, tmp_path) == str(is_streamed)
