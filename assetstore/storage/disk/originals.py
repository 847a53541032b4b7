"""Originals as ordinary files, in the layout of all Specify attachment servers:
`BASE/[collection folder/]originals/NAME`.

The files determine which originals exist: files that were copied in by hand are served, too.

Concurrency: any number of threads and processes may use one tree. Nothing is written in place: bytes go to a private
file on the same file system, are synced, and get their name by rename(2), which is atomic. A reader has an open file,
so it reads one complete version even if the name is replaced or removed meanwhile. A thread that changes a name holds
the lock of that name, so each removed version is in the trash exactly once.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from assetstore.errors import NotFound, StorageFault
from assetstore.files.durable import confirm
from assetstore.files.faults import faults
from assetstore.files.locks import locked
from assetstore.storage.disk.files import ABSENT, open_file, relative_path, resolve, version
from assetstore.storage.disk.layout import DiskLayout
from assetstore.storage.disk.pyramids import DiskPyramids
from assetstore.storage.disk.thumbnails import DiskThumbnails
from assetstore.storage.disk.trash import NO_LINKS, DiskTrash
from assetstore.storage.disk.uploads import DiskIncoming
from assetstore.storage.models import Listed, Past, StoredFile, Version
from assetstore.storage.thumbnail_sizes import SizeRules


class DiskOriginalStorage:
    """The originals on mounted file systems.

    Parameters:
        layout: of the store.
        reserve: free space that uploads must leave on the file system, in bytes.
    """

    def __init__(self, layout: DiskLayout, reserve: int = 0) -> None:
        self._layout = layout
        self._reserve = reserve

    def thumbnails(self, rules: SizeRules) -> DiskThumbnails:
        """Returns the store of thumbnails beside these originals."""
        return DiskThumbnails(self._layout, rules)

    def pyramids(self, most_bytes: int) -> DiskPyramids:
        """Returns the store of pyramids beside the thumbnails."""
        layout = self._layout
        return DiskPyramids(layout.base, layout.collection_dirs, layout.thumbnails, most_bytes, self._reserve)

    def open_original(self, collection_dir: str, name: str, reads: bool = True) -> StoredFile:
        """Opens an original for reading. Raises NotFound, StorageFault."""
        try:
            return open_file(self._layout.base, collection_dir, self._layout.originals_name, name)
        except NotFound:
            self._layout.check_disk(collection_dir, writes=False)
            raise

    def version(self, collection_dir: str, name: str) -> Version:
        """Returns the version of an original. Raises NotFound, StorageFault."""
        path = relative_path(collection_dir, self._layout.originals_name, name)
        try:  # faster than contextlib.suppress
            status = os.lstat(f"{self._layout.base}/{path}")
        except OSError:
            status = None
        if status is not None and stat.S_ISREG(status.st_mode):
            return version(status)
        with self.open_original(collection_dir, name) as original:  # a symbolic link, or the call raises the error
            return original.version

    @contextlib.contextmanager
    def local_original(self, collection_dir: str, name: str) -> Iterator[Path]:
        """Yields the path at which tools can read an original. Raises NotFound."""
        yield resolve(self._layout.originals(collection_dir) / name, self._layout.base, {self._layout.originals_name})

    def originals(self, collection_dir: str) -> Iterator[Listed]:
        """Yields all originals of a collection folder, also those whose names no client can request.

        Raises StorageFault.
        """
        try:
            with os.scandir(self._layout.originals(collection_dir)) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # deleted meanwhile, or a broken symbolic link
                        status = entry.stat()
                        if stat.S_ISREG(status.st_mode):
                            yield Listed(entry.name, status.st_size, status.st_mtime_ns, version(status).tag)
        except OSError as error:
            raise StorageFault("The folder of originals cannot be read.", str(error)) from error

    def receive(
        self, collection_dir: str | None, length: int | None, name: str | None = None, past: Past | None = None
    ) -> DiskIncoming:
        """Starts an upload on the file system of *collection_dir*, or of the first collection.

        Raises OutOfSpace if *length* bytes would use up the reserved space, StorageFault.
        """
        first = self._layout.collection_dirs[0] if collection_dir is None else collection_dir
        self._layout.check_disk(first)
        folder = self._layout.originals(first)
        return DiskIncoming(folder, self._layout.originals, length or 0, self._reserve, past)

    def delete_original(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        """Removes an original, to the trash if *keep_old*. Returns whether it existed. Raises StorageFault."""
        path = self._layout.originals(collection_dir) / name
        try:
            if stat.S_ISDIR(path.lstat().st_mode):
                return False
            if keep_old:
                DiskTrash(collection_dir, path.parent).move(path)
            else:
                path.unlink()
        except OSError as error:
            if error.errno in ABSENT:
                return False
            with faults():
                raise
        confirm(path.parent)
        return True

    def rename_original(self, collection_dir: str, name: str, new_name: str) -> bool:
        """Renames an original; False if there is already one of the new name. Raises NotFound, StorageFault."""
        folder = self._layout.originals(collection_dir)
        source, target = folder / name, folder / new_name
        with faults():
            if not os.path.lexists(source):
                raise NotFound("There is no such file.")
            try:
                os.link(source, target, follow_symlinks=False)
                source.unlink()
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                if os.path.lexists(target):
                    return False
                os.rename(source, target)  # an upload of the new name waits for its lock
        confirm(folder)
        return True

    def locked_original(self, collection_dir: str, name: str) -> AbstractContextManager[None]:
        """Holds the lock of an original, among all threads and processes."""
        self._layout.check_disk(collection_dir)
        return locked(self._layout.originals(collection_dir), name)
