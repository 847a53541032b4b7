"""The sizes of which thumbnails are cached in a folder: a small folder with an empty file for each size.

    sizes/200           thumbnails of 200 pixels are cached, or may still exist; its date is when they were last used
    sizes/200-leaving   the size was retired, and its thumbnails are being removed
    sizes/200-preview   the size was in PREVIEW_SIZES

The list limits the number of sizes (`assetstore.storage.thumbnail_sizes`). It also makes it possible to remove the
thumbnails of an original without listing a folder of a million files, so no thumbnail may exist whose size is not in
the list.

Concurrency: all processes may use a folder.

- A size is added or retired under a lock on the folder, so that the limit holds among all processes.
- A thumbnail is published under a shared lock on the file of its size, and only if the size is cached. Retiring only
  creates a file, so no request waits for it. `remove_retired` then waits for those who are publishing, lists the
  folder of thumbnails, removes those of retired sizes, and removes the size from the list last. If the process ends
  before, the next round begins again. Until then the size is in the list, so the thumbnails of an original are
  removed with it.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Iterator, Set
from pathlib import Path

from assetstore.names import PRIVATE_FOLDER
from assetstore.storage.thumbnail_sizes import LEAVING, PREVIEW, SPECIFY_SIZES, SizeRules, size_of, with_ending

#: A file that prevents a rename from replacing the folder of sizes, because the folder is not empty. A process that
#: removes the thumbnails of retired sizes holds its lock.
_TAKEN = "taken"


class DiskSizes:
    """The cached sizes of one folder of thumbnails. All methods raise OSError.

    Parameters:
        thumbnails: the folder.
        rules: which sizes are cached.
    """

    FOLDER = "sizes"

    def __init__(self, thumbnails: Path, rules: SizeRules) -> None:
        self._thumbnails = thumbnails
        self._folder = thumbnails / PRIVATE_FOLDER / self.FOLDER
        self._rules = rules

    def known(self) -> Set[int]:
        """Returns all sizes of which thumbnails may exist."""
        return with_ending(self._names(), "")

    def cached(self) -> Set[int]:
        """Returns the sizes of which thumbnails are cached: those that are known and not retired."""
        names = self._names()
        return with_ending(names, "") - with_ending(names, LEAVING)

    def is_cached(self, size: int) -> bool:
        """Returns whether thumbnails of this size are cached."""
        return self._marker(size).exists() and not self._marker(size, LEAVING).exists()

    def add(self, size: int, replaces: bool) -> bool:
        """Adds a size if the rules allow it; returns whether it is cached now.

        Parameters:
            size: in pixels.
            replaces: whether it may replace another size if the limit is reached.
        """
        self._names()  # creates the folder
        with self._locked():
            return self._add(size, replaces)

    def use(self, size: int) -> None:
        """Records that a thumbnail of this size was read."""
        with contextlib.suppress(FileNotFoundError):  # the thumbnail of an earlier server, of a size that is not cached
            os.utime(self._marker(size))

    @contextlib.contextmanager
    def publishing(self, size: int) -> Iterator[bool]:
        """Yields whether a thumbnail of this size may be published now. If so, the size stays known meanwhile."""
        try:
            descriptor = os.open(self._marker(size), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield False
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            # In this order, because the file of the size is removed before the other one.
            is_leaving = self._marker(size, LEAVING).exists()
            yield not is_leaving and os.fstat(descriptor).st_nlink > 0
        finally:
            os.close(descriptor)

    def retire(self, sizes: Set[int]) -> None:
        """Stops caching thumbnails of these sizes; `remove_retired` removes those that exist."""
        with self._locked():
            for size in sizes:
                self._marker(size, LEAVING).touch()

    def update_previews(self) -> None:
        """Adds the sizes in PREVIEW_SIZES, and retires those that were in it and no longer are."""
        if not self._folder.parent.is_dir() or not (self._rules.previews or self._folder.exists()):
            return  # the disk is not mounted, or there is nothing to do
        former = with_ending(self._names(), PREVIEW) - self._rules.previews
        if not former | self._rules.previews:
            return
        with self._locked():
            for size in self._rules.previews:
                self._marker(size, PREVIEW).touch()
                self._add(size, True)
        self.retire(former - SPECIFY_SIZES)
        for size in former:
            self._marker(size, PREVIEW).unlink(missing_ok=True)

    def remove_retired(self, ending: threading.Event) -> None:
        """Removes the thumbnails of retired sizes, unless another process is doing it.

        Parameters:
            ending: ends the run early if it is set; the next run continues.
        """
        if not self._folder.exists() or not with_ending(self._names(), LEAVING):
            return
        descriptor = os.open(self._folder / _TAKEN, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            retired = with_ending(self._names(), LEAVING)
            for size in retired:
                self._wait_for_publishers(size)
            if self._remove(retired, ending):
                self._forget(retired)
        except BlockingIOError:
            return  # another process removes them
        finally:
            os.close(descriptor)

    def _add(self, size: int, replaces: bool) -> bool:
        if self._marker(size).exists():
            return not self._marker(size, LEAVING).exists()
        names = self._names()
        leaving = with_ending(names, LEAVING)
        if size in leaving:
            return False
        cached = with_ending(names, "") - leaving
        used_ns = {other: self._marker(other).stat().st_mtime_ns for other in cached}
        decision = self._rules.decide(size, used_ns, bool(leaving), replaces)
        if decision.retired is not None:
            self._marker(decision.retired, LEAVING).touch()
        if decision.is_admitted:
            self._marker(size).touch()
        return decision.is_admitted

    def _wait_for_publishers(self, size: int) -> None:
        with contextlib.suppress(FileNotFoundError), open(self._marker(size), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)

    def _remove(self, sizes: Set[int], ending: threading.Event) -> bool:
        """Removes all thumbnails of these sizes; False if it ended early."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._thumbnails) as entries:
            for entry in entries:
                if ending.is_set():
                    return False
                if size_of(entry.name) in sizes and not entry.is_dir(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):  # removed together with its original
                        os.unlink(entry.path)
        return True

    def _forget(self, sizes: Set[int]) -> None:
        with self._locked():
            for size in sizes:
                self._marker(size).unlink(missing_ok=True)
                self._marker(size, LEAVING).unlink(missing_ok=True)

    def _marker(self, size: int, ending: str = "") -> Path:
        return self._folder / f"{size}{ending}"

    def _names(self) -> list[str]:
        if not self._folder.exists():
            self._take_stock()
        return os.listdir(self._folder)

    def _take_stock(self) -> None:
        """Records the sizes of existing thumbnails, once, when the tree of an earlier server is taken over."""
        sizes = set()
        with contextlib.suppress(FileNotFoundError), os.scandir(self._thumbnails) as entries:
            for entry in entries:
                size = size_of(entry.name)
                if size is not None:
                    sizes.add(str(size))
        draft = self._folder.with_name(f"{self.FOLDER}.{os.getpid()}.{id(self)}")
        draft.mkdir(mode=0o700, parents=True)
        for name in (*sizes, _TAKEN):
            (draft / name).touch()
        try:
            draft.rename(self._folder)
        except OSError as error:
            shutil.rmtree(draft)
            # Another process was faster; its folder is not empty and stays.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
