"""A file that the server holds open, as the worker process sees it: parts of it come when they are needed."""

import io
import json
from collections import OrderedDict
from typing import BinaryIO

from assetstore.metadata.containers.blocks import TooMuchToRead

#: Metadata is read in small steps, to and fro: so much comes at once, and so many blocks are remembered.
BLOCK_BYTES, _MOST_BLOCKS = 32 << 10, 256

#: So much is fetched of one file, however large it is.
MOST_BYTES = 64 << 20


class RemoteFile(io.BytesIO):
    """The file, read only.

    Parameters:
        size: of the file.
        source, sink: standard input and output of the worker; `concurrency/worker_process.py` has the protocol.

    Raises TooMuchToRead when a limit is reached.
    """

    def __init__(self, size: int, source: BinaryIO, sink: BinaryIO) -> None:
        super().__init__()
        self._size = size
        self._source, self._sink = source, sink
        self._position = 0
        self._fetched = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def tell(self) -> int:
        """Returns the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Changes the position; fetches nothing."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Returns the next bytes: as many as *size* unless the end comes before."""
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
        if self._fetched >= MOST_BYTES:
            raise TooMuchToRead("too much to read")
        self._sink.write(json.dumps({"read": [number * BLOCK_BYTES, BLOCK_BYTES]}).encode() + b"\n")
        self._sink.flush()
        data = self._source.read(int.from_bytes(self._source.read(4)))
        self._fetched += len(data)
        self._blocks[number] = data
        if len(self._blocks) > _MOST_BLOCKS:
            self._blocks.popitem(last=False)
        return data
