"""An object as a readable file."""

import itertools
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import cachetools

from assetstore.errors import StorageFault
from assetstore.files.read_only_file import ReadOnlyFile
from assetstore.storage.models import StoredFile
from assetstore.storage.s3.client import Bucket
from assetstore.storage.s3.errors import Passing
from assetstore.storage.s3.object_info import Found

#: How many bytes to read at a time for random access, and how many such windows to cache.
_WINDOW, _MOST_WINDOWS = 256 * 1024, 8

#: How often to resume an interrupted download without receiving any byte.
_RESUMPTIONS = 3


class StoredObject(StoredFile):
    """An object as a stored file, for the routes."""

    def link(self, seconds: int) -> str | None:
        """Returns a signed address of the object in its bucket, valid for some seconds."""
        return cast(ObjectFile, self.file).link(seconds)

    def section(self, first: int, length: int) -> BinaryIO:
        """Starts one download of the bytes, and returns the file."""
        cast(ObjectFile, self.file).begin(first, first + length)
        return self.file

    def pieces(self, first: int, length: int) -> Iterator[bytes]:
        """Starts one download of the bytes, and returns them in the pieces in which they arrive."""
        file = cast(ObjectFile, self.file)
        file.begin(first, first + length)
        return file.pieces(length)

    def check_unmodified(self) -> None:
        """Does nothing: reading another version fails."""


def opened(bucket: Bucket, key: str, reads: bool) -> StoredObject:
    """Opens an object; if *reads*, the same request fetches its first bytes.

    Raises NotFound, Unavailable, StorageFault.
    """
    if reads:
        object, file = begun(bucket, key)
    else:
        object = bucket.head(key)
        file = ObjectFile(bucket, object)
    return StoredObject(cast(BinaryIO, file), object.version, None, object.sha256)


def begun(bucket: Bucket, key: str) -> tuple[Found, "ObjectFile"]:
    """Returns an object and its file, with the first bytes fetched. Raises NotFound, Unavailable, StorageFault."""
    object, start = bucket.start(key, _WINDOW)
    return object, ObjectFile(bucket, object, start)


class ObjectFile(ReadOnlyFile):
    """An object as a file. All bytes are of one version, or reading fails.

    Random access reads windows; sequential access uses one download, which is resumed if it is interrupted. The bytes
    that were fetched when it was opened are the first window, and all of a small object. At most two megabytes are
    in memory, and during a download only the piece that just arrived.

    Parameters:
        bucket, object: the object to read.
        start: the first window, or all bytes of a smaller object; empty: not fetched yet.

    Raises Unavailable (Overtaken if the object was replaced) and StorageFault.
    """

    def __init__(self, bucket: Bucket, object: Found, start: bytes = b"") -> None:
        super().__init__(object.size)
        self._bucket = bucket
        self._object = object
        self._windows: cachetools.LRUCache[int, bytes] = cachetools.LRUCache(_MOST_WINDOWS)
        if start:
            self._windows[0] = start
        self._pieces: Iterator[bytes] = iter(())
        self._left_over = b""
        self._download_at, self._download_end = -1, 0

    def link(self, seconds: int) -> str:
        """Returns a signed address of the object, valid for some seconds."""
        return self._bucket.link(self._object.key, seconds)

    def begin(self, first: int, end: int) -> None:
        """Moves to byte *first*, and starts a download of the bytes to *end* (exclusive) that are not in a window."""
        self._position = first
        end = min(end, self._object.size)
        number, offset = divmod(first, _WINDOW)
        window = self._windows.get(number, b"")
        if offset < len(window):
            first += len(window) - offset
        if first < end:
            self._pieces = self._bucket.stream(self._object, first, end)
        self._left_over, self._download_at, self._download_end = b"", first, end

    def read(self, size: int | None = -1) -> bytes:
        """Returns the next *size* bytes, fewer only at the end; all remaining bytes if *size* is negative."""
        left = self._left(size)
        pieces = []
        while left > 0:
            piece = self._next_piece(left)
            self._position += len(piece)
            left -= len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pieces(self, length: int) -> Iterator[bytes]:
        """Yields the next *length* bytes, in the pieces in which they arrive."""
        left = min(length, self._object.size - self._position)
        while left > 0:
            piece = self._next_piece(left)
            self._position += len(piece)
            left -= len(piece)
            yield bytes(piece)

    def _next_piece(self, most: int) -> bytes:
        is_in_download = self._position == self._download_at < self._download_end
        return self._from_download(most) if is_in_download else self._from_window(most)

    def readinto(self, buffer: Any) -> int:
        """Reads into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _from_window(self, size: int) -> bytes:
        number, offset = divmod(self._position, _WINDOW)
        window = self._windows.get(number)
        if window is None:
            if number - 1 in self._windows and offset == 0:
                self.begin(self._position, self._object.size)  # access is sequential
                return self._from_download(size)
            first = number * _WINDOW
            window = self._bucket.window(self._object, first, min(_WINDOW, self._object.size - first))
            self._windows[number] = window
        data = window[offset : offset + size] if offset or size < len(window) else window
        if self._position + len(data) == self._download_at:
            del self._windows[number]  # access is sequential from here on
        return data

    def _from_download(self, size: int) -> bytes:
        for attempt in itertools.count(1):
            try:
                data = self._left_over or next(self._pieces, b"")
            except Passing:
                if attempt > _RESUMPTIONS:
                    raise
                data = b""
            if data:
                break
            if attempt > _RESUMPTIONS:
                raise StorageFault("The file storage sent fewer bytes than announced.", self._object.key)
            self.begin(self._download_at, self._download_end)
        if len(data) > size:
            data, self._left_over = data[:size], data[size:]
        else:
            self._left_over = b""
        self._download_at += len(data)
        return data
