"""Reads what the box `meta` of HEIC, HEIF and AVIF files says about its items (ISO 14496-12, 8.11)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from assetstore.location_safe import item_properties, parts
from assetstore.location_safe.boxes import Box, boxes, number
from assetstore.location_safe.recipe import CannotClean

#: Kinds of items that are images: coded by HEVC and AV1, and those that consist of other images.
_IMAGES = (b"hvc1", b"av01", b"grid", b"iden", b"iovl")
EXIF, MIME, XMP_TYPE = b"Exif", b"mime", b"application/rdf+xml\0"

#: Where an item is: in the file, or in the box `idat`.
IN_FILE, IN_IDAT = 0, 1

_MOST_EXTENTS = 100_000

Span = tuple[int, int]


@dataclass
class Item:
    """An item of the file.

    Fields:
        kind: its type.
        flags: of its entry: whether it is hidden.
        content_type: of a `mime` item.
        method: where its parts are: IN_FILE or IN_IDAT.
        extents: the starts and ends of its parts.
    """

    kind: bytes
    flags: int
    content_type: bytes = b""
    method: int = IN_FILE
    extents: list[Span] = field(default_factory=list)

    @property
    def is_image(self) -> bool:
        """Whether it is an image that a copy may have."""
        return self.kind in _IMAGES


@dataclass
class Meta:
    """What `meta` says.

    Fields:
        versions: of the boxes for the primary item, the list of items, their positions and references.
        widths: of the numbers in `iloc`: offset, length, base, index, in bytes.
        primary: the number of the primary item.
        items: the items by number.
        references: kind, from which item, to which items.
        idat: the box with small items; None if there is none.
        properties: the new box `iprp`, for the items of a copy.
        dinf: the box that says in which files the data is; None if there is none.
    """

    versions: dict[bytes, int]
    widths: tuple[int, int, int, int]
    primary: int
    items: dict[int, Item]
    references: list[tuple[bytes, int, list[int]]]
    idat: Box | None
    properties: Callable[[set[int]], bytes]
    dinf: Box | None


def read(file: BinaryIO, found: Box) -> Meta:
    """Returns what a box says. Raises CannotClean."""
    inner: dict[bytes, Box] = {}
    for child in boxes(file, found.contents + 4, found.end):
        if child.kind in inner:
            raise CannotClean(f"it has two boxes {child.kind!r}")
        inner[child.kind] = child
    if not {b"pitm", b"iinf", b"iloc", b"iprp"} <= inner.keys():
        raise CannotClean("it does not describe its images")
    pitm = parts.read(file, inner[b"pitm"].contents, inner[b"pitm"].end - inner[b"pitm"].contents)
    versions = {b"pitm": pitm[0]}
    items = _items(file, inner[b"iinf"], versions)
    widths = _extents(file, inner[b"iloc"], items, inner.get(b"idat"), versions)
    references = list(_references(file, inner[b"iref"], versions)) if b"iref" in inner else []
    properties = item_properties.read(file, inner[b"iprp"])
    primary = int.from_bytes(pitm[4 : 6 if pitm[0] == 0 else 8])
    return Meta(versions, widths, primary, items, references, inner.get(b"idat"), properties, inner.get(b"dinf"))


def _items(file: BinaryIO, found: Box, versions: dict[bytes, int]) -> dict[int, Item]:
    [version] = parts.read(file, found.contents, 1)
    versions[b"iinf"] = version
    items = {}
    for child in boxes(file, found.contents + (6 if version == 0 else 8), found.end):
        data = parts.read(file, child.contents, child.end - child.contents)
        if child.kind != b"infe" or data[0] not in (2, 3):
            raise CannotClean("its list of items has another form")
        width = 2 if data[0] == 2 else 4
        protection, kind = data[4 + width : 6 + width], data[6 + width : 10 + width]
        if protection != b"\0\0":
            raise CannotClean("its images are encrypted")
        _name, _, rest = data[10 + width :].partition(b"\0")
        content_type = rest.partition(b"\0")[0] + b"\0" if kind == MIME else b""
        items[number(data, 4, width)] = Item(kind, data[3] & 1, content_type)
    return items


def _extents(
    file: BinaryIO, found: Box, items: Mapping[int, Item], idat: Box | None, versions: dict[bytes, int]
) -> tuple[int, int, int, int]:
    data = parts.read(file, found.contents, found.end - found.contents)
    version, position = data[0], 4
    versions[b"iloc"] = version

    def take(width: int) -> int:
        nonlocal position
        value, position = number(data, position, width), position + width
        return value

    sizes = take(2)
    widths = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15 if version in (1, 2) else 0
    left = _MOST_EXTENTS
    for _ in range(take(4 if version == 2 else 2)):
        item = items.get(take(4 if version == 2 else 2)) or Item(b"", 0)
        item.method = take(2) & 15 if version in (1, 2) else IN_FILE
        if take(2) or item.method not in (IN_FILE, IN_IDAT) or (item.method == IN_IDAT and idat is None):
            raise CannotClean("its images are in another place than in its data")
        base, count = take(widths[2]), take(2)
        left -= count
        if left < 0:
            raise CannotClean("its images have too many parts")
        for _ in range(count):
            take(widths[3])
            start = base + take(widths[0]) + (idat.contents if idat and item.method == IN_IDAT else 0)
            length = take(widths[1])
            if not length:
                raise CannotClean("the length of an image is missing")
            item.extents.append((start, start + length))
    return widths


def _references(file: BinaryIO, found: Box, versions: dict[bytes, int]) -> Iterator[tuple[bytes, int, list[int]]]:
    [version] = parts.read(file, found.contents, 1)
    versions[b"iref"] = version
    width = 4 if version else 2
    for child in boxes(file, found.contents + 4, found.end):
        data = parts.read(file, child.contents, child.end - child.contents)
        count = number(data, width, 2)
        targets = [number(data, width + 2 + at * width, width) for at in range(count)]
        yield child.kind, number(data, 0, width), targets
