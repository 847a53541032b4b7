"""An object as a file that can be read."""

import io
import itertools
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from assetstore.errors import StorageFault
from assetstore.storage.models import StoredFile
from assetstore.storage.s3.client import Bucket
from assetstore.storage.s3.errors import Passing
from assetstore.storage.s3.object_info import Found

#: What is read at once where somebody jumps to and fro, and how much of that is remembered.
_WINDOW, _MOST_WINDOWS = 256 * 1024, 8

#: How often a download that broke off is taken up again, without any byte in between.
_RESUMPTIONS = 3


class StoredObject(StoredFile):
    """An object, as the routes see it."""

    def link(self, seconds: int) -> str | None:
        """Returns a signed address of the object in its bucket, valid for so many seconds."""
        return cast(ObjectFile, self.file).link(seconds)

    def section(self, first: int, length: int) -> BinaryIO:
        """Gives the bytes as one download, which has begun when this returns."""
        cast(ObjectFile, self.file).begin(first, first + length)
        return self.file


def opened(bucket: Bucket, key: str, reads: bool) -> StoredObject:
    """Opens an object; by a request that brings its first bytes, too, if *reads*.

    Raises NotFound, Unavailable, StorageFault.
    """
    if reads:
        object, file = begun(bucket, key)
    else:
        object = bucket.head(key)
        file = ObjectFile(bucket, object)
    return StoredObject(cast(BinaryIO, file), object.version, None, object.sha256)


def begun(bucket: Bucket, key: str) -> tuple[Found, "ObjectFile"]:
    """Returns an object and its bytes, the first of which have come. Raises NotFound, Unavailable, StorageFault."""
    object, start = bucket.start(key, _WINDOW)
    return object, ObjectFile(bucket, object, start)


class ObjectFile(io.RawIOBase):
    """An object as a file; all its bytes are of one version, or reading fails.

    Whoever jumps to and fro is served from windows; whoever reads on gets one download, which is taken up
    again where it broke off. What was fetched with the opening is the first window, and all of a small object.
    Two megabytes are in memory at most, and nothing but what just came while a download is passed on.

    Parameters:
        bucket, object: what is read.
        start: the first bytes, as many as a window has or the object; empty: not fetched yet.

    Raises Unavailable (Overtaken when somebody has replaced the object) and StorageFault.
    """

    def __init__(self, bucket: Bucket, object: Found, start: bytes = b"") -> None:
        super().__init__()
        self._bucket = bucket
        self._object = object
        self._position = 0
        self._windows: OrderedDict[int, bytes] = OrderedDict({0: start} if start else {})
        self._pieces: Iterator[bytes] = iter(())
        self._left_over = b""
        self._download_at, self._download_end = -1, 0

    def readable(self) -> bool:
        """Says yes."""
        return True

    def seekable(self) -> bool:
        """Says yes."""
        return True

    def tell(self) -> int:
        """Returns the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Changes the position; reads nothing."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._object.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def link(self, seconds: int) -> str:
        """Returns a signed address of the object, valid for so many seconds."""
        return self._bucket.link(self._object.key, seconds)

    def begin(self, first: int, end: int) -> None:
        """Stands at byte *first*, and begins a download of what is missing from there to before *end*."""
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
        """Returns the next bytes: as many as *size* unless the end comes before; all that are left if negative."""
        left = max(0, self._object.size - self._position)
        left = left if size is None or size < 0 else min(size, left)
        pieces = []
        while left > 0:
            is_in_download = self._position == self._download_at < self._download_end
            piece = self._from_download(left) if is_in_download else self._from_window(left)
            self._position += len(piece)
            left -= len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

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
                self.begin(self._position, self._object.size)  # it is read on
                return self._from_download(size)
            first = number * _WINDOW
            window = self._bucket.window(self._object, first, min(_WINDOW, self._object.size - first))
            self._windows[number] = window
            while len(self._windows) > _MOST_WINDOWS:
                self._windows.popitem(last=False)
        data = window[offset : offset + size]
        if self._position + len(data) == self._download_at:
            del self._windows[number]  # from here on it is read on
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
                raise StorageFault("The file storage gives less than it says.", self._object.key)
            self.begin(self._download_at, self._download_end)
        self._left_over = data[size:]
        self._download_at += len(data[:size])
        return data[:size]
