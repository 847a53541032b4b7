"""Temporary files on the local disk: uploads that arrive before their names, and originals for tools to read.

Concurrency: any thread may use it. The total size of the files of one process is limited. Each file is locked while
it is in use, so that the next start can recognise what a crash left.
"""

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assetstore.errors import TooLarge, Unavailable, Unrenderable
from assetstore.files.faults import faults
from assetstore.files.private_folders import make_private, private_folder
from assetstore.files.unfinished import UPLOAD, create_locked, rendering_folder, sweep, sweep_locks
from assetstore.storage.models import StoredFile

_FOLDER = "spool"


class Spool:
    """The folder of temporary files.

    Parameters:
        base: BASE_DIR.
        most_bytes: the limit on the total size (`Limits.spool_bytes`).
    """

    def __init__(self, base: Path, most_bytes: int) -> None:
        self.base = base
        self.folder = private_folder(base) / _FOLDER
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._bytes = 0

    def prepare(self) -> None:
        """Creates the folder; removes abandoned files from it, and locks of originals. Raises OSError."""
        make_private(private_folder(self.base))
        sweep(self.folder, set())
        sweep_locks(private_folder(self.base))

    @contextmanager
    def file(self) -> Iterator["SpoolFile"]:
        """Yields a new, empty file, which is removed at the end. Raises OutOfSpace, StorageFault."""
        file = SpoolFile(self, self.folder / f"{UPLOAD}{uuid.uuid4()}")
        try:
            yield file
        finally:
            file.close()

    @contextmanager
    def copy(self, stored: StoredFile) -> Iterator[Path]:
        """Yields the path of a copy, which is removed at the end. Raises Unrenderable (too large), OutOfSpace, …"""
        with self.file() as local:
            try:
                local.reserve(stored.version.size)
            except TooLarge as error:
                raise Unrenderable("The file is too large for a thumbnail.", error.detail) from error
            file = stored.section(0, stored.version.size)
            while data := file.read(1 << 20):
                local.write(data)
            yield local.path

    @contextmanager
    def path(self) -> Iterator[Path]:
        """Yields a path at which a tool may create a small file, which is removed at the end. Raises OutOfSpace, …"""
        with contextlib.ExitStack() as stack:
            with faults():
                folder = stack.enter_context(rendering_folder(self.folder))
            yield folder / "picture"

    def take(self, size: int) -> None:
        """Reserves bytes of the limit. Raises Unavailable if the limit is reached."""
        with self._lock:
            if self._bytes + size > self.most_bytes:
                detail = f"temporary copies take {self._bytes} of {self.most_bytes} bytes"
                raise Unavailable(
                    "The server is processing too many large files; please try again.", detail, retry_after=10
                )
            self._bytes += size

    def give_back(self, size: int) -> None:
        """Releases reserved bytes."""
        with self._lock:
            self._bytes -= size


class SpoolFile:
    """A temporary file, open for writing."""

    def __init__(self, spool: Spool, path: Path) -> None:
        self._spool = spool
        self.path = path
        self.size = 0
        self._taken = 0
        with faults():
            self._descriptor = create_locked(path)

    def reserve(self, size: int) -> None:
        """Reserves *size* bytes for the whole file. Raises Unavailable, TooLarge."""
        if size > self._spool.most_bytes:
            raise TooLarge(
                "The file is too large for this server.", f"temporary copies may take {self._spool.most_bytes} bytes"
            )
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
        """Yields the bytes from the beginning, *size* at a time. Raises OSError."""
        with open(self.path, "rb", buffering=0) as file:
            yield from iter(lambda: file.read(size), b"")

    def close(self) -> None:
        """Removes the file."""
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)
        self._spool.give_back(self._taken)
