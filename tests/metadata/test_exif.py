"""metadata: EXIF of real camera formats, its texts and dates, and what is left of broken ones."""

import io
import json
import random
import struct
import time
from typing import Any

import pytest

from assetstore.errors import StorageFault
from assetstore.metadata import dates, reading
from tests import pictures
from tests.file_operations import Counted


def groups(data: bytes) -> dict[str, dict[str, str]]:
    found = reading.read(io.BytesIO(data)).groups
    json.dumps(found)
    return {str(group["Name"]): group["Fields"] for group in found}  # type: ignore[misc]


def date(data: bytes) -> str | None:
    return reading.read(io.BytesIO(data)).date


def scan() -> bytes:
    """EXIF is a TIFF file itself."""
    return pictures.exif().tobytes().removeprefix(b"Exif\0\0")


FORMATS = [pictures.jpeg, scan, pictures.heic, pictures.png, pictures.webp]


@pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)
def test_tags_of_every_camera_format_are_grouped(make: Any) -> None:
    found = groups(make())
    assert found["Image"]["Make"] == "Canon"
    assert found["EXIF"]["DateTimeOriginal"] == "2009:05:30 12:34:56"
    assert found["GPS"]["GPSLatitudeRef"] == "N"
    assert date(make()) == "2009:05:30 12:34:56"


@pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)
def test_existing_clients_get_unchanged_bytes(make: Any) -> None:
    assert json.dumps(reading.read(io.BytesIO(make())).groups) == (
        '[{"Name": "Image", "Fields": {"Make": "Canon", "Orientation": "Horizontal (normal)", "ExifOffset": "68",'
        ' "GPSInfo": "106"}},'
        ' {"Name": "GPS", "Fields": {"GPSLatitudeRef": "N", "GPSLatitude": "[38, 57, 30]"}},'
        ' {"Name": "EXIF", "Fields": {"DateTimeOriginal": "2009:05:30 12:34:56"}}]'
    )


def test_every_page_of_a_tiff_has_its_groups() -> None:
    found = groups(pictures.tiff())
    assert list(found) == ["Image", "Thumbnail", "IFD 2"]
    assert found["Image"]["BitsPerSample"] == "[8, 8, 8]"
    assert found["IFD 2"]["ImageWidth"] == "300"


@pytest.mark.parametrize("data", [b"", b"plain text", b"\xff\xd8\xff", pictures.gif(), pictures.pdf(), b"II*\0"])
def test_files_without_exif_have_no_groups_and_no_date(data: bytes) -> None:
    assert groups(data) == {}
    assert date(data) is None


def test_embedded_thumbnails_are_left_out_and_long_binary_tags_cut() -> None:
    exif = pictures.exif()
    exif.get_ifd(0x8769)[0x927C] = bytes(range(256)) * 100  # MakerNote
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + b"x" * 20_000  # UserComment
    data = pictures.encoded(pictures.scene(), "JPEG", exif=exif)
    answer = json.dumps(groups(data))
    assert len(answer) < 20_000
    assert "JPEGThumbnail" not in answer


@pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)
def test_the_readable_part_of_broken_exif_is_returned_without_an_error(make: Any) -> None:
    good, dice = make()[:6000], random.Random(7)
    found = []
    for _ in range(150):
        broken = bytearray(good[: dice.randrange(len(good))])
        for _ in range(dice.randrange(1, 20)):
            if broken:
                broken[dice.randrange(len(broken))] = dice.randrange(256)
        found.append(groups(bytes(broken)))
    # In some of them, the beginning was spared.
    assert any(name.startswith("Canon") for broken in found for name in broken.get("Image", {}).values())


def test_heic_without_the_exif_header_is_read() -> None:
    assert groups(pictures.heic().replace(b"\x06Exif\0\0MM", b"\0\0\0\0\0\0\0MM"))["Image"]["Make"] == "Canon"


def test_reading_circular_directories_ends() -> None:
    # Two directories that name each other as the next one.
    entry = struct.pack("<HHII", 0x10F, 2, 4, int.from_bytes(b"abc\0", "little"))
    circle = b"II*\0" + struct.pack("<I", 8)
    for other in (26, 8):
        circle += struct.pack("<H", 1) + entry + struct.pack("<I", other)
    assert groups(circle) == {"Image": {"Make": "abc"}, "Thumbnail": {"Make": "abc"}}


def test_long_texts_are_not_read_repeatedly() -> None:
    entries = struct.pack("<HHII", 0x9000, 2, 1_000_000, 2000) * 60
    forged = b"II*\0" + struct.pack("<IH", 8, 60) + entries + bytes(4)
    file = Counted(forged.ljust(2000, b"\0") + b"\xff" * 1_000_000)
    [group] = reading.read(file).groups
    assert (group["Name"], list(group["Fields"])) == ("Image", ["ExifVersion"])  # type: ignore[call-overload]
    assert file.count < 5_000_000


def test_a_tag_that_claims_four_billion_values_is_read_in_bounded_time() -> None:
    entry = struct.pack("<HHII", 0x9286, 7, 0xFFFFFFF0, 8) + struct.pack("<HHII", 0x111, 4, 0xFFFFFFFF, 8)
    file = Counted(b"II*\0" + struct.pack("<IH", 8, 2) + entry + struct.pack("<I", 0) + b"x" * 100)
    [group] = reading.read(file).groups
    assert group == {"Name": "Image", "Fields": {"UserComment": "", "StripOffsets": "[]"}}
    assert file.count < 1000


def test_a_read_error_is_not_reported_as_missing_metadata() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 100:
                raise StorageFault("The file cannot be read.")
            return super().read(size)

    with pytest.raises(StorageFault, match="cannot be read"):
        reading.read(Failing(pictures.jpeg()))


def exif_file(tags: dict[int, object], exif_tags: dict[int, object] | None = None) -> bytes:
    exif = pictures.exif()
    for tag, value in tags.items():
        exif[tag] = value
    exif.get_ifd(0x8769).update(exif_tags or {})
    return exif.tobytes().removeprefix(b"Exif\0\0")


def with_date(text: str) -> bytes:
    return pictures.exif(date=text).tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize(
    "text", ["    :  :     :  :  ", "0000:00:00 00:00:00", "2019:02:30 10:00:00", "2019:01:01 25:00:00", "unknown", " "]
)
def test_an_impossible_date_is_only_shown_as_a_tag(text: str) -> None:
    assert date(with_date(text)) is None
    assert groups(with_date(text))["EXIF"]["DateTimeOriginal"] == text.strip()


@pytest.mark.parametrize(
    "text",
    ["2009:05:30 12:34:56", "2009-05-30T12:34:56", "2009:05:30", "2009:05:30   :  :  ", "2009:05:30 12:34:56+02:00"],
)
def test_a_date_is_returned_as_the_camera_wrote_it(text: str) -> None:
    assert date(with_date(text)) == text.strip()


def test_whitespace_around_a_date_is_ignored() -> None:
    assert dates.date_time(" 2009:05:30 12:34:56\0") == "2009:05:30 12:34:56"


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        (b"ASCII\0\0\0leg. M. Smith  ", "leg. M. Smith"),
        (b"ASCII\0\0\0first\r\nsecond", "first\r\nsecond"),
        (b"ASCII\0\0\0leg. M\xfcller", "leg. Müller"),
        (b"UNICODE\0" + "Kyōto, leg. Müller".encode("utf-16-le"), "Kyōto, leg. Müller"),
        (b"UNICODE\0" + "Kyōto, leg. Müller".encode("utf-16-be"), "Kyōto, leg. Müller"),
        (b"UNICODE\0" + "京都".encode("utf-16"), "京都"),
        (b"JIS\0\0\0\0\0" + "京都".encode("iso2022_jp"), "京都"),
        (b"\0\0\0\0\0\0\0\0Kopenhagen", "Kopenhagen"),
        (b"ASCII\0\0\0" + bytes(40), ""),
    ],
)
def test_comments_are_decoded_with_their_declared_character_code(comment: bytes, expected: str) -> None:
    assert groups(exif_file({}, {0x9286: comment}))["EXIF"]["UserComment"] == expected


def test_windows_and_latin_1_texts_are_decoded() -> None:
    data = exif_file(
        {0x9C9B: "Græs 草\0".encode("utf-16-le"), 0x9C9D: "Müller\0".encode("utf-16-le"), 0x013B: "M?ller"}
    )
    found = groups(data.replace(b"M?ller", b"M\xfcller"))["Image"]
    assert (found["XPTitle"], found["XPAuthor"], found["Artist"]) == ("Græs 草", "Müller", "Müller")


def test_text_stored_as_bytes_is_not_shown_as_numbers() -> None:
    exif = pictures.exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R98", 2: b"0100"}
    found = groups(exif.tobytes().removeprefix(b"Exif\0\0"))
    assert found["Interoperability"]["InteroperabilityVersion"] == "0100"


def directory(*entries: bytes, following: int = 0) -> bytes:
    return struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", following)


def test_a_broken_directory_does_not_affect_the_others() -> None:
    make = struct.pack("<HHII", 0x10F, 2, 4, int.from_bytes(b"abc\0", "little"))
    to_exif, to_gps = struct.pack("<HHII", 0x8769, 4, 1, 80), struct.pack("<HHII", 0x8825, 4, 1, 0x7FFFFFF0)
    first = b"II*\0" + struct.pack("<I", 8) + directory(make, to_gps, to_exif)
    data = first.ljust(80, b"\0") + directory(struct.pack("<HHII", 0x9003, 2, 20, 110)) + b"\0" * 20
    found = groups(data[:110].ljust(110, b"\0") + b"2009:05:30 12:34:56\0")
    assert found["Image"]["Make"] == "abc"
    assert found["EXIF"]["DateTimeOriginal"] == "2009:05:30 12:34:56"


def test_only_the_first_of_very_many_directories_are_read() -> None:
    make = struct.pack("<HHII", 0x10F, 2, 4, int.from_bytes(b"abc\0", "little"))
    pages = b"".join(directory(make, following=8 + 18 * (page + 1)) for page in range(50_000))
    began = time.process_time()
    assert groups(b"II*\0" + struct.pack("<I", 8) + pages)["Image"]["Make"] == "abc"
    assert time.process_time() - began < 8
