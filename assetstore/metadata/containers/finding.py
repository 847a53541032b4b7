"""Finds the blocks of metadata in any file, whose format is recognised by the first bytes."""

import itertools
import logging
from collections.abc import Callable, Iterator
from typing import BinaryIO

from assetstore.metadata.containers import isobmff, jpeg, photoshop, png, tiff, webp
from assetstore.metadata.containers.blocks import BROKEN, Block

_log = logging.getLogger(__name__)

_FUJIFILM, _FUJIFILM_JPEG = b"FUJIFILMCCD-RAW", 84

_HEAD_BYTES = 16

#: Real files have a few blocks of some kilobytes each.
_MOST_BLOCKS, _MOST_BYTES = 32, 16 << 20


def find(file: BinaryIO) -> Iterator[Block]:
    """Yields the blocks of a file, up to a limit, and up to the first damaged part.

    Raises:
        StorageFault: the bytes cannot be read.
    """
    file.seek(0)
    finder = _finder(file.read(_HEAD_BYTES))
    left = _MOST_BYTES
    try:
        for block in itertools.islice(finder(file), _MOST_BLOCKS):
            left -= len(block.data) if isinstance(block.data, bytes) else 0
            if left < 0:
                return
            yield block
    except BROKEN as error:
        _log.info("the file is damaged: %r", error)


def _finder(head: bytes) -> Callable[[BinaryIO], Iterator[Block]]:
    if head[4:8] == b"ftyp":
        return isobmff.find
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return webp.find
    for signature, finder in _SIGNATURES.items():
        if head.startswith(signature):
            return finder
    return lambda _file: iter(())


def _fujifilm(file: BinaryIO) -> Iterator[Block]:
    """In Fujifilm's raw format, the preview contains the metadata."""
    file.seek(_FUJIFILM_JPEG)
    yield from jpeg.find(file, int.from_bytes(file.read(4)))


_SIGNATURES: dict[bytes, Callable[[BinaryIO], Iterator[Block]]] = {
    b"\xff\xd8": jpeg.find,
    b"II": tiff.find,  # the next bytes differ among camera RAW formats
    b"MM": tiff.find,
    png.SIGNATURE: png.find,
    photoshop.SIGNATURE: photoshop.find,
    _FUJIFILM: _fujifilm,
    **dict.fromkeys(isobmff.SIGNATURES, isobmff.find),
}
