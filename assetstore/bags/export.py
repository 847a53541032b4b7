"""Exports originals as a bag.

Until a bag is complete, its payload contains a work file, which makes it invalid for validators. The work file lists
each file that is copied and synced, so that the same command can resume. Files that were replaced in the store in the
meantime are copied again; deleted ones are removed from the bag.

Concurrency: can run while the server is running. A file that is replaced, or edited in place, while it is copied is
copied again. Only one export uses a folder at a time.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from assetstore import __version__
from assetstore.bags import library
from assetstore.bags.inventory import INVENTORY, Item, payload_path, write_inventory
from assetstore.concurrency.rate_limit import Interrupted, RateLimit
from assetstore.errors import AssetError, BadRequest, NotFound, OutOfSpace, Overtaken, StorageFault, Unavailable
from assetstore.journal import events
from assetstore.originals.service import Originals
from assetstore.storage.models import Listed, StoredFile

#: The work file, in the bag.
WORK_FILE = "data/export-in-progress.jsonl"

CHANGED, MODIFIED, UNREADABLE = "changed", "modified", "unreadable"

#: What each problem means.
MEANINGS = {
    CHANGED: "is in the bag, but does not match the checksum in the journal",
    MODIFIED: "is not in the bag, because it was modified each time it was copied",
    UNREADABLE: "is not in the bag, because it cannot be read",
}

_CHUNK = 1 << 20

#: How many times to copy a file.
_ATTEMPTS = 3


@dataclass(frozen=True)
class Problem:
    """A file that does not match the journal, or is missing from the bag; *kind* is a key of MEANINGS."""

    kind: str
    collection_dir: str
    name: str


@dataclass(frozen=True, slots=True)
class _Copied(Item):
    """An item of the work file; *tag* is that of the version in the bag."""

    tag: str


class Export:
    """The export of one bag.

    Parameters:
        originals: the store.
        folder: of the bag; created if missing.
        collection_dirs: the folders of the collections to export, each with the name of its collection.
        information: further lines of bag-info.txt.
        rate_limit: limits reading.

    Raises:
        BadRequest: the folder contains other files.
        Unavailable: the library bagit is not installed.
    """

    def __init__(
        self,
        originals: Originals,
        folder: Path,
        collection_dirs: Mapping[str, str],
        information: Mapping[str, str],
        rate_limit: RateLimit,
    ) -> None:
        self._bagit = library.bagit()  # needed at the end, which hours of copying may precede
        self._originals = originals
        self._folder = folder
        self._collection_dirs = collection_dirs
        self._information = information
        self._rate_limit = rate_limit
        self._taken = {WORK_FILE}
        self._items: list[Item] = []
        self.reused = 0

    @property
    def files(self) -> int:
        """How many files are in the bag so far."""
        return len(self._items)

    @property
    def bytes(self) -> int:
        """How many bytes are in the bag so far."""
        return sum(item.size for item in self._items)

    def run(self, progress: Callable[[int], None] = lambda _bytes: None) -> Iterator[Problem]:
        """Writes the bag, or resumes it; yields problems with files.

        Parameters:
            progress: called with the size of each file that is done.

        Raises:
            BadRequest: the folder has other content.
            Unavailable: another export uses the folder, or the store cannot be reached.
            OutOfSpace, StorageFault: the bag cannot be written, or the store cannot be read.
        """
        with _faults(), self._work_file() as work:
            known = self._resumed(work)
            for collection_dir in self._collection_dirs:
                suspects = []
                for listed in self._originals.storage.originals(collection_dir):
                    problem = self._add(collection_dir, listed, known.get((collection_dir, listed.name)), work)
                    if problem == UNREADABLE:
                        suspects.append(listed.name)
                    elif problem is not None:
                        yield Problem(problem, collection_dir, listed.name)
                    progress(listed.size)
                if suspects:  # files that are no longer listed were deleted in the meantime
                    still = {listed.name for listed in self._originals.storage.originals(collection_dir)}
                    yield from (Problem(UNREADABLE, collection_dir, name) for name in suspects if name in still)
            self._finish()
            (self._folder / WORK_FILE).unlink()

    @contextlib.contextmanager
    def _work_file(self) -> Iterator[int]:
        path = self._folder / WORK_FILE
        self._folder.mkdir(parents=True, exist_ok=True)
        if not path.exists() and any(self._folder.iterdir()):
            raise BadRequest(f"{self._folder} is not empty and contains no unfinished bag. Choose a new folder.")
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unavailable(f"Another export is using {self._folder}.") from None
            yield descriptor
        finally:
            os.close(descriptor)

    def _resumed(self, work: int) -> "dict[tuple[str, str], _Copied]":
        """The files that an interrupted export has copied."""
        known: dict[tuple[str, str], _Copied] = {}
        lines = os.pread(work, os.fstat(work).st_size, 0).decode("utf-8", "replace").split("\n")
        os.ftruncate(work, sum(len(line.encode()) + 1 for line in lines[:-1]))  # the last line is incomplete
        for line in lines[:-1]:
            with contextlib.suppress(ValueError, TypeError):
                copied = _from_line(line)
                known[copied.collection_dir, copied.name] = copied
                self._taken.add(copied.path.lower())
        return known

    def _add(self, collection_dir: str, listed: Listed, known: "_Copied | None", work: int) -> str | None:
        """Copies a file unless the bag has its current version; returns the kind of problem, None if there is none."""
        if known is not None and (known.size, known.tag) == (listed.size, listed.tag):
            with contextlib.suppress(FileNotFoundError):
                if (self._folder / known.path).stat().st_size == known.size:
                    self._items.append(known)
                    self.reused += 1
                    return None
        path = known.path if known is not None else payload_path(collection_dir, listed.name, self._taken)
        for _ in range(_ATTEMPTS - 1):
            # The file was replaced or modified while it was read, or the store is briefly unavailable.
            with contextlib.suppress(Unavailable):
                return self._copy(collection_dir, listed, path, work)
        try:
            return self._copy(collection_dir, listed, path, work)
        except Overtaken:
            return MODIFIED

    def _copy(self, collection_dir: str, listed: Listed, path: str, work: int) -> str | None:
        try:
            stored = self._originals.storage.open_original(collection_dir, listed.name)
        except (NotFound, StorageFault):
            return UNREADABLE
        with stored:
            try:
                sha256 = self._copied(stored, path)
            except _Unreadable:
                (self._folder / path).unlink()
                return UNREADABLE
            size, modified_ns, tag = stored.version.size, stored.version.modified_ns, stored.version.tag
        item = _Copied(
            path, self._collection_dirs[collection_dir], collection_dir, listed.name, size, modified_ns, sha256, tag
        )
        self._items.append(item)
        os.write(work, _as_line(item))
        return CHANGED if self._is_changed(item, stored.version.etag) else None

    def _copied(self, stored: StoredFile, path: str) -> str:
        """Copies an open original into the bag, synced; returns its checksum."""
        target, checksum = self._folder / path, hashlib.sha256()
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "wb") as copy:
            while data := _read(stored):
                checksum.update(data)
                copy.write(data)
                self._rate_limit.spend(len(data))
                if self._rate_limit.ending.is_set():
                    raise Interrupted
            stored.check_unmodified()
            copy.flush()
            os.utime(copy.fileno(), ns=(stored.version.modified_ns, stored.version.modified_ns))
            os.fsync(copy.fileno())
        return checksum.hexdigest()

    def _is_changed(self, item: Item, etag: str) -> bool:
        """Whether the journal has another checksum for this version of the file."""
        if not self._differs(item):
            return False
        with contextlib.ExitStack() as stack:
            # An upload stores the file before it adds its event, and holds the lock meanwhile. A read-only or full disk
            # has no locks.
            with contextlib.suppress(StorageFault, OutOfSpace):
                stack.enter_context(self._originals.storage.locked_original(item.collection_dir, item.name))
            if not self._differs(item):
                return False
            try:
                return self._originals.storage.version(item.collection_dir, item.name).etag == etag
            except NotFound:
                return False

    def _differs(self, item: Item) -> bool:
        """Whether the last event of the name has another checksum."""
        known = self._originals.journal.latest(item.collection_dir, item.name)
        return known is not None and known.operation in events.PRESENT and known.sha256 not in (None, item.sha256)

    def _finish(self) -> None:
        """Writes the tag files of the bag, and removes files that do not belong to it."""
        paths = {WORK_FILE, *(item.path for item in self._items)}
        for folder, _, names in os.walk(self._folder / "data"):
            for name in names:
                path = Path(folder) / name
                if path.relative_to(self._folder).as_posix() not in paths:
                    path.unlink()
        write_inventory(self._folder / INVENTORY, self._items)
        with open(self._folder / "manifest-sha256.txt", "w", encoding="utf-8") as manifest:
            manifest.writelines(f"{item.sha256}  {item.path}\n" for item in self._items)
        declaration = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
        (self._folder / "bagit.txt").write_text(declaration, encoding="utf-8")
        bag = self._bagit.Bag(str(self._folder))
        bag.info.update(self._bag_information())
        bag.save()
        os.sync()

    def _bag_information(self) -> dict[str, str]:
        collections = ", ".join(sorted(name for name in self._collection_dirs.values() if name))
        return {
            "Bag-Software-Agent": f"Web Asset Server {__version__}",
            "Bagging-Date": time.strftime("%Y-%m-%d"),
            "External-Description": f"Attachments of Specify{f': {collections}' if collections else ''}",
            **self._information,
            "Payload-Oxum": f"{self.bytes}.{self.files}",
        }


class _Unreadable(Exception):
    """The store failed while a file was read."""


def _read(stored: StoredFile) -> bytes:
    try:
        return stored.file.read(_CHUNK)
    except Unavailable:
        raise
    except (OSError, AssetError) as error:
        raise _Unreadable from error


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """Converts OSError to errors of the store."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutOfSpace("The disk with the bag is full. Free space, then repeat the command to resume.") from error
        raise StorageFault("The bag cannot be written.", str(error)) from error


def _as_line(item: _Copied) -> bytes:
    row = asdict(item)
    row["place"] = row.pop("collection_dir")  # so that exports of earlier versions can be resumed
    return (json.dumps(row) + "\n").encode()


def _from_line(line: str) -> _Copied:
    """Raises ValueError, TypeError."""
    row = dict(json.loads(line))
    return _Copied(collection_dir=row.pop("place", None), **row)
