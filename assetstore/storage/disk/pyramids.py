"""Cached pyramids as files: `BASE/[collection folder/]thumbnails/.asset-server/pyramids/ORIGINAL/PAGE.tif`.

They are in the private folder of the thumbnails, which other programs and earlier versions of this server leave alone
or empty. The modification time of a file shows to which version of its original it belongs; the access time, which this
module sets itself, when it was last used.

Concurrency: any number of threads and processes may use one tree. A file is published by rename(2), and may be removed
at any time: a reader that has opened it can finish. Only one process at a time makes space for a new one.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from assetstore.errors import OutOfSpace
from assetstore.files.faults import faults
from assetstore.files.locks import locked
from assetstore.files.private_folders import make_private, private_folder
from assetstore.files.unfinished import rendering_folder
from assetstore.storage import pyramid_names
from assetstore.storage.models import CachedPyramid, StoredPyramid

#: How often the use of a pyramid is recorded at most, in nanoseconds.
_USE_NS = 60_000_000_000

_SECOND_NS = 1_000_000_000

#: How often to create the folder of a new pyramid again that another thread has just removed.
_ATTEMPTS = 5


class DiskPyramids:
    """The pyramids on mounted file systems.

    Parameters:
        base: the folder of all attachments (BASE_DIR).
        collection_dirs: the collection folders.
        folder_of: returns the folder of a collection in whose private folder the pyramids are.
        most_bytes: the limit of all pyramids together.
        reserve: free space to leave on each disk, in bytes, which uploads need (RESERVED_BYTES).
    """

    def __init__(
        self,
        base: Path,
        collection_dirs: Sequence[str],
        folder_of: Callable[[str], Path],
        most_bytes: int,
        reserve: int = 0,
    ) -> None:
        self._reserve = reserve
        self._base = base
        self._collection_dirs = collection_dirs
        self._folder_of = folder_of
        self.most_bytes = most_bytes

    def find(self, collection_dir: str, name: str, page: int, modified_ns: int) -> StoredPyramid | None:
        """Returns a pyramid with this modification time, None if there is none; counts as use."""
        path = self._path(collection_dir, pyramid_names.original_id(name), page)
        with faults():
            try:
                status = os.stat(path)
                if not _has_time(status.st_mtime_ns, modified_ns):
                    return None
                if time.time_ns() - status.st_atime_ns > _USE_NS:
                    # Without this record, the pyramid only seems to be used less.
                    with contextlib.suppress(PermissionError):
                        os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
            except FileNotFoundError:
                return None
        return StoredPyramid(path)

    def is_cached(self, collection_dir: str, name: str, page: int, modified_ns: int) -> bool:
        """Returns whether there is a pyramid with this modification time."""
        return self.find(collection_dir, name, page, modified_ns) is not None

    @contextlib.contextmanager
    def new(self, collection_dir: str, name: str, page: int) -> Iterator["DiskPyramid"]:
        """Yields a new pyramid at a private path, which is removed at the end unless it was published."""
        self._make_folder(collection_dir)
        self.leave_reserve(self._private(collection_dir))
        with contextlib.ExitStack() as stack:
            with faults():
                folder = stack.enter_context(rendering_folder(self._private(collection_dir)))
            yield DiskPyramid(
                folder / "picture", self, self._path(collection_dir, pyramid_names.original_id(name), page)
            )

    def progress(self, collection_dir: str, name: str, page: int) -> Path:
        """Returns the path of the file with the progress of a pyramid that is being made."""
        file = f"{pyramid_names.original_id(name)}-{page}{pyramid_names.PROGRESS}"
        return self._folder(collection_dir) / file

    def locked(self, collection_dir: str, name: str, page: int, *, waits: bool = True) -> AbstractContextManager[None]:
        """Holds the lock of a pyramid, among all threads and processes."""
        self._make_folder(collection_dir)
        return locked(self._folder_of(collection_dir), f"pyramid/{name}/{page}", waits=waits)

    def delete(self, collection_dir: str, name: str) -> None:
        """Removes all pyramids of an original. Raises StorageFault."""
        folder = self._folder(collection_dir) / pyramid_names.original_id(name)
        with faults(), contextlib.suppress(FileNotFoundError):  # usually, there is none
            shutil.rmtree(folder)

    def cached(self, collection_dir: str) -> Iterator[CachedPyramid]:
        """Yields all pyramids of a collection folder, in any order. Raises StorageFault."""
        root = self._folder(collection_dir)
        with faults():
            for path in root.glob("*/*.tif"):
                found = pyramid_names.parsed(f"{path.parent.name}/{path.name}")
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    status = path.stat()
                    if found is not None:
                        yield CachedPyramid(collection_dir, *found, status.st_size, status.st_atime_ns)

    def remove(self, pyramid: CachedPyramid) -> None:
        """Removes a pyramid, if it still exists. Raises StorageFault."""
        path = self._path(pyramid.collection_dir, pyramid.original, pyramid.page)
        with faults():
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it has pyramids of other pages
                path.parent.rmdir()

    @contextlib.contextmanager
    def space_for(self, size: int) -> Iterator[None]:
        """Removes the least recently used pyramids until there is space for one of *size* bytes.

        Other processes wait until the end of the `with` statement. Raises StorageFault.
        """
        with faults():
            make_private(private_folder(self._base))
        with locked(self._base, pyramid_names.FOLDER):
            every = [one for folder in self._collection_dirs for one in self.cached(folder)]
            too_many = sum(one.size for one in every) + size - self.most_bytes
            for pyramid in sorted(every, key=lambda one: one.used_ns):
                if too_many <= 0:
                    break
                self.remove(pyramid)
                too_many -= pyramid.size
            yield

    def leave_reserve(self, folder: Path) -> None:
        """Removes the least recently used pyramids while the disk of a folder has less free space than the reserve.

        Raises OutOfSpace (none is left to remove), StorageFault.
        """
        with faults():
            if shutil.disk_usage(folder).free >= self._reserve:
                return
            disk = folder.stat().st_dev
            same = [other for other in self._collection_dirs if self._is_on(disk, other)]
            every = [one for collection_dir in same for one in self.cached(collection_dir)]
            for pyramid in sorted(every, key=lambda one: one.used_ns):
                self.remove(pyramid)
                if shutil.disk_usage(folder).free >= self._reserve:
                    return
        sentence = "The server's disk is nearly full, so the image cannot be prepared for zooming."
        raise OutOfSpace(sentence, f"{folder} has less than RESERVED_BYTES free")

    def _is_on(self, disk: int, collection_dir: str) -> bool:
        folder = self._folder(collection_dir)
        return folder.exists() and folder.stat().st_dev == disk

    def _private(self, collection_dir: str) -> Path:
        return private_folder(self._folder_of(collection_dir))

    def _folder(self, collection_dir: str) -> Path:
        return self._private(collection_dir) / pyramid_names.FOLDER

    def _path(self, collection_dir: str, original: str, page: int) -> Path:
        return self._folder(collection_dir) / pyramid_names.file_name(original, page)

    def _make_folder(self, collection_dir: str) -> None:
        with faults():
            self._folder_of(collection_dir).mkdir(exist_ok=True)
            make_private(self._private(collection_dir))
            make_private(self._folder(collection_dir))


class DiskPyramid:
    """A pyramid that a worker makes at `path`. `store` syncs it, and `publish` renames it to its final name."""

    def __init__(self, path: Path, store: DiskPyramids, target: Path) -> None:
        self.path = path
        self._store = store
        self._target = target

    def store(self, modified_ns: int) -> bool:
        """Syncs the file with this modification time; False if it is larger than the limit.

        Raises OutOfSpace, StorageFault.
        """
        # Synced, because after a crash an empty file with the right fingerprint would be used.
        with faults(), open(self.path, "rb") as pyramid:
            os.utime(pyramid.fileno(), ns=(time.time_ns(), modified_ns))
            os.fsync(pyramid.fileno())
            is_possible = os.fstat(pyramid.fileno()).st_size <= self._store.most_bytes
        if is_possible:
            self._store.leave_reserve(self.path.parent)
        return is_possible

    def publish(self) -> None:
        """Renames the file to its final name, after older ones made space. Raises OutOfSpace, StorageFault."""
        with faults(), self._store.space_for(self.path.stat().st_size):
            self._rename()

    def _rename(self) -> None:
        for attempt in range(_ATTEMPTS):
            make_private(self._target.parent)
            try:
                os.rename(self.path, self._target)
            except FileNotFoundError:  # another thread has just removed the folder
                if attempt + 1 == _ATTEMPTS:
                    raise
            else:
                return


def _has_time(own_ns: int, modified_ns: int) -> bool:
    """Whether a file has this modification time; also on file systems that store only whole seconds."""
    is_whole_second = own_ns % _SECOND_NS == 0
    return own_ns // 1000 == modified_ns // 1000 or (
        is_whole_second and own_ns // _SECOND_NS == modified_ns // _SECOND_NS
    )
