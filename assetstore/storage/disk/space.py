"""Creates and tests the folders of a store on disk, and measures their free space.

A read-only disk is no error at the start: the server then only reads, and writes as soon as the disk can be written.
"""

import contextlib
import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from assetstore.errors import AssetError, StorageFault
from assetstore.files.faults import faults
from assetstore.files.private_folders import private_folder
from assetstore.files.unfinished import sweep
from assetstore.names import is_bucket_url
from assetstore.storage import pyramid_names
from assetstore.storage.disk.layout import DiskLayout
from assetstore.storage.disk.sizes import DiskSizes
from assetstore.storage.disk.trash import RESERVE_FOLDER, TRASH_FOLDER, DiskTrash

_log = logging.getLogger(__name__)

#: Entries of the private folders that are never removed as left over.
_SPARED = {TRASH_FOLDER, RESERVE_FOLDER, DiskSizes.FOLDER, pyramid_names.FOLDER}


class DiskSpace:
    """The folders of a store on mounted file systems."""

    def __init__(self, layout: DiskLayout) -> None:
        self._layout = layout

    def prepare(self) -> None:
        """Creates the folders of all collections, removes abandoned files, and tests writing.

        Raises:
            StorageFault: a folder cannot be created or written, but its disk is not read-only; the detail names it.
        """
        for collection_dir in self._layout.collection_dirs:
            self.prepare_collection_dir(collection_dir)

    def prepare_collection_dir(self, collection_dir: str) -> None:
        """Prepares one collection folder, which may have been added after the start. Raises StorageFault."""
        if is_bucket_url(collection_dir):
            raise StorageFault("The folder of a collection is a bucket, but STORAGE_URL is not set.", collection_dir)
        thumbnails = self._layout.thumbnails(collection_dir)
        for folder in (self._layout.originals(collection_dir), thumbnails):
            with _prepared(folder, is_optional=folder == thumbnails):
                folder.mkdir(parents=True, exist_ok=True)
                sweep(private_folder(folder), _SPARED)
                with tempfile.TemporaryFile(dir=private_folder(folder)):
                    pass
        folder = self._layout.originals(collection_dir)
        trash = DiskTrash(collection_dir, folder)
        with _prepared(folder):
            if folder.exists():
                self._layout.remember_disk(collection_dir)
            if private_folder(folder).exists():  # otherwise, the disk is read-only
                trash.prepare()
                trash.fill_reserve()

    def refill_reserve(self) -> None:
        """Reserves space again for deletes on a full disk, in each folder of originals. Raises StorageFault."""
        for collection_dir in self._layout.collection_dirs:
            self._layout.check_disk(collection_dir)
            with faults():
                DiskTrash(collection_dir, self._layout.originals(collection_dir)).fill_reserve()

    def sweep(self) -> None:
        """Removes files that a crash left. A folder that cannot be used is logged, and does not stop the others."""
        for collection_dir in self._layout.collection_dirs:
            for folder in (self._layout.originals(collection_dir), self._layout.thumbnails(collection_dir)):
                try:
                    with faults():
                        sweep(private_folder(folder), _SPARED)
                except AssetError as error:
                    _log.warning("nothing was swept in %s: %s", folder, error.detail)

    def probe(self) -> None:
        """Writes and removes a small file in each folder of originals. Raises OutOfSpace, StorageFault."""
        with faults():
            for collection_dir in self._layout.collection_dirs:
                with tempfile.TemporaryFile(dir=private_folder(self._layout.originals(collection_dir))) as file:
                    file.write(b"probe")
                    file.flush()
                    os.fsync(file.fileno())

    def probe_thumbnails(self) -> None:
        """Writes and removes a small file in each folder of thumbnails. Raises OutOfSpace, StorageFault."""
        with faults():
            for collection_dir in self._layout.collection_dirs:
                folder = self._layout.thumbnails(collection_dir)
                # The next thumbnail creates what is missing.
                for path in filter(Path.exists, (private_folder(folder), folder)):
                    with tempfile.TemporaryFile(dir=path):
                        pass

    def free_bytes(self) -> int:
        """Returns the free space of the fullest file system, in bytes. Raises StorageFault."""
        with faults():
            return min(
                shutil.disk_usage(self._layout.originals(collection_dir)).free
                for collection_dir in self._layout.collection_dirs
            )


@contextlib.contextmanager
def _prepared(folder: Path, is_optional: bool = False) -> Iterator[None]:
    """Raises StorageFault if a folder cannot be prepared; logs a warning if its disk is read-only or it is optional."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EROFS:
            _log.warning("%s is on a read-only disk: the server only reads until it can be written", folder)
            return
        if is_optional:  # thumbnails are then rendered without being cached
            _log.warning("thumbnails cannot be cached in %s: %s", folder, error.strerror or error)
            return
        detail = f"{folder}: {error.strerror or error}"
        raise StorageFault("The attachment folder cannot be written.", detail) from error
