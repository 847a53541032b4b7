"""The properties of images in HEIC and AVIF files (ISO 23008-12, 6.5): those of an allow-list, written again."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

from assetstore.location_safe import icc, parts
from assetstore.location_safe.boxes import Box, box, boxes, full_box, number
from assetstore.location_safe.recipe import CannotClean

#: Configuration of the decoder, size, shape, colour and kind of auxiliary image.
_KEPT = frozenset(
    b"hvcC av1C ispe pixi pasp clap irot imir auxC lsel a1op a1lx clli mdcv cclv amve rloc rref iscl".split()
)
_COLOUR, _PROFILES, _OTHER_COLOURS = b"colr", (b"prof", b"rICC"), (b"nclx", b"nclc")
_LARGEST = 64 << 10

#: Item -> its properties: index (from 1), and whether it is essential.
_Associations = Mapping[int, Sequence[tuple[int, bool]]]


def read(file: BinaryIO, found: Box) -> Callable[[set[int]], bytes]:
    """Returns a function that writes the box `iprp` for these items. Raises CannotClean.

    The new box is not longer than the old one.
    """
    containers = list(boxes(file, found.contents, found.end))
    if [child.kind for child in containers[:2]] != [b"ipco", b"ipma"]:
        raise CannotClean("its properties have another form")
    properties = [_kept(file, child) for child in boxes(file, containers[0].contents, containers[0].end)]
    tables = [_table(file, child) for child in containers[1:] if child.kind == b"ipma"]
    return functools.partial(_written, properties, tables)


def _kept(file: BinaryIO, found: Box) -> bytes | None:
    """The property as in the copy; None if it is left out."""
    data = parts.read(file, found.contents, found.end - found.contents)
    if found.kind == _COLOUR and data[:4] in _PROFILES:
        profile = icc.clean(data[4:])
        return None if profile is None else box(_COLOUR, data[:4] + profile)
    if (found.kind == _COLOUR and data[:4] in _OTHER_COLOURS) or (found.kind in _KEPT and len(data) <= _LARGEST):
        return box(found.kind, data)
    return None


def _table(file: BinaryIO, found: Box) -> tuple[int, int, _Associations]:
    """The version and flags of a table of associations, and what it says."""
    data = parts.read(file, found.contents, found.end - found.contents)
    version, flags = data[0], data[3]
    item_width, width = 4 if version else 2, 2 if flags & 1 else 1
    table: dict[int, list[tuple[int, bool]]] = {}
    position = 8
    for _ in range(number(data, 4, 4)):
        item, count = number(data, position, item_width), number(data, position + item_width, 1)
        position += item_width + 1
        values = [number(data, position + at * width, width) for at in range(count)]
        position += count * width
        essential = 1 << (8 * width - 1)
        table[item] = [(value & ~essential, bool(value & essential)) for value in values]
    return version, flags & 1, table


def _written(
    properties: Sequence[bytes | None], tables: Sequence[tuple[int, int, _Associations]], items: set[int]
) -> bytes:
    used = {index for _, _, table in tables for item in items for index, _ in table.get(item, ())}
    # Numbers of properties are their places, so one that is left out leaves an empty box.
    content = b"".join(
        kept if kept is not None and index in used else box(b"free", b"") for index, kept in enumerate(properties, 1)
    )
    return box(b"iprp", box(b"ipco", content) + b"".join(_associations(properties, table, items) for table in tables))


def _associations(properties: Sequence[bytes | None], table: tuple[int, int, _Associations], items: set[int]) -> bytes:
    version, flags, associations = table
    item_width, width = 4 if version else 2, 2 if flags else 1
    rows = list(_rows(properties, associations, items))
    content = len(rows).to_bytes(4)
    for item, values in rows:
        content += item.to_bytes(item_width) + bytes((len(values),))
        content += b"".join((index | is_essential << (8 * width - 1)).to_bytes(width) for index, is_essential in values)
    return full_box(b"ipma", version, flags, content)


def _rows(
    properties: Sequence[bytes | None], associations: _Associations, items: set[int]
) -> Iterator[tuple[int, Sequence[tuple[int, bool]]]]:
    for item, values in associations.items():
        if item in items:
            kept = [(index, flag) for index, flag in values if 0 < index <= len(properties)]
            if any(flag and properties[index - 1] is None for index, flag in kept):
                raise CannotClean("an image has a property that it requires, but that may contain metadata")
            yield item, [(index, flag) for index, flag in kept if properties[index - 1] is not None]
