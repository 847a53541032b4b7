"""A block of metadata, and a view of a file that begins at a block."""

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

from assetstore.concurrency.remote_file import TooMuchToRead

EXIF, XMP, IPTC = "EXIF", "XMP", "IPTC"

#: The largest block that is read into memory; larger ones are truncated or left out.
MOST_BYTES = 4 << 20

#: Exceptions that damaged blocks cause. StorageFault and TooMuchToRead concern the whole file instead.
BROKEN = (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error)


@dataclass(frozen=True)
class Block:
    """One block of metadata.

    Fields:
        kind: EXIF, XMP or IPTC.
        data: a TIFF file (EXIF), an XML packet (XMP), or IIM datasets (IPTC).
        name: for EXIF, the group of its first directory.
    """

    kind: str
    data: "bytes | Window"
    name: str = "Image"

    def exif(self) -> "Window":
        """Returns the data as a file."""
        return self.data if isinstance(self.data, Window) else Window(io.BytesIO(self.data))


class Window(io.RawIOBase):
    """A view of a file from one of its bytes on, which limits how much is read.

    Parameters:
        file: a seekable file.
        start: the first byte of the view.
        most_reads: calls of `read` before TooMuchToRead is raised, because forged directories can form loops.
    """

    #: The largest read; real tags are shorter.
    LARGEST_READ = 128 << 10

    _HEAD_BYTES = 64 << 10

    def __init__(self, file: BinaryIO, start: int = 0, most_reads: int = 30_000) -> None:
        super().__init__()
        self._file, self._start = file, start
        self._reads_left, self._bytes_left = most_reads, MOST_BYTES
        self._position = 0
        # Nearly all EXIF data is near the beginning, and is read two bytes at a time.
        file.seek(start)
        self._head = file.read(self._HEAD_BYTES)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Changes the position."""
        self._position = max(0, offset if whence == io.SEEK_SET else self._position + offset)
        return self._position

    def tell(self) -> int:
        """Returns the position."""
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Returns the next bytes, at most LARGEST_READ. Raises TooMuchToRead."""
        size = self.LARGEST_READ if size is None or size < 0 else min(size, self.LARGEST_READ)
        position = self._position
        if position + size <= len(self._head):
            data = self._head[position : position + size]
        else:
            self._file.seek(self._start + position)
            data = self._file.read(size)
        self._position += len(data)
        self._reads_left -= 1
        self._bytes_left -= len(data)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise TooMuchToRead("too much to read")
        return data
