"""What ImageMagick does not do with HEIF files: use their preview, and know their colour profile.

Phones embed a preview, and decoding it takes a fraction of the whole picture's time. ImageMagick
decodes the primary item of a file only, so the preview is made the primary item of a copy, by
changing the one number that names it. Version 6 also drops the colour profile, without which the
pictures of newer phones are pale. Box layouts: ISO/IEC 23008-12 (HEIF) and 14496-12. Anything
unexpected means that there is nothing to use.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

#: The description of a file, without its pictures, is a few kilobytes long.
_LONGEST_META = 4 << 20

_COPY = "preview"

#: Properties that turn or cut a picture; they must be the same for preview and picture.
_TRANSFORMATIONS = (b"irot", b"imir", b"clap")


@dataclass(frozen=True)
class _Box:
    """One box: its type, where its content begins in the file, and the content."""

    kind: bytes
    offset: int
    content: bytes

    def children(self, skipped: int = 0) -> list["_Box"]:
        return list(_boxes(self.content[skipped:], self.offset + skipped))

    def child(self, kind: bytes, skipped: int = 0) -> "_Box | None":
        return next((box for box in self.children(skipped) if box.kind == kind), None)


def copy_with_preview(source: Path, folder: Path, size: int) -> Path | None:
    """Makes a copy of a HEIF file whose primary item is its preview, if that is good enough.

    Parameters:
        source: the original.
        folder: for the copy.
        size: the longer side that the preview must have at least, in pixels.

    Returns the copy, None if there is no preview of that size that shows the whole picture.
    """
    try:
        with open(source, "rb") as file:
            change = _find_change(file, size)
    except (ValueError, IndexError):
        return None  # forged or unusual; the decoder will say
    if change is None:
        return None
    offset, number = change
    copy = folder / _COPY
    shutil.copyfile(source, copy)
    with open(copy, "r+b") as file:
        file.seek(offset)
        file.write(number)
    return copy


def color_profile(source: Path) -> bytes | None:
    """Returns the ICC profile of a HEIF file's primary item, None if it has none."""
    try:
        with open(source, "rb") as file:
            meta = _find_meta(file)
        pitm = meta and meta.child(b"pitm", 4)
        if meta is None or pitm is None:
            return None
        primary = _number(pitm.content, 4, 2 if pitm.content[0] == 0 else 4)
        for box in _properties(meta).get(primary, []):
            if box.kind == b"colr" and box.content[:4] in (b"prof", b"rICC"):
                return box.content[4:]
    except (ValueError, IndexError):
        pass  # forged or unusual; the decoder will say
    return None


def _find_change(file: BinaryIO, size: int) -> tuple[int, bytes] | None:
    """Where the file names its primary item, and the bytes that name the preview instead."""
    meta = _find_meta(file)
    if meta is None:
        return None
    pitm, iref = meta.child(b"pitm", 4), meta.child(b"iref", 4)
    if pitm is None or iref is None:
        return None
    width = 2 if pitm.content[0] == 0 else 4
    primary = _number(pitm.content, 4, width)
    properties = _properties(meta)
    best: tuple[int, int] | None = None
    for preview in _previews_of(iref, primary):
        length = _usable_length(properties.get(preview, []), properties.get(primary, []))
        if length >= size and (best is None or length < best[0]):
            best = (length, preview)
    return None if best is None else (pitm.offset + 4, best[1].to_bytes(width, "big"))


def _find_meta(file: BinaryIO) -> _Box | None:
    position = 0
    while len(head := file.read(16)) >= 8:
        length, header = _number(head, 0, 4), 8
        if length == 1:
            length, header = _number(head, 8, 8), 16
        if head[4:8] == b"meta":
            if length > _LONGEST_META:
                return None
            file.seek(position + header)
            return _Box(b"meta", position + header, file.read(length - header))
        if length < header:
            return None
        position += length
        file.seek(position)
    return None


def _boxes(content: bytes, offset: int) -> Iterator[_Box]:
    at = 0
    while at + 8 <= len(content):
        length = _number(content, at, 4)
        if length < 8 or at + length > len(content):
            raise ValueError("a box that does not fit")
        yield _Box(content[at + 4 : at + 8], offset + at + 8, content[at + 8 : at + length])
        at += length


def _previews_of(iref: _Box, primary: int) -> list[int]:
    width = 2 if iref.content[0] == 0 else 4
    found = []
    for reference in iref.children(4):
        if reference.kind == b"thmb":
            count = _number(reference.content, width, 2)
            targets = [_number(reference.content, width + 2 + width * index, width) for index in range(count)]
            if primary in targets:
                found.append(_number(reference.content, 0, width))
    return found


def _properties(meta: _Box) -> dict[int, list[_Box]]:
    """The properties of each item."""
    iprp = meta.child(b"iprp", 4)
    ipco = iprp and iprp.child(b"ipco")
    ipma = iprp and iprp.child(b"ipma")
    if not ipco or not ipma:
        raise ValueError("no properties")
    known = ipco.children()
    content = ipma.content
    id_width, index_width = (2 if content[0] == 0 else 4), (2 if content[3] & 1 else 1)
    found: dict[int, list[_Box]] = {}
    at = 8
    for _ in range(_number(content, 4, 4)):
        item, count = _number(content, at, id_width), _number(content, at + id_width, 1)
        at += id_width + 1
        mask = 0x7FFF if index_width == 2 else 0x7F  # the highest bit says that the property is essential
        indices = [_number(content, at + index_width * index, index_width) & mask for index in range(count)]
        found[item] = [known[index - 1] for index in indices if index > 0]
        at += index_width * count
    return found


def _usable_length(preview: list[_Box], picture: list[_Box]) -> int:
    """The longer side of a preview in pixels, 0 if it does not show the same as the picture."""
    small, large = _dimensions(preview), _dimensions(picture)
    # Of the same shape to within a pixel: cameras also embed previews with black bars.
    same_shape = abs(small[0] * large[1] - small[1] * large[0]) <= max(large)
    same_way_up = _transformations(preview) == _transformations(picture)
    return max(small) if same_shape and same_way_up else 0


def _transformations(properties: list[_Box]) -> list[tuple[bytes, bytes]]:
    return [(box.kind, box.content) for box in properties if box.kind in _TRANSFORMATIONS]


def _dimensions(properties: list[_Box]) -> tuple[int, int]:
    for box in properties:
        if box.kind == b"ispe":
            return _number(box.content, 4, 4), _number(box.content, 8, 4)
    raise ValueError("a picture without dimensions")


def _number(content: bytes, at: int, width: int) -> int:
    if at + width > len(content):
        raise ValueError("cut off")
    return int.from_bytes(content[at : at + width], "big")
