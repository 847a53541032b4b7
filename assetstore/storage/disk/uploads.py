"""An upload in progress, to the disk; invisible until it is committed.

Concurrency: an upload belongs to the thread that receives it.
"""

import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from assetstore.errors import OutOfSpace
from assetstore.files.durable import confirm
from assetstore.files.faults import faults
from assetstore.files.private_folders import private_folder
from assetstore.files.unfinished import UPLOAD, create_locked
from assetstore.storage.disk.files import brought_to, refuse_folder
from assetstore.storage.disk.trash import DiskTrash
from assetstore.storage.models import Past

_log = logging.getLogger(__name__)

#: After this many bytes of an upload, the kernel is told to start writing, so that `sync` has little left to wait for,
#: and the free space is checked again, because other programs write, too.
_BYTES_BETWEEN_LOOKS = 2 << 20


class DiskIncoming:
    """An upload in a private file, which `commit` renames to its store name.

    Parameters:
        folder: a folder of originals, on whose file system the private file is created.
        folder_of: returns the folder of originals of a collection folder.
        length: about how many bytes to expect, 0 if not known.
        reserve: free space to leave, in bytes.
        past: properties of bytes that come from another store.
    """

    def __init__(
        self, folder: Path, folder_of: Callable[[str], Path], length: int, reserve: int, past: Past | None = None
    ) -> None:
        self._past = past
        self._folder_of = folder_of
        self._reserve = reserve
        private = private_folder(folder)
        self._path = private / f"{UPLOAD}{uuid.uuid4()}"
        with faults():
            self._check_space(private, length)
            self._descriptor = create_locked(self._path)
        self._until_look = _BYTES_BETWEEN_LOOKS
        self._begun = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Adds bytes. Raises OutOfSpace, StorageFault."""
        self._until_look -= len(data)
        with faults():
            if self._until_look < 0:
                self._check_space(self._path.parent, 0)
                self._until_look = _BYTES_BETWEEN_LOOKS
                self._begin_writing()
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]

    def _begin_writing(self) -> None:
        """Has the kernel start writing the bytes since the last call, without waiting for it."""
        end = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        # Linux starts to write dirty pages of the range and drops only clean ones, of which there are hardly any yet.
        # So the file is still in memory when its thumbnail is requested.
        os.posix_fadvise(self._descriptor, self._begun, end - self._begun, os.POSIX_FADV_DONTNEED)
        self._begun = end

    def sync(self, sha256: str | None = None) -> None:
        """Waits until all bytes are on the disk. Raises OutOfSpace, StorageFault."""
        with faults():
            # The kernel's own timestamps have a resolution of milliseconds; two versions may be closer.
            timestamp = time.time_ns() if self._past is None else self._past.modified_ns
            os.utime(self._descriptor, ns=(timestamp, timestamp))
            os.fsync(self._descriptor)

    def commit(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        """Renames the upload to its store name, durably. Returns whether it replaced a file."""
        target = self._folder_of(collection_dir) / name
        with faults():
            replaces = os.path.lexists(target)
            if replaces:
                refuse_folder(target)
            with brought_to(target.parent, self._path) as source:
                if replaces and keep_old:
                    DiskTrash(collection_dir, target.parent).replace(source, target)
                else:
                    os.rename(source, target)
        confirm(target.parent, replaces)
        return replaces

    def _check_space(self, folder: Path, length: int) -> None:
        if self._reserve and shutil.disk_usage(folder).free - length < self._reserve:
            raise OutOfSpace(
                "The server's disk is nearly full, so it accepts no uploads; nothing was stored.",
                f"{folder} has less than RESERVED_BYTES free",
            )

    def __enter__(self) -> "DiskIncoming":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            try:
                self._path.unlink(missing_ok=True)
            finally:
                os.close(self._descriptor)
        except OSError as failure:
            # The upload itself has succeeded or failed already. The next start removes what is left over.
            _log.error("the temporary file of an upload was not removed: %s", failure)
