"""The sizes of which thumbnails are cached for a collection: a small folder with an empty file for each size.

The list limits the number of sizes, so that no client can fill the disk by requesting one size after another. It also
makes it possible to remove the thumbnails of an original without listing a folder of a million files.

Concurrency: a size is added under a lock on the folder, so that the limit holds among all processes.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Set
from pathlib import Path

from assetstore.names import PRIVATE_FOLDER

_SIZE_OF_THUMBNAIL = re.compile(r".*_([1-9][0-9]{0,8})(?:-[0-9]+)?(?:\.[^.]*)?", re.ASCII | re.DOTALL)

#: A file that prevents a rename from replacing the folder of sizes, because the folder is not empty.
_TAKEN = "taken"


class ThumbnailSizes:
    """The cached sizes of one folder of thumbnails.

    Parameters:
        thumbnails: the folder.
        most: the maximum number of sizes. A tree of an earlier server may have more, which stay; then no more are
            added.
    """

    FOLDER = "sizes"

    def __init__(self, thumbnails: Path, most: int) -> None:
        self._thumbnails = thumbnails
        self._folder = thumbnails / PRIVATE_FOLDER / self.FOLDER
        self._most = most

    def known(self) -> list[int]:
        """Returns all sizes of which thumbnails may exist. Raises OSError."""
        if not self._folder.exists():
            self._take_stock()
        return [int(name) for name in os.listdir(self._folder) if name.isdigit()]

    def admits(self, size: int) -> bool:
        """Returns whether thumbnails of this size are cached. Adds the size if the limit allows. Raises OSError."""
        marker = self._folder / str(size)
        if marker.exists():
            return True
        if len(self.known()) >= self._most:
            return False
        with self._locked():
            if len(self.known()) >= self._most:
                return marker.exists()
            marker.touch()
            return True

    def forget(self, but: Set[int]) -> None:
        """Removes all sizes but these; no thumbnails of the others may be left. Raises OSError."""
        for size in set(self.known()) - but:
            with self._locked():
                (self._folder / str(size)).unlink(missing_ok=True)

    def _take_stock(self) -> None:
        """Records the sizes of existing thumbnails, once, when the tree of an earlier server is taken over."""
        sizes = set()
        with contextlib.suppress(FileNotFoundError), os.scandir(self._thumbnails) as entries:
            for entry in entries:
                match = _SIZE_OF_THUMBNAIL.fullmatch(entry.name)
                if match:
                    sizes.add(match[1])
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
