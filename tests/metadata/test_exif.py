"""metadata: EXIF of real camera formats, and what is left of broken ones."""

import errno
import io
import json
import os
import random
import struct
from typing import Any

import pytest

from assetstore.errors import StorageFault
from assetstore.metadata import exif as metadata
from tests import pictures


def groups(data: bytes) -> dict[str, dict[str, str]]:
    found = metadata.read_groups(io.BytesIO(data))
    json.dumps(found)
    return {str(group["Name"]): group["Fields"] for group in found}  # type: ignore[misc]


def scan() -> bytes:
    """EXIF is a TIFF file itself."""
    return pictures.exif().tobytes().removeprefix(b"Exif\0\0")


FORMATS = [pictures.jpeg, scan, pictures.heic, pictures.png, pictures.webp]


@pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)
def test_every_format_of_cameras_gives_its_tags_by_group(make: Any) -> None:
    found = groups(make())
    assert found["Image"]["Make"] == "Canon"
    assert found["EXIF"]["DateTimeOriginal"] == "2009:05:30 12:34:56"
    assert found["GPS"]["GPSLatitudeRef"] == "N"
    assert metadata.read_date(io.BytesIO(make())) == "2009:05:30 12:34:56"


@pytest.mark.parametrize("data", [b"", b"plain text", b"\xff\xd8\xff", pictures.gif(), pictures.pdf(), b"II*\0"])
def test_files_without_exif_have_no_groups_and_no_date(data: bytes) -> None:
    assert groups(data) == {}
    assert metadata.read_date(io.BytesIO(data)) is None


def test_embedded_thumbnails_are_left_out_and_long_binary_tags_cut() -> None:
    exif = pictures.exif()
    exif.get_ifd(0x8769)[0x927C] = bytes(range(256)) * 100  # MakerNote
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + b"x" * 20_000  # UserComment
    data = pictures.encoded(pictures.scene(), "JPEG", exif=exif)
    answer = json.dumps(metadata.read_groups(io.BytesIO(data)))
    assert len(answer) < 20_000
    assert "JPEGThumbnail" not in answer


@pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)
def test_broken_exif_gives_what_can_be_read_and_never_an_error(make: Any) -> None:
    good, dice = make()[:6000], random.Random(7)
    for _ in range(150):
        broken = bytearray(good[: dice.randrange(len(good))])
        for _ in range(dice.randrange(1, 20)):
            if broken:
                broken[dice.randrange(len(broken))] = dice.randrange(256)
        groups(bytes(broken))
        metadata.read_date(io.BytesIO(bytes(broken)))


def test_heic_of_phones_that_leave_out_the_word_exif_is_read_too() -> None:
    assert groups(pictures.heic().replace(b"\x06Exif\0\0MM", b"\0\0\0\0\0\0\0MM"))["Image"]["Make"] == "Canon"


def test_a_table_of_contents_that_leads_in_circles_ends() -> None:
    # Two directories that name each other as the next one.
    entry = struct.pack("<HHII", 0x10F, 2, 4, int.from_bytes(b"abc\0", "little"))
    circle = b"II*\0" + struct.pack("<I", 8)
    for other in (26, 8):
        circle += struct.pack("<H", 1) + entry + struct.pack("<I", other)
    groups(circle)


def test_texts_of_a_megabyte_are_not_read_again_and_again() -> None:
    entries = struct.pack("<HHII", 0x9000, 2, 1_000_000, 2000) * 60
    forged = b"II*\0" + struct.pack("<IH", 8, 60) + entries + bytes(4)
    groups(forged.ljust(2000, b"\0") + b"\xff" * 1_000_000)


def test_a_tag_that_claims_four_billion_values_ends() -> None:
    entry = struct.pack("<HHII", 0x9286, 7, 0xFFFFFFF0, 8) + struct.pack("<HHII", 0x111, 4, 0xFFFFFFFF, 8)
    groups(b"II*\0" + struct.pack("<IH", 8, 2) + entry + struct.pack("<I", 0) + b"x" * 100)


def test_a_disk_that_does_not_give_the_bytes_is_no_file_without_metadata() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 100:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(size)

    with pytest.raises(StorageFault, match="cannot be read"):
        metadata.read_groups(Failing(pictures.jpeg()))
