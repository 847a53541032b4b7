"""The EXIF tags that a copy keeps, and new EXIF data with only these.

The tables are an allow-list: a tag that is not in them, or whose value does not have the form that they demand, is not
in the copy. So there are no GPS and interoperability directories, serial numbers, maker notes, comments, captions and
thumbnails in it, and no bytes between the values. Times have no time zone, because it says a longitude.
"""

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from assetstore.metadata.containers.blocks import BROKEN
from assetstore.metadata.containers.tiff import Entry, TiffFile

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SIGNED_RATIONAL = 1, 2, 3, 4, 5, 7, 10

EXIF_POINTER = 0x8769

#: The longest name of a camera or lens, and the longest credit, in bytes.
_LONGEST_NAME, _LONGEST_CREDIT = 64, 2000

_DATE = re.compile(rb"[0-9]{4}[:/-][0-9]{2}[:/-][0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}")
_DIGITS = re.compile(rb"[0-9]{4}")
_UNPRINTABLE = re.compile(rb"[\0-\x1f\x7f]")


class Field(NamedTuple):
    """A tag of a directory, and the type, number and bytes of its values, in the byte order of its file."""

    tag: int
    type: int
    number: int
    data: bytes


#: Returns the type and the data that the copy keeps of a value (its type and data), or None.
Rule = Callable[[int, bytes], tuple[int, bytes] | None]

_SIZES = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1, SIGNED_RATIONAL: 8}


def numbers(most: int, *types: int) -> Rule:
    """Returns the rule for up to *most* numbers of one of these types."""

    def rule(type: int, data: bytes) -> tuple[int, bytes] | None:
        return (type, data) if type in types and 0 < len(data) <= most * _SIZES[type] else None

    return rule


def _text(most: int, parts: int = 1) -> Rule:
    """The rule for a text of at most *most* bytes, in *parts* that end with a zero: what follows the last is left."""

    def rule(type: int, data: bytes) -> tuple[int, bytes] | None:
        kept = [_UNPRINTABLE.sub(b" ", part).strip() for part in data.split(b"\0")[:parts]]
        text = b"\0".join(kept).rstrip(b"\0")[:most]
        return (ASCII, text + b"\0") if type in (ASCII, BYTE, UNDEFINED) and text else None

    return rule


def _matching(pattern: re.Pattern[bytes], wanted: int) -> Rule:
    def rule(type: int, data: bytes) -> tuple[int, bytes] | None:
        match = pattern.match(data)
        return (type, match[0] + (b"\0" if type == ASCII else b"")) if match and type == wanted else None

    return rule


_one_number = numbers(1, SHORT, LONG)
_one_ratio = numbers(1, RATIONAL, SIGNED_RATIONAL)
_one_byte = numbers(1, UNDEFINED)
_name, _date = _text(_LONGEST_NAME), _matching(_DATE, ASCII)

#: The tags of the first directory.
IMAGE: Mapping[int, Rule] = {
    0x010F: _name,  # Make
    0x0110: _name,  # Model
    0x0112: _one_number,  # Orientation
    0x011A: _one_ratio,  # XResolution
    0x011B: _one_ratio,  # YResolution
    0x0128: _one_number,  # ResolutionUnit
    0x0132: _date,  # DateTime
    0x013B: _text(_LONGEST_CREDIT),  # Artist
    0x0213: _one_number,  # YCbCrPositioning
    0x8298: _text(_LONGEST_CREDIT, parts=2),  # Copyright: of the photographer and of the editor
}

#: The tags of the EXIF directory.
PHOTO: Mapping[int, Rule] = {
    0x829A: _one_ratio,  # ExposureTime
    0x829D: _one_ratio,  # FNumber
    0x8822: _one_number,  # ExposureProgram
    0x8827: numbers(2, SHORT),  # PhotographicSensitivity
    0x9000: _matching(_DIGITS, UNDEFINED),  # ExifVersion
    0x9003: _date,  # DateTimeOriginal
    0x9004: _date,  # DateTimeDigitized
    **dict.fromkeys((0x9201, 0x9202, 0x9203, 0x9204, 0x9205, 0x9206), _one_ratio),  # exposure, SubjectDistance
    **dict.fromkeys((0x9207, 0x9208, 0x9209), _one_number),  # MeteringMode, LightSource, Flash
    0x920A: _one_ratio,  # FocalLength
    **dict.fromkeys((0xA001, 0xA002, 0xA003), _one_number),  # ColorSpace, PixelXDimension, PixelYDimension
    **dict.fromkeys((0xA20E, 0xA20F), _one_ratio),  # resolution of the sensor
    **dict.fromkeys((0xA210, 0xA217), _one_number),  # its unit, SensingMethod
    **dict.fromkeys((0xA300, 0xA301), _one_byte),  # FileSource, SceneType
    **dict.fromkeys((0xA401, 0xA402, 0xA403), _one_number),  # CustomRendered, ExposureMode, WhiteBalance
    0xA404: _one_ratio,  # DigitalZoomRatio
    **dict.fromkeys((0xA405, 0xA406, 0xA407, 0xA408, 0xA409, 0xA40A, 0xA40C), _one_number),  # FocalLengthIn35mm, …
    0xA432: numbers(4, RATIONAL),  # LensSpecification
    0xA433: _name,  # LensMake
    0xA434: _name,  # LensModel
    0xA437: _text(_LONGEST_CREDIT),  # Photographer (EXIF 3.0)
}


@dataclass(frozen=True)
class Exif:
    """The tags of a copy.

    Fields:
        order: the byte order, `<` or `>`.
        image, photo: the tags of the two directories.
    """

    order: str
    image: Sequence[Field]
    photo: Sequence[Field]

    def as_tiff(self) -> bytes:
        """Returns the tags as EXIF data: a small TIFF file without an image."""
        data = bytearray((b"II*\0" if self.order == "<" else b"MM\0*") + struct.pack(f"{self.order}I", 8))
        image = list(self.image)
        if self.photo:
            image.append(Field(EXIF_POINTER, LONG, 1, struct.pack(f"{self.order}I", 8 + directory_bytes(image, 1))))
        for directory in (image, self.photo):
            if directory:
                data += directory_as_bytes(self.order, directory, len(data))
        return bytes(data)


def read(file: BinaryIO) -> Exif | None:
    """Returns the tags to keep of EXIF data; None if there are none. Damaged directories are left out."""
    try:
        tiff = TiffFile(file)
        entries, _ = tiff.directory(tiff.first)
    except BROKEN:
        return None
    image = kept(tiff, entries, IMAGE)
    photo = photo_fields(tiff, entries)
    return Exif(tiff.order, image, photo) if image or photo else None


def photo_fields(tiff: TiffFile, entries: Sequence[Entry]) -> list[Field]:
    """Returns the tags to keep of the EXIF directory to which another one points."""
    for entry in entries:
        if entry.tag == EXIF_POINTER:
            try:
                offset = int.from_bytes(tiff.value(entry), "little" if tiff.order == "<" else "big")
                return kept(tiff, tiff.directory(offset)[0], PHOTO)
            except BROKEN:
                return []
    return []


def kept(tiff: TiffFile, entries: Sequence[Entry], rules: Mapping[int, Rule]) -> list[Field]:
    """Returns the tags of a directory that *rules* keep, each once, in the order of their numbers."""
    found: dict[int, Field] = {}
    for entry in entries:
        if entry.tag not in rules or entry.tag in found or not 0 < entry.length <= _LONGEST_CREDIT * 4:
            continue
        data = tiff.value(entry)
        value = rules[entry.tag](entry.type, data) if len(data) == entry.length else None
        if value is not None:
            found[entry.tag] = Field(entry.tag, value[0], len(value[1]) // _SIZES[value[0]], value[1])
    return [found[tag] for tag in sorted(found)]


def directory_bytes(fields: Sequence[Field], more: int = 0) -> int:
    """Returns how many bytes `directory_as_bytes` needs, with *more* further tags without values of their own."""
    values = sum(len(field.data) + len(field.data) % 2 for field in fields if len(field.data) > 4)
    return 2 + 12 * (len(fields) + more) + 4 + values


def directory_as_bytes(order: str, fields: Sequence[Field], position: int) -> bytes:
    """Returns a directory, followed by its values, for this position in a file."""
    values = bytearray()
    start = position + 2 + 12 * len(fields) + 4
    head = struct.pack(f"{order}H", len(fields))
    for field in sorted(fields):
        data = field.data.ljust(4, b"\0")
        if len(field.data) > 4:
            data = struct.pack(f"{order}I", start + len(values))
            values += field.data + bytes(len(field.data) % 2)
        head += struct.pack(f"{order}HHI", field.tag, field.type, field.number) + data
    return head + bytes(4) + values
