"""Originals as ordinary files, in the layout of all Specify attachment servers:
`BASE/[collection folder/]originals/NAME`.

The files determine which originals exist: files that were copied in by hand are served, too.

Concurrency: any number of threads and processes may use one tree. Nothing is written in place: bytes go to a private
file on the same file system, are synced, and get their name by rename(2), which is atomic. A reader has an open file,
so it reads one complete version even if the name is replaced or removed meanwhile. A thread that changes a name holds
the lock of that name, so each removed version is in the trash exactly once.
"""

import contextlib
import errno
import logging
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from assetstore.errors import NotFound, OutOfSpace, StorageFault, Unsynced
from assetstore.files.durable import confirm
from assetstore.files.faults import faults
from assetstore.files.locks import locked
from assetstore.files.private_folders import make_private, private_folder
from assetstore.files.unfinished import UPLOAD, create_locked, sweep
from assetstore.names import is_bucket_url, is_store_name
from assetstore.storage.disk.files import ABSENT, brought_to, open_file, resolve, version
from assetstore.storage.disk.thumbnails import DiskThumbnails
from assetstore.storage.disk.trash import RESERVE_FOLDER, TRASH_FOLDER, DiskTrash
from assetstore.storage.models import Listed, Past, StoredFile, TrashEntry, Version
from assetstore.storage.thumbnail_sizes import ThumbnailSizes

_log = logging.getLogger(__name__)

#: After this many bytes of an upload, the kernel is told to start writing, so that `sync` has little left to wait for,
#: and the free space is checked again, because other programs write, too.
_BYTES_BETWEEN_LOOKS = 2 << 20


class DiskStorage:
    """The store on a mounted file system.

    Parameters:
        base: the folder of all attachments (BASE_DIR).
        originals: name of the folder of originals (ORIG_DIR).
        thumbnails: name of the folder of thumbnails (THUMB_DIR).
        collection_dirs: the collection folders below *base*, at least one; empty for *base* itself.
        reserve: free space that uploads must leave on the file system, in bytes.
    """

    def __init__(
        self, base: Path, originals: str, thumbnails: str, collection_dirs: Sequence[str], reserve: int = 0
    ) -> None:
        self._base = base
        self._originals = originals
        self._thumbnails = thumbnails
        self._collection_dirs = collection_dirs
        self._reserve = reserve
        self._devices: dict[str, int] = {}

    def prepare(self) -> None:
        """Creates the folders of all collections, removes abandoned files, and tests writing.

        Raises:
            StorageFault: a folder cannot be created or written; the detail names it.
        """
        for collection_dir in self._collection_dirs:
            self.prepare_collection_dir(collection_dir)

    def prepare_collection_dir(self, collection_dir: str) -> None:
        """Prepares one collection folder, which may have been added after the start. Raises StorageFault."""
        if is_bucket_url(collection_dir):
            raise StorageFault("The folder of a collection is a bucket, but STORAGE_URL is not set.", collection_dir)
        spared = {TRASH_FOLDER, RESERVE_FOLDER, ThumbnailSizes.FOLDER}
        for folder in (self._folder_of(collection_dir), self._base / collection_dir / self._thumbnails):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                sweep(private_folder(folder), spared)
                with tempfile.TemporaryFile(dir=private_folder(folder)):
                    pass
            except OSError as error:
                detail = f"{folder}: {error.strerror or error}"
                raise StorageFault("The attachment folder cannot be written.", detail) from error
        self._prepare_trash(collection_dir)

    def _prepare_trash(self, collection_dir: str) -> None:
        folder = self._folder_of(collection_dir)
        trash = DiskTrash(collection_dir, folder)
        try:
            trash.prepare()
            trash.fill_reserve()
            self._devices[collection_dir] = folder.stat().st_dev
        except OSError as error:
            detail = f"{folder}: {error.strerror or error}"
            raise StorageFault("The attachment folder cannot be written.", detail) from error

    def thumbnails(self, most_sizes: int) -> DiskThumbnails:
        """Returns the store of thumbnails beside these originals."""
        return DiskThumbnails(self._base, self._thumbnails, most_sizes)

    def open_original(self, collection_dir: str, name: str, reads: bool = True) -> StoredFile:
        """Opens an original for reading. Raises NotFound, StorageFault."""
        try:
            return open_file(self._base, collection_dir, self._originals, name)
        except NotFound:
            self._check_disk(collection_dir)
            raise

    def version(self, collection_dir: str, name: str) -> Version:
        """Returns the version of an original. Raises NotFound, StorageFault."""
        with contextlib.suppress(OSError):
            status = os.lstat(f"{self._base}/{collection_dir}/{self._originals}/{name}")
            if stat.S_ISREG(status.st_mode):
                return version(status)
        with self.open_original(collection_dir, name) as original:  # a symbolic link, or the call raises the error
            return original.version

    @contextlib.contextmanager
    def local_original(self, collection_dir: str, name: str) -> Iterator[Path]:
        """Yields the path at which tools can read an original. Raises NotFound."""
        yield resolve(self._folder_of(collection_dir) / name, self._base, {self._originals})

    def originals(self, collection_dir: str) -> Iterator[Listed]:
        """Yields all originals of a collection folder. Raises StorageFault."""
        try:
            with os.scandir(self._folder_of(collection_dir)) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # deleted meanwhile, or a broken symbolic link
                        status = entry.stat()
                        if stat.S_ISREG(status.st_mode) and is_store_name(entry.name):
                            yield Listed(entry.name, status.st_size, status.st_mtime_ns, version(status).tag)
        except OSError as error:
            raise StorageFault("The folder of originals cannot be read.", str(error)) from error

    def receive(
        self, collection_dir: str | None, length: int | None, name: str | None = None, past: Past | None = None
    ) -> "DiskIncoming":
        """Starts an upload on the file system of *collection_dir*, or of the first collection.

        Raises OutOfSpace if *length* bytes would use up the reserved space, StorageFault.
        """
        first = self._collection_dirs[0] if collection_dir is None else collection_dir
        self._check_disk(first)
        folder = self._folder_of(first)
        return DiskIncoming(folder, self._folder_of, length or 0, self._reserve, past)

    def delete_original(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        """Removes an original, to the trash if *keep_old*. Returns whether it existed. Raises StorageFault."""
        path = self._folder_of(collection_dir) / name
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

    def locked_original(self, collection_dir: str, name: str) -> AbstractContextManager[None]:
        """Holds the lock of an original, among all threads and processes."""
        self._check_disk(collection_dir)
        return locked(self._folder_of(collection_dir), name)

    def trash(self, collection_dir: str) -> Iterator[TrashEntry]:
        """Yields the trash of a collection folder, oldest entries first. Raises StorageFault."""
        with faults():
            yield from DiskTrash(collection_dir, self._folder_of(collection_dir)).entries()

    def restore(self, entry: TrashEntry, keep_old: bool) -> bool:
        """Restores an original from the trash. Returns whether it replaced one.

        Raises NotFound (the entry no longer exists), OutOfSpace, StorageFault.
        """
        trash = DiskTrash(entry.collection_dir, self._folder_of(entry.collection_dir))
        source, target = trash.path(entry), self._folder_of(entry.collection_dir) / entry.name
        with faults():
            if not os.path.lexists(source):
                raise NotFound("The file is no longer in the trash.", entry.identifier)
            replaces = os.path.lexists(target)
            if replaces:
                _refuse_folder(target)
            if replaces and os.path.samestat(source.lstat(), target.lstat()):
                source.unlink()  # a crash interrupted an earlier replacement by `DiskTrash.replace`
            elif replaces and keep_old:
                trash.replace(source, target)
            else:
                os.rename(source, target)
            with contextlib.suppress(OSError):  # an empty folder may stay, which is not an entry
                trash.forget(entry)
        confirm(target.parent)
        return replaces

    def purge(self, entry: TrashEntry) -> bool:
        """Removes an entry of the trash permanently. Returns whether it existed. Raises StorageFault."""
        trash = DiskTrash(entry.collection_dir, self._folder_of(entry.collection_dir))
        with faults():
            try:
                trash.path(entry).unlink()
            except FileNotFoundError:
                return False
            trash.forget(entry)
        return True

    def probe(self) -> None:
        """Writes and removes a small file in each folder of originals. Raises OutOfSpace, StorageFault."""
        with faults():
            for collection_dir in self._collection_dirs:
                with tempfile.TemporaryFile(dir=private_folder(self._folder_of(collection_dir))) as file:
                    file.write(b"probe")
                    file.flush()
                    os.fsync(file.fileno())

    def free_bytes(self) -> int:
        """Returns the free space of the fullest file system, in bytes. Raises StorageFault."""
        with faults():
            return min(
                shutil.disk_usage(self._folder_of(collection_dir)).free for collection_dir in self._collection_dirs
            )

    def _folder_of(self, collection_dir: str) -> Path:
        return self._base / collection_dir / self._originals

    def _check_disk(self, collection_dir: str) -> None:
        """Raises StorageFault if the disk of the folder of originals is no longer mounted.

        Otherwise all originals would seem to be deleted, and uploads would go to the disk of the mount point.
        """
        folder = self._folder_of(collection_dir)
        private = private_folder(folder)
        if private.is_dir():
            return
        with faults():
            try:
                if folder.stat().st_dev == self._devices.get(collection_dir):
                    make_private(private)  # someone removed the private folder
                    return
            except FileNotFoundError:
                pass
        raise StorageFault("The disk with the attachments is not available.", f"{private} is missing")


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
                _refuse_folder(target)
            with brought_to(target.parent, self._path) as source:
                if replaces and keep_old:
                    DiskTrash(collection_dir, target.parent).replace(source, target)
                else:
                    os.rename(source, target)
        try:
            confirm(target.parent)
        except Unsynced as error:
            error.replaces = replaces
            raise
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


def _refuse_folder(path: Path) -> None:
    """Raises IsADirectoryError if a folder has the name of the file."""
    if stat.S_ISDIR(path.lstat().st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
