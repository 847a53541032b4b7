"""A file for libvips whose bytes are requested from the server: a pyramid in a bucket.

The protocol is that of `assetstore.concurrency.worker_process`, on the standard input and output of the worker, which
waits for its child meanwhile.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyvips

from assetstore.concurrency.remote_file import RemoteFile
from assetstore.errors import StorageFault


@contextlib.contextmanager
def connection() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Yields standard input and output of the worker, for a child, whose own ones lead nowhere."""
    with open(os.dup(0), "rb") as source, open(os.dup(1), "wb") as sink:
        yield source, sink


class RequestedFile:
    """The file, as long as libvips reads it.

    Parameters:
        size: bytes.
        source, sink: of `connection`.
    """

    def __init__(self, size: int, source: BinaryIO, sink: BinaryIO) -> None:
        self._size = size
        self._file = RemoteFile(size, source, sink)
        self._sources: list[Any] = []  # pyvips crashes if one is removed while libvips uses it

    def new_source(self) -> Any:
        """Returns a new source of libvips; all share what was read."""
        position = 0

        def read(length: int) -> bytes:
            nonlocal position
            self._file.seek(position)
            try:
                data = self._file.read(length)
            except StorageFault:  # exceptions do not pass through libvips; the server raises its own one
                return b""
            position += len(data)
            return data

        def seek(offset: int, whence: int) -> int:
            nonlocal position
            base = {io.SEEK_SET: 0, io.SEEK_CUR: position, io.SEEK_END: self._size}[whence]
            position = max(0, base + offset)
            return position

        source = pyvips.SourceCustom()
        source.on_read(read)
        source.on_seek(seek)
        self._sources.append(source)
        return source
