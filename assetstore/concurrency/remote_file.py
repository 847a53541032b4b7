"""A file that the server has open, as a worker process sees it: its parts are fetched when they are needed.

`worker_process` has the protocol.
"""

import io
import json
from typing import BinaryIO

import cachetools

from assetstore.errors import StorageFault

#: Size of the blocks that are fetched and number of blocks that are cached, because metadata is read in small steps.
BLOCK_BYTES, _MOST_BLOCKS = 32 << 10, 256

#: What the server sends instead of the number of bytes if it cannot read the file.
READ_FAILED = b"\xff" * 4


class TooMuchToRead(ValueError):
    """A file has loops, or more is needed of it than of real files."""


class RemoteFile(io.BytesIO):
    """A read-only file.

    Parameters:
        size: the size of the file, in bytes.
        source, sink: standard input and output of the worker.
        most_bytes: the limit of bytes that are fetched, whatever the size; None: no limit.

    Raises TooMuchToRead if the limit is exceeded, StorageFault if the server cannot read the file.
    """

    def __init__(self, size: int, source: BinaryIO, sink: BinaryIO, most_bytes: int | None = None) -> None:
        super().__init__()
        self._size = size
        self._source, self._sink = source, sink
        self._position = 0
        self._fetched = 0
        self._most_bytes = most_bytes
        self._blocks: cachetools.LRUCache[int, bytes] = cachetools.LRUCache(_MOST_BLOCKS)

    def tell(self) -> int:
        """Returns the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Changes the position; fetches nothing."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Returns the next *size* bytes, or fewer at the end of the file."""
        left = max(0, self._size - self._position)
        left = left if size is None or size < 0 else min(size, left)
        pieces = []
        while left > 0:
            number, offset = divmod(self._position, BLOCK_BYTES)
            piece = self._block(number)[offset : offset + left]
            if not piece:
                break  # the file is shorter than it was
            self._position += len(piece)
            left -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            return self._blocks[number]
        if self._most_bytes is not None and self._fetched >= self._most_bytes:
            raise TooMuchToRead("too much to read")
        self._sink.write(json.dumps({"read": [number * BLOCK_BYTES, BLOCK_BYTES]}).encode() + b"\n")
        self._sink.flush()
        number_of_bytes = self._source.read(4)
        if number_of_bytes == READ_FAILED:
            raise StorageFault("The file cannot be read.")
        data = self._source.read(int.from_bytes(number_of_bytes))
        self._fetched += len(data)
        self._blocks[number] = data
        return data
