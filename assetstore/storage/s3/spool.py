"""Files on the local disk for a moment: uploads that come before their names, originals for the tools to read.

Concurrency: any thread may use it. All files of one process together stay below a bound; each is
locked as long as it is in use, so that the next start can tell what a crash has left.
"""

import os
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assetstore.errors import TooLarge, Unavailable
from assetstore.storage.disk.files import UPLOAD, create_locked, faults, make_private, private_folder, sweep

_FOLDER = "spool"


class Spool:
    """The folder of such files.

    Parameters:
        base: BASE_DIR.
        most_bytes: of all files together (STORAGE_SPOOL_BYTES).
    """

    def __init__(self, base: Path, most_bytes: int) -> None:
        self._base = base
        self._folder = private_folder(base) / _FOLDER
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._bytes = 0

    def prepare(self) -> None:
        """Makes the folder and sweeps it. Raises OSError."""
        make_private(private_folder(self._base))
        sweep(self._folder, set())

    @contextmanager
    def file(self) -> Iterator["SpoolFile"]:
        """Gives a new, empty file, which is removed at the end. Raises OutOfSpace, StorageFault."""
        file = SpoolFile(self, self._folder / f"{UPLOAD}{uuid.uuid4()}")
        try:
            yield file
        finally:
            file.close()

    @contextmanager
    def path(self) -> Iterator[Path]:
        """Gives a path at which a tool may make a small file, which is removed at the end. Raises OutOfSpace, …"""
        with faults():
            folder = tempfile.TemporaryDirectory(prefix="thumbnail-", dir=self._folder, ignore_cleanup_errors=True)
        with folder as name:
            yield Path(name) / "picture"

    def take(self, size: int) -> None:
        """Accounts for so many more bytes. Raises Unavailable if there is no room now."""
        with self._lock:
            if self._bytes + size > self.most_bytes:
                detail = f"{self._bytes} bytes are in use, see STORAGE_SPOOL_BYTES"
                raise Unavailable(
                    "The server has too many large files in hand; please try again.", detail, retry_after=10
                )
            self._bytes += size

    def give_back(self, size: int) -> None:
        """Accounts for so many bytes less."""
        with self._lock:
            self._bytes -= size


class SpoolFile:
    """One file; opened for writing."""

    def __init__(self, spool: Spool, path: Path) -> None:
        self._spool = spool
        self.path = path
        self.size = 0
        self._taken = 0
        with faults():
            self._descriptor = create_locked(path)

    def reserve(self, size: int) -> None:
        """Makes sure of room for so many bytes in all. Raises Unavailable, TooLarge."""
        if size > self._spool.most_bytes:
            raise TooLarge("The file is too large for this server.", "see STORAGE_SPOOL_BYTES")
        if size > self._taken:
            self._spool.take(size - self._taken)
            self._taken = size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Adds bytes. Raises OutOfSpace, StorageFault, Unavailable, TooLarge."""
        self.reserve(self.size + len(data))
        with faults():
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        self.size += len(data)

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yields the bytes from the beginning, so many at a time. Raises OSError."""
        with open(self.path, "rb", buffering=0) as file:
            yield from iter(lambda: file.read(size), b"")

    def close(self) -> None:
        """Removes the file."""
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)
        self._spool.give_back(self._taken)
