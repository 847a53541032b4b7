"""Cached thumbnails as ordinary files, `BASE/[collection folder/]thumbnails/ROOT_SCALE.EXT`.

Concurrency: as in `assetstore.storage.disk.originals`. The only locks are those that prevent processes from making the
same thumbnail twice.
"""

import contextlib
import itertools
import os
import stat
import threading
from collections.abc import Callable, Iterator, Set
from contextlib import AbstractContextManager
from pathlib import Path

from assetstore.errors import StorageFault
from assetstore.files.faults import faults
from assetstore.files.locks import locked
from assetstore.files.private_folders import make_private, private_folder
from assetstore.files.unfinished import rendering_folder
from assetstore.storage.disk.files import open_file, relative_path, version
from assetstore.storage.disk.layout import DiskLayout
from assetstore.storage.disk.sizes import DiskSizes
from assetstore.storage.models import CachedThumbnail, StoredFile, Version
from assetstore.storage.thumbnail_sizes import Demand, LastUses, SizeRules, size_of

#: How often the use of a size is recorded at most, in seconds.
_USE_SECONDS = 60


class DiskThumbnails:
    """The thumbnails on a mounted file system.

    Parameters:
        layout: of the store.
        rules: the sizes of which thumbnails are cached.
    """

    has_other_readers = True

    def __init__(self, layout: DiskLayout, rules: SizeRules) -> None:
        self._layout = layout
        self._rules = rules
        self._demand = Demand()
        self._last_uses = LastUses(_USE_SECONDS)

    def open(self, collection_dir: str, name: str, modified_ns: int | None = None) -> StoredFile:
        """Opens a cached thumbnail by its own name. Raises NotFound, StorageFault."""
        stored = open_file(self._layout.base, collection_dir, self._layout.thumbnails_name, name)
        self._record_use(collection_dir, name)
        return stored

    def version(self, collection_dir: str, name: str) -> Version | None:
        """Returns the version of a cached thumbnail; None if there is none, or only a symbolic link."""
        path = relative_path(collection_dir, self._layout.thumbnails_name, name)
        try:
            status = os.lstat(f"{self._layout.base}/{path}")
        except OSError:
            return None
        self._record_use(collection_dir, name)
        # The status of a symbolic link does not show that its target has changed.
        return version(status) if stat.S_ISREG(status.st_mode) else None

    @contextlib.contextmanager
    def new(self, collection_dir: str, name: str) -> Iterator["DiskThumbnail"]:
        """Yields a new thumbnail at a private path, which is removed at the end unless it was published."""
        thumbnails = self._layout.thumbnails(collection_dir)
        with faults():
            thumbnails.mkdir(exist_ok=True)  # the whole folder may have been deleted by hand
            make_private(private_folder(thumbnails))
        with contextlib.ExitStack() as stack:
            with faults():
                folder = stack.enter_context(rendering_folder(private_folder(thumbnails)))
            yield DiskThumbnail(folder / "picture", thumbnails / name, self._sizes_of(collection_dir))

    def delete(self, collection_dir: str, root: str, extension: str, spared: Callable[[], Set[int]]) -> None:
        """Removes the thumbnails `ROOT_SCALE.EXT` of one root, except those with a modification time in *spared*.

        Raises StorageFault.
        """
        folder = self._layout.thumbnails(collection_dir)
        spared_microseconds: set[int] | None = None
        try:
            # The folder is not listed, because that takes longer as it grows.
            for size in self._sizes_of(collection_dir).known():
                names = itertools.chain(
                    [f"{root}_{size}{extension}"],
                    # Earlier servers appended the page to the scale: `-0`, `-1` …
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

    def locked(self, collection_dir: str, name: str, *, waits: bool = True) -> AbstractContextManager[None]:
        """Holds the lock of a thumbnail, among all threads and processes."""
        folder = self._layout.thumbnails(collection_dir)
        with faults():
            folder.mkdir(exist_ok=True)
            make_private(private_folder(folder))
        return locked(folder, name, waits=waits)

    def caches_size(self, collection_dir: str, size: int, original: str) -> bool:
        """Returns whether thumbnails of this size are cached; counts the request for *original*."""
        with faults():
            sizes = self._sizes_of(collection_dir)
            if sizes.is_cached(size):
                return True
            if not (self._rules.is_permanent(size) or self._demand.count(collection_dir, size, original)):
                return False
        return self.add_size(collection_dir, size, replaces=True)

    def add_size(self, collection_dir: str, size: int, replaces: bool) -> bool:
        """Adds a size to the cached ones, if there is a place or it may replace another; returns whether it is cached.

        Raises StorageFault.
        """
        with faults():
            is_cached = self._sizes_of(collection_dir).add(size, replaces)
        if is_cached:
            self._demand.forget(collection_dir, size)
        return is_cached

    def largest_cached_size(self, collection_dir: str, size: int) -> int | None:
        """Returns the largest cached size up to this one; None if there is none."""
        with faults():
            return max((cached for cached in self._sizes_of(collection_dir).cached() if cached <= size), default=None)

    def update_previews(self, collection_dir: str) -> None:
        """Adds the sizes in PREVIEW_SIZES, and retires those that no longer are in it. Raises StorageFault."""
        with faults():
            self._sizes_of(collection_dir).update_previews()

    def remove_retired(self, collection_dir: str, ending: threading.Event) -> None:
        """Removes the thumbnails of retired sizes. Raises StorageFault."""
        with faults():
            self._sizes_of(collection_dir).remove_retired(ending)

    def cached(self, collection_dir: str) -> Iterator[CachedThumbnail]:
        """Yields all cached thumbnails of a collection folder, in any order. Raises StorageFault."""
        with (
            faults(),
            contextlib.suppress(FileNotFoundError),
            os.scandir(self._layout.thumbnails(collection_dir)) as entries,
        ):
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        # The modification time is a fingerprint, so the creation time is that of the inode.
                        yield CachedThumbnail(entry.name, status.st_size, status.st_ctime_ns)

    def remove(self, collection_dir: str, cached: CachedThumbnail) -> bool:
        """Removes a thumbnail. Returns False if it no longer exists or was replaced. Raises StorageFault."""
        path = self._layout.thumbnails(collection_dir) / cached.name
        with faults():
            try:
                if path.lstat().st_ctime_ns != cached.made_ns:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def retire_sizes(self, collection_dir: str, but: Set[int]) -> None:
        """Retires all sizes but these. Raises StorageFault."""
        with faults():
            sizes = self._sizes_of(collection_dir)
            sizes.retire(sizes.cached() - but)

    def _record_use(self, collection_dir: str, name: str) -> None:
        size = size_of(name)
        if size is not None and self._last_uses.is_due(collection_dir, size):
            # Without this record, the size only seems to be used less.
            with contextlib.suppress(OSError):
                self._sizes_of(collection_dir).use(size)

    def _sizes_of(self, collection_dir: str) -> DiskSizes:
        return DiskSizes(self._layout.thumbnails(collection_dir), self._rules)


class DiskThumbnail:
    """A thumbnail that a tool makes at `path` and that `publish` renames to its final name."""

    def __init__(self, path: Path, target: Path, sizes: DiskSizes) -> None:
        self.path = path
        self._target = target
        self._sizes = sizes

    def publish(self, modified_ns: int) -> bool:
        """Renames the image to its final name, with this modification time. Raises OutOfSpace, StorageFault."""
        size = size_of(self._target.name)
        with faults():
            # Synced, because after a crash an empty file with the right fingerprint would be served.
            with open(self.path, "rb") as picture:
                os.utime(picture.fileno(), ns=(modified_ns, modified_ns))
                os.fsync(picture.fileno())
            with self._sizes.publishing(size or 0) as is_cached:
                if is_cached:
                    os.rename(self.path, self._target)
        return is_cached
