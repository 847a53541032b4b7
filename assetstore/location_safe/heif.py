"""Copies of HEIC, HEIF and AVIF files (ISO 14496-12 and 23008-12).

The coded images stay where they are, and everything else in the data becomes zeros. The box `meta`, which describes
them, is written again from what it says about images, and filled up to its length. New EXIF and XMP data is appended.
Other boxes become free space: the videos of live photos and motion photos, and the trailers of phones.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from assetstore.location_safe import heif_reading, heif_writing
from assetstore.location_safe.boxes import Box, box, boxes
from assetstore.location_safe.fields import Kept
from assetstore.location_safe.heif_reading import EXIF, IN_FILE, MIME, XMP_TYPE, Item, Meta, Span
from assetstore.location_safe.recipe import CannotClean, Draft, Recipe

_HEADER_BYTES, _LARGEST_META, _LARGEST_FTYP = 8, 16 << 20, 4096
_LARGEST_OFFSET = 0xFFFFFFFF


def clean(file: BinaryIO, size: int, kept: Kept) -> Recipe:
    """Returns the recipe of a copy. Raises CannotClean, and the errors of damaged files (`blocks.BROKEN`)."""
    top = list(boxes(file, 0, size))
    if not top or top[0].kind != b"ftyp" or top[0].length > _LARGEST_FTYP:
        raise CannotClean("it does not begin with its type")
    metas = [found for found in top if found.kind == b"meta"]
    if len(metas) != 1 or metas[0].length > _LARGEST_META:
        raise CannotClean("it has no still images, or too many descriptions of them")
    meta = heif_reading.read(file, metas[0])
    chosen = _chosen(meta, kept)
    spans = [span for item in chosen.values() if item.is_image and item.method == IN_FILE for span in item.extents]
    _refuse_strays(spans, top, meta, chosen)
    used = max((last for _, last in spans), default=0)
    top = [found for at, found in enumerate(top) if found.start < used or found is metas[0] or at == 0]
    end = max(found.end for found in top)
    appended, new_spans = _appended(end, chosen, kept)
    draft = Draft()
    for found in top:
        _write_box(draft, found, spans, lambda: heif_writing.meta_box(file, metas[0], meta, chosen, new_spans))
    draft.write(appended)
    return draft.recipe()


def _write_box(draft: Draft, found: Box, spans: Sequence[Span], meta: Callable[[], bytes]) -> None:
    if found.kind == b"ftyp":
        draft.copy(found.start, found.length)
    elif found.kind == b"meta":
        draft.write(meta())
    else:
        kind = b"mdat" if found.kind == b"mdat" else b"free"
        contents = found.end - found.contents
        if found.contents - found.start == _HEADER_BYTES:
            if found.length > _LARGEST_OFFSET:
                raise CannotClean("it is too large")
            draft.write(struct.pack(">I4s", found.length, kind))
        else:
            draft.write(struct.pack(">I4sQ", 1, kind, found.length))
        if kind == b"mdat":
            inside = [span for span in spans if found.contents <= span[0] and span[1] <= found.end]
            draft.lay(found.contents, found.end, inside)
        else:
            draft.fill(contents)


def _chosen(meta: Meta, kept: Kept) -> dict[int, Item]:
    """The items of the copy: the images, and one each for EXIF and XMP if there is something to put into it."""
    chosen = {identifier: item for identifier, item in meta.items.items() if item.is_image}
    # A derived image is not usable without its parts; others may depend on it.
    while missing := {
        source
        for kind, source, targets in meta.references
        if kind == b"dimg" and source in chosen and not chosen.keys() >= set(targets)
    }:
        chosen = {identifier: item for identifier, item in chosen.items() if identifier not in missing}
    if meta.primary not in chosen:
        raise CannotClean("its main image is coded in a way that may contain metadata")
    described = {source for kind, source, targets in meta.references if kind == b"cdsc" and meta.primary in targets}
    for is_wanted, content in ((_is_exif, kept.exif), (_is_xmp, kept.xmp)):
        for identifier, item in meta.items.items():
            if content is not None and identifier in described and is_wanted(item):
                chosen[identifier] = item
                break
    return chosen


def _is_exif(item: Item) -> bool:
    return item.kind == EXIF


def _is_xmp(item: Item) -> bool:
    return item.kind == MIME and item.content_type == XMP_TYPE


def _refuse_strays(spans: Sequence[Span], top: Sequence[Box], meta: Meta, chosen: Mapping[int, Item]) -> None:
    """Raises CannotClean if an image is not in the boxes for it, or shares bytes with other data."""
    data = [(found.contents, found.end) for found in top if found.kind == b"mdat"]
    if any(not any(first <= start and end <= last for first, last in data) for start, end in spans):
        raise CannotClean("an image is outside of the data")
    for identifier, item in meta.items.items():
        if identifier not in chosen or not item.is_image:
            others = item.extents if item.method == IN_FILE else []
            if any(start < last and first < end for start, end in spans for first, last in others):
                raise CannotClean("image data and metadata overlap")


def _appended(end: int, chosen: Mapping[int, Item], kept: Kept) -> tuple[bytes, dict[int, Span]]:
    """The data to append at *end*, and the place in the copy of each item in it."""
    content, spans_of_new = b"", {}
    for identifier, item in chosen.items():
        if not item.is_image:
            data = b"\0\0\0\6Exif\0\0" + kept.exif.as_tiff() if item.kind == EXIF and kept.exif else kept.xmp or b""
            start = end + _HEADER_BYTES + len(content)
            spans_of_new[identifier] = start, start + len(data)
            content += data
    return box(b"mdat", content) if spans_of_new else b"", spans_of_new
