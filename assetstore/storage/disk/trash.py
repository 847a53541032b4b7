"""The trash of one folder of originals: a private folder beside them, on the same file system.

Each entry is a file named `2026-11-24T10.31.07.123456789-deleted-NAME` (UTC, to the nanosecond), so that `ls` and `mv`
are enough to restore it in an emergency. Moving a file there requires only the space of a folder entry, and a small
reserve exists for that. A file whose name is too long goes into a folder `2026-11-24T10.31.07.123456789-deleted`.

Concurrency: a thread that adds or removes an entry holds the lock of its store name (`OriginalReader.locked_original`),
so two entries of one name are never created at the same time.
"""

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from assetstore.files.durable import confirm, sync_folder
from assetstore.files.private_folders import make_private, private_folder
from assetstore.names import LONGEST_NAME, is_store_name
from assetstore.storage.disk.files import exchange
from assetstore.storage.models import DELETED, REPLACED, TrashEntry
from assetstore.storage.trash_names import STAMP_PATTERN, stamp, timestamp_ns

#: The folder of the trash, in the private folder of the originals.
TRASH_FOLDER = "trash"

#: The folder of the reserve: files that only take up space, for deletes on a full disk. They are small and removed one
#: at a time, because other programs use space that becomes free. Each makes room for dozens of entries in the trash.
RESERVE_FOLDER = "ballast"
_RESERVE_PIECES, _PIECE_BYTES = 32, 16 * 1024

#: The error numbers of a full disk.
_FULL = (errno.ENOSPC, errno.EDQUOT)

#: The error numbers if a file cannot have two names.
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

_ENTRY = re.compile(rf"{STAMP_PATTERN}-({DELETED}|{REPLACED})(?:-(.+))?", re.ASCII | re.DOTALL)


class DiskTrash:
    """The trash of one collection folder.

    Parameters:
        collection_dir: the collection folder, for the entries.
        originals: the folder of originals.
    """

    def __init__(self, collection_dir: str, originals: Path) -> None:
        self._collection_dir = collection_dir
        self._folder = private_folder(originals) / TRASH_FOLDER
        self._reserve_folder = private_folder(originals) / RESERVE_FOLDER

    def prepare(self) -> None:
        """Creates the folder in advance, so that deletes work on a full disk. Raises OSError."""
        make_private(self._folder)

    def replace(self, new: Path, original: Path) -> None:
        """Replaces an original by a file of the same file system, and moves the original to the trash.

        At all times, one of the two has the name. Raises OSError; the original then still has its name.
        """
        entry = self._free_path(original.name, REPLACED)
        try:
            self._replace(new, original, entry)
        except BaseException:
            self._tidy(entry)
            raise

    def _replace(self, new: Path, original: Path, entry: Path) -> None:
        try:
            os.link(original, entry, follow_symlinks=False)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            self._exchange(new, original, entry)
            return
        try:
            sync_folder(entry.parent)
            os.rename(new, original)
        except BaseException:
            # A file server may report a failure after the rename succeeded: never remove the only name of the original.
            if _is_same(entry, original):
                entry.unlink()
            raise

    def _exchange(self, new: Path, original: Path, entry: Path) -> None:
        """Does the same without hard links, which the file system does not support or the user may not create.

        If a failure cannot be undone either, an entry is left in the trash and nothing is lost. It contains the new
        bytes or, in the worst case, the original, which then has no other name. `manage.py trash restore` restores
        either, and `manage.py verify` reports the latter as missing.
        """
        arrived = new.lstat()
        os.rename(new, entry)
        try:
            sync_folder(entry.parent)
            exchange(entry, original)
        except OSError as error:
            if not os.path.samestat(entry.lstat(), arrived):
                raise  # exchanged in spite of the error: the entry is the old version
            os.rename(entry, new)
            if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
                raise
            # The last resort: for a very short time no file has the name.
            os.rename(original, entry)
            try:
                sync_folder(entry.parent)
                os.rename(new, original)
            except BaseException:
                os.rename(entry, original)
                raise
        confirm(entry.parent, replaces=True)

    def move(self, original: Path) -> None:
        """Moves an original to the trash. Raises OSError; the original then still has its name."""
        try:
            self._move(original)
        except OSError as error:
            if error.errno not in _FULL or not self._release_reserve():
                raise
            self._move(original)

    def _move(self, original: Path) -> None:
        entry = self._free_path(original.name, DELETED)
        try:
            os.rename(original, entry)
            try:
                sync_folder(entry.parent)
            except BaseException:
                os.rename(entry, original)
                raise
        except BaseException:
            self._tidy(entry)
            raise

    def fill_reserve(self) -> None:
        """Reserves some space for the folder to grow, so that deletes work on a full disk. Raises OSError."""
        make_private(self._reserve_folder)
        for number in range(_RESERVE_PIECES):
            piece = self._reserve_folder / str(number)
            if piece.exists():
                continue
            try:
                piece.write_bytes(bytes(_PIECE_BYTES))
            except OSError as error:
                piece.unlink(missing_ok=True)
                if error.errno not in _FULL:
                    raise
                return

    def _release_reserve(self) -> bool:
        """Releases a piece of the reserve; False if none is left."""
        with contextlib.suppress(OSError):
            for piece in self._reserve_folder.iterdir():
                piece.unlink()
                return True
        return False

    def _tidy(self, entry: Path) -> None:
        """Removes the folder of an entry that could not be created."""
        if entry.parent != self._folder:
            with contextlib.suppress(OSError):
                entry.parent.rmdir()

    def entries(self) -> Iterator[TrashEntry]:
        """Yields the entries, oldest first, and skips other files in the folder. Raises OSError."""
        try:
            identifiers = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return
        for identifier in identifiers:
            # The entry was restored or purged meanwhile, or a file has the name of a folder.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                entry = self._read(identifier)
                if entry is not None:
                    yield entry

    def entry(self, identifier: str) -> TrashEntry | None:
        """Returns the entry of this identifier, None if there is none. Raises OSError."""
        if "/" in identifier or "\0" in identifier:
            return None  # from a client: it must not become a path of several folders
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return self._read(identifier)
        return None

    def path(self, entry: TrashEntry) -> Path:
        """Returns the path of the file of an entry."""
        path = self._folder / entry.identifier
        return path / entry.name if _has_folder(entry) else path

    def forget(self, entry: TrashEntry) -> None:
        """Removes the folder of an entry, if it has one, after its file. Raises OSError."""
        if _has_folder(entry):
            (self._folder / entry.identifier).rmdir()

    def _free_path(self, name: str, reason: str) -> Path:
        """A path for a new entry, with the current time, or the next free nanosecond."""
        self.prepare()
        timestamp = time.time_ns()
        while True:
            identifier = f"{stamp(timestamp)}-{reason}"
            is_long = len(f"{identifier}-{name}".encode()) > LONGEST_NAME
            path = self._folder / (identifier if is_long else f"{identifier}-{name}")
            if not os.path.lexists(path):
                break
            timestamp += 1
        if not is_long:
            return path
        path.mkdir(mode=0o700)
        sync_folder(self._folder)
        return path / name

    def _read(self, identifier: str) -> TrashEntry | None:
        match = _ENTRY.fullmatch(identifier)
        if match is None:
            return None
        path = f"{self._folder}/{identifier}"  # no Path: there may be thousands
        second, fraction, reason, name = match.groups()
        if name is None:
            # The folder is empty after a crash between creating it and moving the file.
            name = next(iter(os.listdir(path)), None)
            if name is None:
                return None
            path = f"{path}/{name}"
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode) or not is_store_name(name):
            return None
        removed_ns = timestamp_ns(second, fraction)
        if removed_ns is None:
            return None
        return TrashEntry(
            identifier, self._collection_dir, name, removed_ns, reason, status.st_size, status.st_mtime_ns
        )


def _is_same(one: Path, other: Path) -> bool:
    """Whether two names are known to be those of the same file."""
    try:
        return os.path.samestat(one.lstat(), other.lstat())
    except OSError:
        return False


def _has_folder(entry: TrashEntry) -> bool:
    """Whether the entry is a folder with the file in it, because the name was too long."""
    match = _ENTRY.fullmatch(entry.identifier)
    return match is not None and match[4] is None
