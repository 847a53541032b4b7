"""Cached thumbnails that have nothing but their image, for LOCATION_SAFE.

Thumbnails that this server renders have no metadata. Those that it took over from an earlier server may have all
metadata of their originals: by default, ImageMagick copies EXIF into JPEG files, and writes it as text into PNG files.
So `is_plain` is an allow-list of what an image requires (ISO 10918-1, annex B; PNG, section 5; GIF89a).
"""

import contextlib
from typing import Any, BinaryIO, cast

from assetstore.errors import NotFound
from assetstore.storage.models import StoredFile
from assetstore.storage.protocols import ThumbnailStore

_JPEG_SIGNATURE = b"\xff\xd8"

#: JFIF, the color transform (Adobe), tables, frames, and intervals.
_JPEG_SEGMENTS = frozenset((0xE0, 0xEE, 0xDB, 0xDD, *range(0xC0, 0xD0)))
_START_OF_SCAN = 0xDA

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = frozenset(b"IHDR PLTE tRNS IDAT gAMA cHRM sRGB sBIT bKGD pHYs acTL fcTL fdAT".split())
_PNG_END = b"IEND"

_GIF_SIGNATURES = (b"GIF87a", b"GIF89a")
_GIF_IMAGE, _GIF_EXTENSION, _GIF_END = b",", b"!", b";"
_GIF_CONTROL, _GIF_APPLICATION = b"\xf9", b"\xff"
_GIF_LOOP = b"\x0bNETSCAPE2.0"


class _PlainThumbnails:
    """A store of thumbnails that has only plain ones; everything else is as in the store."""

    def __init__(self, store: ThumbnailStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def open(self, collection_dir: str, name: str, modified_ns: int | None = None) -> StoredFile:
        """Opens a thumbnail (`ThumbnailStore.open`). Raises NotFound also if it is not plain."""
        found = self._store.open(collection_dir, name, modified_ns)
        with contextlib.ExitStack() as unless_plain:
            unless_plain.callback(found.file.close)
            if is_plain(found.file):
                unless_plain.pop_all()
                return found
        raise NotFound("There is no such file.", f"the cached thumbnail {name!r} has metadata")


def only_plain(store: ThumbnailStore) -> ThumbnailStore:
    """Returns the store without the thumbnails that are not plain: they are rendered again, and replaced."""
    return cast(ThumbnailStore, _PlainThumbnails(store))


def is_plain(file: BinaryIO) -> bool:
    """Says whether a JPEG, PNG or GIF has only what its image requires; leaves the file at its beginning."""
    file.seek(0)
    head = file.read(len(_PNG_SIGNATURE))
    result = (
        (head == _PNG_SIGNATURE and _is_plain_png(file))
        or (head.startswith(_JPEG_SIGNATURE) and _is_plain_jpeg(file))
        or (head.startswith(_GIF_SIGNATURES) and _is_plain_gif(file))
    )
    file.seek(0)
    return result


def _is_plain_jpeg(file: BinaryIO) -> bool:
    file.seek(len(_JPEG_SIGNATURE))
    while (head := file.read(4))[:1] == b"\xff" and len(head) == 4:
        if head[1] == _START_OF_SCAN:
            return True
        if head[1] not in _JPEG_SEGMENTS:
            return False
        file.seek(int.from_bytes(head[2:]) - 2, 1)
    return False


def _is_plain_png(file: BinaryIO) -> bool:
    while len(head := file.read(8)) == 8:
        if head[4:] == _PNG_END:
            return True
        if head[4:] not in _PNG_CHUNKS:
            return False
        file.seek(int.from_bytes(head[:4]) + 4, 1)
    return False


def _is_plain_gif(file: BinaryIO) -> bool:
    file.seek(10)
    _skip_colors(file, 2)
    while (kind := file.read(1)) != _GIF_END:
        if kind == _GIF_IMAGE:
            file.seek(8, 1)
            _skip_colors(file, 1)  # and the size of codes
        elif kind != _GIF_EXTENSION or not _is_plain_extension(file):
            return False
        while (length := file.read(1)) not in (b"", b"\0"):
            file.seek(length[0], 1)
    return True


def _skip_colors(file: BinaryIO, more: int) -> None:
    """Skips the table of colors that the next byte announces, that byte, and *more* bytes."""
    [packed] = file.read(1) or b"\0"
    file.seek(more + (3 << (packed & 7) + 1 if packed & 0x80 else 0), 1)


def _is_plain_extension(file: BinaryIO) -> bool:
    label = file.read(1)
    if label == _GIF_APPLICATION:
        return file.read(len(_GIF_LOOP)) == _GIF_LOOP
    return label == _GIF_CONTROL
