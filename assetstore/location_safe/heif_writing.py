"""Writes the box `meta` of HEIC, HEIF and AVIF files again, for the items that a copy keeps."""

from collections.abc import Mapping, Sequence
from typing import BinaryIO

from assetstore.location_safe import parts
from assetstore.location_safe.boxes import Box, box, full_box
from assetstore.location_safe.heif_reading import IN_FILE, IN_IDAT, Item, Meta, Span
from assetstore.location_safe.recipe import CannotClean

_HEADER_BYTES = 8

#: That the data is in this file.
_THIS_FILE = box(b"dinf", full_box(b"dref", 0, 0, b"\0\0\0\1" + full_box(b"url ", 0, 1, b"")))
_PICTURES = bytes(4) + b"pict" + bytes(12) + b"\0"

#: References among items: derived from, thumbnail of, auxiliary image of, describes.
_REFERENCES = (b"dimg", b"thmb", b"auxl", b"cdsc", b"base", b"prem")


def meta_box(
    file: BinaryIO, old: Box, meta: Meta, chosen: Mapping[int, Item], spans_of_new: Mapping[int, Span]
) -> bytes:
    """The new box `meta`, as long as the old one, so that nothing behind it moves."""
    wide_primary = meta.versions[b"pitm"] != 0
    content = _THIS_FILE if meta.dinf is not None and meta.dinf.length >= len(_THIS_FILE) else b""
    content += full_box(b"pitm", meta.versions[b"pitm"], 0, meta.primary.to_bytes(4 if wide_primary else 2))
    content += _iinf(meta, chosen) + _iref(meta, chosen) + meta.properties(set(chosen))
    idat = b""
    if meta.idat is not None:
        # The position of `idat` in the file does not matter: positions in it are relative to its contents.
        used = [span for item in chosen.values() if item.is_image and item.method == IN_IDAT for span in item.extents]
        idat = box(b"idat", _only(file, meta.idat, used))
    content += idat + _iloc(meta, chosen, spans_of_new)
    head = old.contents - old.start + 4
    left = old.length - head - len(full_box(b"hdlr", 0, 0, _PICTURES)) - len(content)
    if left < 0:
        raise CannotClean("the description of its images has no room for changes")
    filling = box(b"free", bytes(left - _HEADER_BYTES)) if left >= _HEADER_BYTES else b""
    # A few bytes are no box; they follow the empty name of the handler.
    handler = full_box(b"hdlr", 0, 0, _PICTURES + bytes(left - len(filling)))
    return parts.read(file, old.start, head) + handler + content + filling


def _only(file: BinaryIO, idat: Box, used: Sequence[Span]) -> bytes:
    data, kept = parts.read(file, idat.contents, idat.end - idat.contents), bytearray(idat.end - idat.contents)
    for start, end in used:
        first, last = start - idat.contents, end - idat.contents
        kept[first:last] = data[first:last]
    if len(kept) != len(data):
        raise CannotClean("an image is outside of the data")
    return bytes(kept)


def _iinf(meta: Meta, chosen: Mapping[int, Item]) -> bytes:
    entries = b""
    for item_number, item in chosen.items():
        version, width = (2, 2) if item_number <= 0xFFFF else (3, 4)
        # No name, and no other texts.
        content = item_number.to_bytes(width) + bytes(2) + item.kind + b"\0" + item.content_type
        entries += full_box(b"infe", version, item.flags, content)
    version = meta.versions[b"iinf"]
    return full_box(b"iinf", version, 0, len(chosen).to_bytes(2 if version == 0 else 4) + entries)


def _iref(meta: Meta, chosen: Mapping[int, Item]) -> bytes:
    width, content = 4 if meta.versions.get(b"iref") else 2, b""
    for kind, source, all_targets in meta.references:
        targets = [target for target in all_targets if target in chosen]
        if kind in _REFERENCES and source in chosen and targets:
            numbers = [
                source.to_bytes(width),
                len(targets).to_bytes(2),
                *(target.to_bytes(width) for target in targets),
            ]
            content += box(kind, b"".join(numbers))
    return full_box(b"iref", meta.versions[b"iref"], 0, content) if content else b""


def _iloc(meta: Meta, chosen: Mapping[int, Item], spans_of_new: Mapping[int, Span]) -> bytes:
    version, (offset_width, length_width, base_width, index_width) = meta.versions[b"iloc"], meta.widths
    wide = 4 if version == 2 else 2
    entries = b""
    for item_number, item in chosen.items():
        extents = [spans_of_new[item_number]] if item_number in spans_of_new else item.extents
        method = IN_FILE if item_number in spans_of_new else item.method
        shift = meta.idat.contents if meta.idat is not None and method == IN_IDAT else 0
        # Places relative to the lowest one also fit into narrow numbers.
        base = min(start for start, _ in extents) - shift if extents and base_width else 0
        entries += item_number.to_bytes(wide) + (method.to_bytes(2) if version in (1, 2) else b"")
        entries += bytes(2) + _fit(base, base_width) + len(extents).to_bytes(2)
        for start, end in extents:
            entries += bytes(index_width) + _fit(start - shift - base, offset_width) + _fit(end - start, length_width)
    sizes = offset_width << 12 | length_width << 8 | base_width << 4 | index_width
    return full_box(b"iloc", version, 0, sizes.to_bytes(2) + len(chosen).to_bytes(wide) + entries)


def _fit(value: int, width: int) -> bytes:
    try:
        return value.to_bytes(width)
    except OverflowError:
        raise CannotClean("the description of its images has no room for changes") from None
