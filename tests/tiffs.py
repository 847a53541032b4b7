"""Builds TIFF files tag by tag, as no library writes them: odd pixels, odd pages, RAW of cameras."""

import struct
from collections.abc import Mapping, Sequence

from tests import pictures

#: Type of a value by what it is: ASCII, SHORT, LONG, RATIONAL, FLOAT, BYTE.
ASCII, SHORT, LONG, RATIONAL, BYTE, FLOAT, SIGNED_RATIONAL = 2, 3, 4, 5, 1, 11, 10

Value = bytes | tuple[int, Sequence[float]]
Tags = Mapping[int, Value]


def _packed(value: Value) -> tuple[int, int, bytes]:
    """Type, count and bytes of a value; bytes are BYTEs, a tuple says its type."""
    if isinstance(value, bytes):
        return BYTE, len(value), value
    kind, numbers = value
    if kind in (RATIONAL, SIGNED_RATIONAL):
        pairs = [part for number in numbers for part in (round(number * 10_000), 10_000)]
        return kind, len(numbers), struct.pack(f"<{len(pairs)}{'I' if kind == RATIONAL else 'i'}", *pairs)
    code = {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", FLOAT: "f"}[kind]
    return kind, len(numbers), struct.pack(f"<{len(numbers)}{code}", *numbers)


def tiff(*pages: tuple[Tags, bytes], children: Sequence[tuple[Tags, bytes]] = ()) -> bytes:
    """A file of these pages, each its tags and its one strip; the children belong to the first."""
    out = bytearray(b"II*\0\0\0\0\0")
    child_offsets = [_append(out, tags, strip)[0] for tags, strip in children]
    link = 4
    for number, (tags, strip) in enumerate(pages):
        own = {**tags, 330: (LONG, child_offsets)} if number == 0 and child_offsets else tags
        offset, next_link = _append(out, own, strip)
        struct.pack_into("<I", out, link, offset)
        link = next_link
    return bytes(out)


def _append(out: bytearray, tags: Tags, strip: bytes) -> tuple[int, int]:
    """Adds a directory with its data; returns where it is, and where its link to the next is."""
    strip_offset = len(out)
    out += strip + b"\0" * (len(strip) % 2)
    every: dict[int, Value] = {273: (LONG, [strip_offset]), 279: (LONG, [len(strip)]), **tags}
    entries = b""
    for tag in sorted(every):
        kind, count, data = _packed(every[tag])
        if len(data) > 4:
            place = struct.pack("<I", len(out))
            out += data + b"\0" * (len(data) % 2)
        else:
            place = data.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kind, count) + place
    offset = len(out)
    out += struct.pack("<H", len(every)) + entries + bytes(4)
    return offset, len(out) - 4


def page(width: int, height: int, bits: Sequence[int], photometric: int, **tags: Value) -> dict[int, Value]:
    """The tags that every page has; further ones by number, as `t338`."""
    usual: dict[int, Value] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, bits),
        259: (SHORT, [1]),
        262: (SHORT, [photometric]),
        277: (SHORT, [len(bits)]),
        278: (LONG, [height]),
    }
    return {**usual, **{int(name[1:]): value for name, value in tags.items()}}


def dng(width: int = 640, height: int = 480) -> bytes:
    """RAW of a camera that was held upright: sensor data of twice that size, and a preview as it lay."""
    preview = pictures.encoded(pictures.scene(width, height), "JPEG", quality=90)
    jpeg = page(
        width, height, (8, 8, 8), 6, t254=(LONG, [1]), t259=(SHORT, [7]), t50706=bytes((1, 4, 0, 0)), t274=(SHORT, [6])
    )
    jpeg |= {271: (ASCII, b"Museum\0"), 272: (ASCII, b"Camera\0"), 50708: (ASCII, b"Museum Camera\0")}
    jpeg |= {50721: (SIGNED_RATIONAL, (1, 0, 0, 0, 1, 0, 0, 0, 1)), 50728: (RATIONAL, (1, 1, 1)), 50778: (SHORT, [21])}
    sensor = page(
        2 * width, 2 * height, (16,), 32803, t254=(LONG, [0]), t33421=(SHORT, [2, 2]), t33422=bytes((0, 1, 1, 2))
    )
    sensor |= {50717: (LONG, [4095]), 50711: (SHORT, [1])}
    return tiff((jpeg, preview), children=[(sensor, struct.pack("<H", 900) * (4 * width * height))])


def directory(
    *entries: tuple[int, int, int, bytes], order: str = "<", is_big: bool = False, following: int = 0
) -> bytes:
    """A TIFF or BigTIFF of one directory; each entry is its tag, type, count, and its values as bytes."""
    number, pointer, width, first = ("Q", "Q", 8, 16) if is_big else ("H", "I", 4, 8)
    head = b"II" if order == "<" else b"MM"
    head += struct.pack(f"{order}HHHQ", 43, 8, 0, first) if is_big else struct.pack(f"{order}HI", 42, first)
    end = first + struct.calcsize(f"<{number}") + len(entries) * (4 + 2 * width) + width
    packed = values = b""
    for tag, kind, count, data in entries:
        is_here = len(data) <= width
        place = data.ljust(width, b"\0") if is_here else struct.pack(f"{order}{pointer}", end + len(values))
        values += b"" if is_here else data
        packed += struct.pack(f"{order}HH{pointer}", tag, kind, count) + place
    count = struct.pack(f"{order}{number}", len(entries))
    return head + count + packed + struct.pack(f"{order}{pointer}", following) + values
