"""Creates and tests the folders of a store on disk, and measures their free space."""

import os
import shutil
import tempfile

from assetstore.errors import StorageFault
from assetstore.files.faults import faults
from assetstore.files.private_folders import private_folder
from assetstore.files.unfinished import sweep
from assetstore.names import is_bucket_url
from assetstore.storage.disk.layout import DiskLayout
from assetstore.storage.disk.sizes import DiskSizes
from assetstore.storage.disk.trash import RESERVE_FOLDER, TRASH_FOLDER, DiskTrash

#: Entries of the private folders that are never removed as left over.
_SPARED = {TRASH_FOLDER, RESERVE_FOLDER, DiskSizes.FOLDER}


class DiskSpace:
    """The folders of a store on mounted file systems."""

    def __init__(self, layout: DiskLayout) -> None:
        self._layout = layout

    def prepare(self) -> None:
        """Creates the folders of all collections, removes abandoned files, and tests writing.

        Raises:
            StorageFault: a folder cannot be created or written; the detail names it.
        """
        for collection_dir in self._layout.collection_dirs:
            self.prepare_collection_dir(collection_dir)

    def prepare_collection_dir(self, collection_dir: str) -> None:
        """Prepares one collection folder, which may have been added after the start. Raises StorageFault."""
        if is_bucket_url(collection_dir):
            raise StorageFault("The folder of a collection is a bucket, but STORAGE_URL is not set.", collection_dir)
        for folder in (self._layout.originals(collection_dir), self._layout.thumbnails(collection_dir)):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                sweep(private_folder(folder), _SPARED)
                with tempfile.TemporaryFile(dir=private_folder(folder)):
                    pass
            except OSError as error:
                detail = f"{folder}: {error.strerror or error}"
                raise StorageFault("The attachment folder cannot be written.", detail) from error
        self._prepare_trash(collection_dir)

    def _prepare_trash(self, collection_dir: str) -> None:
        folder = self._layout.originals(collection_dir)
        trash = DiskTrash(collection_dir, folder)
        try:
            trash.prepare()
            trash.fill_reserve()
            self._layout.remember_disk(collection_dir)
        except OSError as error:
            detail = f"{folder}: {error.strerror or error}"
            raise StorageFault("The attachment folder cannot be written.", detail) from error

    def sweep(self) -> None:
        """Removes files that a crash left. Raises StorageFault."""
        with faults():
            for collection_dir in self._layout.collection_dirs:
                for folder in (self._layout.originals(collection_dir), self._layout.thumbnails(collection_dir)):
                    sweep(private_folder(folder), _SPARED)

    def probe(self) -> None:
        """Writes and removes a small file in each folder of originals. Raises OutOfSpace, StorageFault."""
        with faults():
            for collection_dir in self._layout.collection_dirs:
                with tempfile.TemporaryFile(dir=private_folder(self._layout.originals(collection_dir))) as file:
                    file.write(b"probe")
                    file.flush()
                    os.fsync(file.fileno())

    def free_bytes(self) -> int:
        """Returns the free space of the fullest file system, in bytes. Raises StorageFault."""
        with faults():
            return min(
                shutil.disk_usage(self._layout.originals(collection_dir)).free
                for collection_dir in self._layout.collection_dirs
            )
