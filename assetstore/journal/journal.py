"""The journal: what happened to originals, when, at whose request, and with which checksum.

It is an SQLite database in a private folder of the store. The files, not the journal, determine which originals
exist. The journal can be deleted at any time; a new one is created then, and `manage.py verify --adopt` fills it from
the files. Events are only added, never changed. The table of checks has the result of the last verification.

Concurrency: any thread and any process may use it. In a process, a lock guards the one connection; between processes,
SQLite uses its own locks. With write-ahead logging, readers do not block, and adding an event does not wait for the
disk. After a power failure the last events may be missing, but the database is intact. Errors of the journal are
logged, and they never prevent the change that was to be recorded.
"""

import contextlib
import errno
import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assetstore.errors import StorageFault
from assetstore.files.private_folders import make_private_folder
from assetstore.journal import preallocate
from assetstore.names import PRIVATE_FOLDER

_log = logging.getLogger(__name__)

#: What can happen to an original. ADOPTED: the file was unjournaled or differed from the journal, and was accepted.
#: GONE: the file was missing, and this was accepted.
STORED, REPLACED, DELETED, RESTORED = "stored", "replaced", "deleted", "restored"
ADOPTED, GONE, PURGED = "adopted", "gone", "purged"
OPERATIONS = (STORED, REPLACED, DELETED, RESTORED, ADOPTED, GONE, PURGED)

#: After one of these operations, an original of that name exists.
PRESENT = frozenset((STORED, REPLACED, RESTORED, ADOPTED))

#: How long a process waits for another one that writes.
_BUSY_SECONDS = 5

#: How often to try to add an event. An attempt fails if the database is deleted at the same time.
_ATTEMPTS = 3

#: Space for the index of the write-ahead log, which SQLite maps into memory: 32 KiB for each 16 MiB of log.
_INDEX_BYTES = 128 * 1024

#: Free space that opening the database requires.
_ROOM_BYTES = 2 * _INDEX_BYTES

#: The range of integers in SQLite. As nanoseconds, they are the years 1677 to 2262; people may enter others.
_LEAST_NUMBER, _MOST_NUMBER = -(2**63), 2**63 - 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY,
    time_ns INTEGER NOT NULL,      -- since 1970, by the server's clock
    operation TEXT NOT NULL,
    place TEXT NOT NULL,           -- folder of the collection below the store
    name TEXT NOT NULL,            -- store name
    collection TEXT NOT NULL,      -- as the client named it
    size INTEGER,                  -- bytes
    sha256 TEXT,                   -- hexadecimal
    client TEXT NOT NULL           -- address, or the command
);
CREATE INDEX IF NOT EXISTS events_by_name ON events (place, name, id);
CREATE INDEX IF NOT EXISTS events_by_time ON events (time_ns);
CREATE TABLE IF NOT EXISTS checks (
    place TEXT NOT NULL,
    name TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    finding TEXT NOT NULL,         -- empty if nothing was found wrong
    PRIMARY KEY (place, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY,
    began_ns INTEGER NOT NULL,
    ended_ns INTEGER,
    summary TEXT                   -- JSON
);
"""

_SELECT = "SELECT operation, place, name, collection, size, sha256, client, time_ns, id FROM events"


@dataclass(frozen=True)
class Event:
    """An event; the fields are those of the table.

    Fields:
        size, sha256: of the original that was stored or removed; None if unknown.
        identifier, time_ns: set by the journal.
    """

    operation: str
    collection_dir: str
    name: str
    collection: str = ""
    size: int | None = None
    sha256: str | None = None
    client: str = ""
    time_ns: int = 0
    identifier: int = 0


@dataclass(frozen=True)
class Origin:
    """The source of a change: the collection name that was sent, and the client's address or the command."""

    collection: str
    client: str


class Journal:
    """The journal of one store.

    Parameters:
        base: the folder of all attachments.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self._folder = base / PRIVATE_FOLDER / "journal"
        self._path = self._folder / "journal.sqlite"
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened_as: tuple[int, int] = (0, 0)
        self._is_suspect = False
        #: Called with every operation, even if the event cannot be recorded.
        self.on_event: Callable[[str], None] = lambda _operation: None

    def record(self, event: Event) -> bool:
        """Adds an event with the current time. If this fails, logs an error and returns False."""
        self.on_event(event.operation)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._insert(event)
                return True
            except StorageFault as error:
                self.close()
                if attempt < _ATTEMPTS and _may_have_been_deleted(error.__cause__):
                    continue
                what = (event.operation, event.name, event.collection_dir)
                _log.error("event not recorded in the journal: %s %r in %r: %s", *what, error.detail)
                break
        return False

    def _insert(self, event: Event) -> None:
        row = (
            event.operation,
            event.collection_dir,
            event.name,
            event.collection,
            event.size,
            event.sha256,
            event.client,
        )
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO events (time_ns, operation, place, name, collection, size, sha256, client)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                _bounded((event.time_ns or time.time_ns(), *row)),
            )

    def latest(self, collection_dir: str, name: str) -> Event | None:
        """Returns the last event of a name, except purges of the trash; None if there is none. Raises StorageFault."""
        return self._one(
            "WHERE place = ? AND name = ? AND operation != ? ORDER BY id DESC", (collection_dir, name, PURGED)
        )

    def latest_present(self, collection_dir: str, name: str, until_ns: int) -> Event | None:
        """Returns the event that created the original that existed at a time. Raises StorageFault."""
        present = ", ".join(f"'{operation}'" for operation in sorted(PRESENT))
        clauses = f"WHERE place = ? AND name = ? AND time_ns <= ? AND operation IN ({present}) ORDER BY id DESC"
        return self._one(clauses, (collection_dir, name, until_ns))

    def search(
        self,
        *,
        collection_dir: str | None = None,
        name: str | None = None,
        pattern: str | None = None,
        operation: str | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        newest_first: bool = False,
        most: int = -1,
    ) -> Iterator[Event]:
        """Yields events that match all criteria. Raises StorageFault.

        *pattern* is a GLOB pattern of names; *most* limits the number, -1 means all.
        """
        terms = {
            "place = ?": collection_dir,
            "name = ?": name,
            "name GLOB ?": pattern,
            "operation = ?": operation,
            "time_ns >= ?": since_ns,
            "time_ns <= ?": until_ns,
        }
        given = {term: value for term, value in terms.items() if value is not None}
        order = "DESC" if newest_first else "ASC"
        where = f"WHERE {' AND '.join(given)}" if given else ""
        yield from self._events(f"{where} ORDER BY id {order} LIMIT ?", (*given.values(), most))

    def state(self, collection_dir: str, until_ns: int | None = None) -> Iterator[Event]:
        """Yields the last event of every name in a collection folder, up to a time if given. Raises StorageFault."""
        until = "AND time_ns <= ?" if until_ns is not None else ""
        arguments = (collection_dir,) if until_ns is None else (collection_dir, until_ns)
        where = f"place = ? AND operation != '{PURGED}' {until}"
        last = f"SELECT MAX(id) FROM events WHERE {where} GROUP BY name"  # noqa: S608 - only constants
        yield from self._events(f"WHERE id IN ({last}) ORDER BY name", arguments)

    def following(self, collection_dir: str, timestamp_ns: int) -> Iterator[Event]:
        """Yields the first event of every name in a collection folder after a time. Raises StorageFault."""
        where = f"place = ? AND operation != '{PURGED}' AND time_ns > ?"
        first = f"SELECT MIN(id) FROM events WHERE {where} GROUP BY name"  # noqa: S608 - only constants
        yield from self._events(f"WHERE id IN ({first})", (collection_dir, timestamp_ns))

    def _events(self, clauses: str, arguments: tuple[object, ...]) -> Iterator[Event]:
        with self.reading(f"{_SELECT} {clauses}", arguments) as rows:
            for row in rows:
                yield Event(*row)

    def _one(self, clauses: str, arguments: tuple[object, ...]) -> Event | None:
        with self._transaction() as connection:
            row = connection.execute(f"{_SELECT} {clauses} LIMIT 1", _bounded(arguments)).fetchone()
        return Event(*row) if row else None

    @contextlib.contextmanager
    def reading(self, query: str, arguments: tuple[object, ...] = ()) -> Iterator[Iterator[tuple[Any, ...]]]:
        """Yields the rows of a query, on a separate connection, so that no writer waits for the reader.

        Raises StorageFault.
        """
        with self._faults():
            with self._transaction():
                pass  # creates the database if it does not exist
            with contextlib.closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS)) as connection:
                yield iter(connection.execute(query, _bounded(arguments)))

    def write(self, statement: str, arguments: tuple[object, ...]) -> int:
        """Executes a statement on the tables of checks and runs; returns the last row ID. Raises StorageFault."""
        with self._transaction() as connection:
            return connection.execute(statement, arguments).lastrowid or 0

    def probe(self) -> None:
        """Tests whether the journal can be written, without changing it. Raises StorageFault."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM events WHERE id IS NULL")

    def close(self) -> None:
        """Closes the connection. The next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._faults():
            connection = self._opened()
            with connection:
                yield connection

    def _opened(self) -> sqlite3.Connection:
        """The open database. It is reopened in a child process, and if the file was deleted."""
        inode = _inode(self._path)
        if self._connection is not None and inode and self._opened_as == (os.getpid(), inode):
            return self._connection
        if self._connection is not None and self._opened_as[0] == os.getpid():
            self._connection.close()
        self._connection = None
        make_private_folder(self._base, self._folder.name)
        # Only one process at a time creates the database, or moves a damaged one aside.
        descriptor = os.open(self._folder.with_name("journal.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._connection = self._open()
            self._opened_as = (os.getpid(), _inode(self._path))
        finally:
            os.close(descriptor)
        return self._connection

    def _open(self) -> sqlite3.Connection:
        if not self._path.exists():
            # The write-ahead log of a deleted database must not be applied to the new one.
            _remove_logs(self._path)
        try:
            connection = _connect(self._path)
            if self._is_suspect and not _is_intact(connection):
                connection.close()
                raise sqlite3.DatabaseError("the database is damaged")
            self._is_suspect = False
            return connection
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:
                raise
        aside = self._path.with_name(f"damaged-{time.time_ns()}.sqlite")
        self._is_suspect = False
        _log.error("the journal is damaged; it was renamed to %s, and a new one is created", aside.name)
        os.rename(self._path, aside)
        _remove_logs(self._path)
        return _connect(self._path)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeError) as error:
            if type(error) is sqlite3.DatabaseError:
                self._is_suspect = True  # damaged: the next use checks all of it
                self.close()
            raise StorageFault("The journal cannot be used.", f"{self._path}: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    disk = os.statvfs(path.parent)
    if disk.f_bavail * disk.f_frsize < _ROOM_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("SELECT name FROM sqlite_master").fetchone()  # creates the index of the write-ahead log
        preallocate.allocate(path.with_name(path.name + "-shm"), _INDEX_BYTES)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
        # Detects damage that opening alone does not.
        connection.execute("SELECT MAX(id) FROM events").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _bounded(arguments: tuple[object, ...]) -> tuple[object, ...]:
    """Limits integers to those of SQLite; a time beyond them is before or after all events anyway."""
    return tuple(
        max(_LEAST_NUMBER, min(argument, _MOST_NUMBER)) if isinstance(argument, int) else argument
        for argument in arguments
    )


def _may_have_been_deleted(error: BaseException | None) -> bool:
    """Whether the database files may have been deleted during the call; not if another process held a lock."""
    return isinstance(error, sqlite3.DatabaseError) and "locked" not in str(error)


def _is_intact(connection: sqlite3.Connection) -> bool:
    """Whether the whole database can be read; this is slow."""
    try:
        return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _remove_logs(path: Path) -> None:
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
