"""Cached thumbnails as plain files, `BASE/[collection folder/]thumbnails/ROOT_SCALE.EXT`.

Concurrency: as in `assetstore.storage.disk.disk`. The only locks are those by which processes avoid
making the same thumbnail twice.
"""

import contextlib
import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager
from pathlib import Path

from assetstore.errors import StorageFault
from assetstore.storage.disk.files import faults, locked, make_private, open_file, private_folder
from assetstore.storage.models import CachedThumbnail, StoredFile
from assetstore.storage.thumbnail_sizes import ThumbnailSizes


class DiskThumbnails:
    """The thumbnails on a mounted file system.

    Parameters:
        base: the folder of all attachments (BASE_DIR).
        folder: name of the folder of thumbnails (THUMB_DIR).
        most_sizes: of how many sizes thumbnails are kept in each collection.
    """

    def __init__(self, base: Path, folder: str, most_sizes: int) -> None:
        self._base = base
        self._folder = folder
        self._most_sizes = most_sizes

    def open(self, collection_dir: str, name: str, modified_ns: int | None = None) -> StoredFile:
        """Opens a cached thumbnail by its own name. Raises NotFound, StorageFault."""
        return open_file(self._base, collection_dir, self._folder, name)

    @contextlib.contextmanager
    def new(self, collection_dir: str, name: str) -> Iterator["DiskThumbnail"]:
        """Gives a private path for a thumbnail to be made at; whatever is not published is removed."""
        thumbnails = self._folder_of(collection_dir)
        with faults():
            thumbnails.mkdir(exist_ok=True)  # somebody may have thrown all thumbnails away
            make_private(private_folder(thumbnails))
            folder = Path(tempfile.mkdtemp(prefix="thumbnail-", dir=private_folder(thumbnails)))
        try:
            yield DiskThumbnail(folder / "picture", thumbnails / name)
        finally:
            # A tool that was killed may still be closing its files there; what stays is swept at the next start.
            shutil.rmtree(folder, ignore_errors=True)

    def delete(self, collection_dir: str, root: str, extension: str, spared: Callable[[], Set[int]]) -> None:
        """Removes the thumbnails `ROOT_SCALE.EXT` of one root, except those changed at a time in *spared*.

        Raises StorageFault.
        """
        folder = self._folder_of(collection_dir)
        spared_microseconds: set[int] | None = None
        try:
            # Not by a look through the folder: that would take ever longer.
            for size in self._sizes_of(collection_dir).known():
                names = itertools.chain(
                    [f"{root}_{size}{extension}"],
                    # Earlier servers left `-0`, `-1` … of pages behind the scale.
                    itertools.takewhile(
                        lambda name: os.path.lexists(folder / name),
                        (f"{root}_{size}-{page}{extension}" for page in itertools.count()),
                    ),
                )
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        changed = os.lstat(folder / name).st_mtime_ns // 1000
                        if spared_microseconds is None:
                            spared_microseconds = {time_ns // 1000 for time_ns in spared()}
                        if changed not in spared_microseconds:
                            os.unlink(folder / name)
        except OSError as error:
            raise StorageFault("The thumbnails cannot be deleted.", str(error)) from error

    def locked(self, collection_dir: str, name: str) -> AbstractContextManager[None]:
        """Holds off everybody else, in other processes too, who calls this for the same thumbnail."""
        folder = self._folder_of(collection_dir)
        with faults():
            folder.mkdir(exist_ok=True)
            make_private(private_folder(folder))
        return locked(folder, name)

    def caches_size(self, collection_dir: str, size: int) -> bool:
        """Whether thumbnails of this size are kept; registers the size if there is room for one more."""
        with faults():
            return self._sizes_of(collection_dir).admits(size)

    def largest_cached_size(self, collection_dir: str, size: int) -> int | None:
        """The largest size, up to this one, of which thumbnails are kept; None if there is none."""
        with faults():
            return max((known for known in self._sizes_of(collection_dir).known() if known <= size), default=None)

    def cached(self, collection_dir: str) -> Iterator[CachedThumbnail]:
        """Yields all cached thumbnails of one place, in no order. Raises StorageFault."""
        with faults(), contextlib.suppress(FileNotFoundError), os.scandir(self._folder_of(collection_dir)) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        # Its time of change is a fingerprint; when it was made, the inode knows.
                        yield CachedThumbnail(entry.name, status.st_size, status.st_ctime_ns)

    def remove(self, collection_dir: str, cached: CachedThumbnail) -> bool:
        """Removes a thumbnail; False if there is none, or another one by now. Raises StorageFault."""
        path = self._folder_of(collection_dir) / cached.name
        with faults():
            try:
                if path.lstat().st_ctime_ns != cached.made_ns:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def forget_sizes(self, collection_dir: str, but: Set[int]) -> None:
        """Makes room under the ceiling: forgets all sizes but these. Raises StorageFault."""
        with faults():
            self._sizes_of(collection_dir).forget(but)

    def _sizes_of(self, collection_dir: str) -> ThumbnailSizes:
        return ThumbnailSizes(self._folder_of(collection_dir), self._most_sizes)

    def _folder_of(self, collection_dir: str) -> Path:
        return self._base / collection_dir / self._folder


class DiskThumbnail:
    """A thumbnail that a tool makes at `path` and that `publish` renames to its place."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self._target = target

    def publish(self, modified_ns: int) -> None:
        """Makes the picture visible under its name, with this time of change. Raises OutOfSpace, StorageFault."""
        with faults():
            # Synced although it could be made again: after a crash an empty picture would be believed.
            with open(self.path, "rb") as picture:
                os.utime(picture.fileno(), ns=(modified_ns, modified_ns))
                os.fsync(picture.fileno())
            os.rename(self.path, self._target)
