"""Originals and thumbnails as plain files, in the layout that every Specify attachment server has:
`BASE/[collection folder/]originals/NAME` and `BASE/[collection folder/]thumbnails/ROOT_SCALE.EXT`.

The files are the truth: whatever somebody copies in by hand is served.

Concurrency: any number of threads and processes may use one tree. Nothing is ever written in
place: bytes go to a private file on the same file system, are synced, and take their name by
rename(2), which is atomic. A reader holds an open file, so it reads one whole version even if the
name is replaced or removed meanwhile. The only locks are those by which processes avoid making the
same thumbnail twice; the system takes them back when a process ends.
"""

import contextlib
import errno
import fcntl
import hashlib
import itertools
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from types import TracebackType

from assetstore.errors import AssetError, BadRequest, NotFound, OutOfSpace, StorageFault
from assetstore.names import PRIVATE_FOLDER
from assetstore.storage import StoredFile, Version
from assetstore.storage.thumbnail_sizes import ThumbnailSizes

#: Unfinished files untouched for this long have no living owner: a silent upload is cut off long before.
_ABANDONED_AFTER_SECONDS = 24 * 3600

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EISDIR, errno.ENXIO)


class DiskStorage:
    """The store on a mounted file system.

    Parameters:
        base: the folder of all attachments (BASE_DIR).
        originals: name of the folder of originals (ORIG_DIR).
        thumbnails: name of the folder of thumbnails (THUMB_DIR).
        places: the folders of the collections below *base*, at least one; empty for *base* itself.
        most_sizes: of how many sizes thumbnails are kept in each collection.
    """

    def __init__(self, base: Path, originals: str, thumbnails: str, places: Sequence[str], most_sizes: int) -> None:
        self._base = base
        self._originals = originals
        self._thumbnails = thumbnails
        self._places = places
        self._most_sizes = most_sizes

    def prepare(self) -> None:
        """Makes the folders of all collections, sweeps abandoned files, and tries to write.

        Raises:
            StorageFault: a folder cannot be made or written; the detail names it.
        """
        for place in self._places:
            for folder in (self._originals_of(place), self._thumbnails_of(place)):
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    _sweep(_private(folder))
                    with tempfile.TemporaryFile(dir=_private(folder)):
                        pass
                except OSError as error:
                    detail = f"{folder}: {error.strerror or error}"
                    raise StorageFault("The attachment folder cannot be written.", detail) from error

    def open_original(self, place: str, name: str) -> StoredFile:
        """Opens an original for reading. Raises NotFound, StorageFault."""
        return self._open(self._originals_of(place) / name)

    def open_thumbnail(self, place: str, name: str) -> StoredFile:
        """Opens a kept thumbnail by its own name. Raises NotFound, StorageFault."""
        return self._open(self._thumbnails_of(place) / name)

    def receive(self, place: str | None) -> "DiskIncoming":
        """Begins an upload on the file system of *place*, or of the first collection. Raises as `write`."""
        first = self._places[0] if place is None else place
        return DiskIncoming(_private(self._originals_of(first)), self._originals_of)

    def delete_original(self, place: str, name: str) -> bool:
        """Removes an original; False if there was none. Raises StorageFault."""
        folder = self._originals_of(place)
        try:
            os.unlink(folder / name)
            _sync_folder(folder)
        except OSError as error:
            if error.errno in _ABSENT:
                return False
            raise StorageFault("The file cannot be deleted.", str(error)) from error
        return True

    def delete_thumbnails(self, place: str, root: str, extension: str, spared: Set[int]) -> None:
        """Removes the thumbnails `ROOT_SCALE.EXT` of one root, except those changed at a time in *spared*."""
        folder = self._thumbnails_of(place)
        spared_microseconds = {time_ns // 1000 for time_ns in spared}
        try:
            # Not by a look through the folder: that would take ever longer.
            for size in self._sizes_of(place).known():
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
                        if os.lstat(folder / name).st_mtime_ns // 1000 not in spared_microseconds:
                            os.unlink(folder / name)
        except OSError as error:
            raise StorageFault("The thumbnails cannot be deleted.", str(error)) from error

    @contextlib.contextmanager
    def local_original(self, place: str, name: str) -> Iterator[Path]:
        """Gives the path at which tools can read an original. Raises NotFound."""
        yield self._resolve(self._originals_of(place) / name)

    @contextlib.contextmanager
    def new_thumbnail(self, place: str, name: str) -> Iterator["DiskThumbnail"]:
        """Gives a private path for a thumbnail to be made at; whatever is not published is removed."""
        thumbnails = self._thumbnails_of(place)
        with _faults():
            _private(thumbnails).mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="thumbnail-", dir=_private(thumbnails)))
        try:
            yield DiskThumbnail(folder / "picture", thumbnails / name)
        finally:
            # A tool that was killed may still be closing its files there; what stays is swept at the next start.
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def alone_with_thumbnail(self, place: str, name: str) -> Iterator[None]:
        """Holds off everybody else, in other processes too, who calls this for the same thumbnail."""
        key = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        path = _private(self._thumbnails_of(place)) / f"lock-{key}"
        with _faults():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = _lock(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def keeps_size(self, place: str, size: int) -> bool:
        """Whether thumbnails of this size are kept; registers the size if there is room for one more."""
        with _faults():
            return self._sizes_of(place).admits(size)

    def largest_kept_size(self, place: str, size: int) -> int | None:
        """The largest size, up to this one, of which thumbnails are kept; None if there is none."""
        with _faults():
            return max((known for known in self._sizes_of(place).known() if known <= size), default=None)

    def _sizes_of(self, place: str) -> ThumbnailSizes:
        return ThumbnailSizes(self._thumbnails_of(place), self._most_sizes)

    def _originals_of(self, place: str) -> Path:
        return self._base / place / self._originals

    def _thumbnails_of(self, place: str) -> Path:
        return self._base / place / self._thumbnails

    def _open(self, path: Path) -> StoredFile:
        try:
            try:
                descriptor = _open_no_link(path)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                descriptor = _open_no_link(self._resolve(path))
        except OSError as error:
            if error.errno in (*_ABSENT, errno.ELOOP):
                raise NotFound("There is no such file.") from None
            raise StorageFault("The file cannot be read.", str(error)) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise NotFound("There is no such file.", f"{path} is not a regular file")
        return StoredFile(os.fdopen(descriptor, "rb", buffering=0), _version(status))

    def _resolve(self, path: Path) -> Path:
        """Follows a symbolic link only to another file of this store."""
        try:
            target = path.resolve(strict=True) if path.is_symlink() else path
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
            raise NotFound("There is no such file.", str(error)) from error
        own_folders = (self._originals, self._thumbnails)
        if target != path and not (target.is_relative_to(self._base.resolve()) and target.parent.name in own_folders):
            raise NotFound("There is no such file.", f"{path} links out of the store, to {target}")
        return target


class DiskIncoming:
    """An upload in a private file, which `commit` renames to its place.

    Parameters:
        private: the folder for the unfinished file.
        folder_of: gives the folder of originals of a place.
    """

    def __init__(self, private: Path, folder_of: Callable[[str], Path]) -> None:
        self._folder_of = folder_of
        self._path = private / f"upload-{uuid.uuid4()}"
        with _faults():
            private.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def write(self, data: bytes) -> None:
        """Adds bytes. Raises OutOfSpace, StorageFault."""
        with _faults():
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]

    def commit(self, place: str, name: str) -> bool:
        """Gives the upload its name, durably. Returns True if it replaced a file of that name."""
        target = self._folder_of(place) / name
        with _faults():
            # The kernel's own time stamps are milliseconds apart; two versions may not be.
            now = time.time_ns()
            os.utime(self._descriptor, ns=(now, now))
            os.fsync(self._descriptor)
            target.parent.mkdir(parents=True, exist_ok=True)
            replaces = target.exists()
            _rename(self._path, target)
            _sync_folder(target.parent)
        return replaces

    def __enter__(self) -> "DiskIncoming":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)


class DiskThumbnail:
    """A thumbnail that a tool makes at `path` and that `publish` renames to its place."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self._target = target

    def publish(self, modified_ns: int) -> None:
        """Makes the picture visible under its name, with this time of change. Raises OutOfSpace, StorageFault."""
        with _faults():
            # Synced although it could be made again: after a crash an empty picture would be believed.
            with open(self.path, "rb") as picture:
                os.utime(picture.fileno(), ns=(modified_ns, modified_ns))
                os.fsync(picture.fileno())
            _rename(self.path, self._target)


def _open_no_link(path: Path) -> int:
    # O_NONBLOCK: a named pipe that somebody put there must not hang the server.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def _version(status: os.stat_result) -> Version:
    etag = f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'
    return Version(status.st_size, status.st_mtime_ns, status.st_ctime_ns, etag)


def _private(folder: Path) -> Path:
    """The server's own folder inside *folder*, hence on its file system."""
    return folder / PRIVATE_FOLDER


def _rename(source: Path, target: Path) -> None:
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # A collection on a file system of its own, and the file came before its collection's name.
        private = _private(target.parent)
        private.mkdir(mode=0o700, exist_ok=True)
        copy = private / source.name
        try:
            shutil.copy2(source, copy)
            with open(copy, "rb") as copied:
                os.fsync(copied.fileno())
            os.rename(copy, target)
        finally:
            copy.unlink(missing_ok=True)


def _lock(path: Path) -> int:
    """Makes and locks a file, waiting for its turn; the holder removes it before letting go."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)  # it was removed while we waited for it


def _sync_folder(folder: Path) -> None:
    """Makes a rename or removal in *folder* durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot do this with folders; the file itself is synced.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _sweep(private: Path) -> None:
    """Makes the private folder, and removes from it what a crashed process left."""
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    oldest = time.time() - _ABANDONED_AFTER_SECONDS
    for entry in private.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another server process sweeps, too
            if entry.lstat().st_mtime >= oldest or entry.name == ThumbnailSizes.FOLDER:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """Turns errors of the operating system into ours; the path goes to the log only."""
    try:
        yield
    except AssetError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise OutOfSpace("The server's disk is full; nothing was stored.", str(error)) from error
        if error.errno in (errno.EISDIR, errno.ENOTEMPTY):
            raise BadRequest("There is a folder of this name where the file would have to be.", str(error)) from error
        if error.errno == errno.ENAMETOOLONG:
            raise BadRequest("The file name is too long for the server's file system.", str(error)) from error
        raise StorageFault("The server cannot write to its attachment folder.", str(error)) from error
