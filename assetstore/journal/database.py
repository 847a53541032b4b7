"""The SQLite database of the journal: one connection for each process, and recovery if it was deleted or damaged.

Concurrency: any thread and any process may use it. In a process, a lock guards the one connection; between processes,
SQLite uses its own locks. With write-ahead logging, readers do not block, and adding an event does not wait for the
disk. After a power failure the last events may be missing, but the database is intact.

Other programs, such as a backup or an SQLite shell, may lock the database for any time. Requests wait for a fraction of
a second at most, whatever their number: after a failure, further calls fail immediately for a second. Only calls that
say so wait longer, and they let others pass in the meantime.
"""

import contextlib
import errno
import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assetstore.errors import JournalLocked, ReadOnly, StorageFault
from assetstore.files import sqlite_files
from assetstore.files.private_folders import make_private_folder
from assetstore.names import PRIVATE_FOLDER

_log = logging.getLogger(__name__)

#: How long a call waits for another program that uses the database, in seconds; and how long a patient one.
_BUSY_SECONDS = 0.25
PATIENT_SECONDS = 5.0

#: After a wait in vain, how long further calls fail immediately, in seconds, so that waits do not add up.
_LOCKED_SECONDS = 1.0

#: How often to try to get a lock.
_POLL_SECONDS = 0.02

#: Free space that opening the database requires.
_ROOM_BYTES = 2 * sqlite_files.LOG_INDEX_BYTES

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
    client TEXT NOT NULL,          -- address, or the command
    original_name TEXT             -- of the file before it was uploaded, as the client sent it
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
CREATE INDEX IF NOT EXISTS checks_by_time ON checks (time_ns);
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY,
    began_ns INTEGER NOT NULL,
    ended_ns INTEGER,
    summary TEXT                   -- JSON
);
CREATE TABLE IF NOT EXISTS queues (
    identifier TEXT PRIMARY KEY,   -- of a queue of events that waited for the database
    events INTEGER NOT NULL        -- how many of them are in the table of events
) WITHOUT ROWID;
"""


class Database:
    """The database of a journal: created at the first use, created again if deleted, and renamed if damaged.

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
        self._locked_until = {"read": 0.0, "write": 0.0}

    @property
    def folder(self) -> Path:
        """The folder of the database; it may not exist yet."""
        return self._folder

    @contextlib.contextmanager
    def writing(self, *, is_patient: bool = False, is_durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Yields the connection for a transaction that writes.

        Parameters:
            is_patient: whether to wait for some seconds if another program has locked the database.
            is_durable: whether the transaction survives a power failure.

        Raises JournalLocked, StorageFault.
        """
        with self._faults(), self._begun(is_patient, is_durable) as connection, connection:
            yield connection

    @contextlib.contextmanager
    def _begun(self, is_patient: bool, is_durable: bool) -> Iterator[sqlite3.Connection]:
        end = time.monotonic() + (PATIENT_SECONDS if is_patient else 0.0)
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(self._lock)
                    connection = self._available("write", is_patient)
                    connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
                    connection.execute("BEGIN IMMEDIATE")
                    break
                except sqlite3.OperationalError as error:
                    if not sqlite_files.is_locked(error) or time.monotonic() >= end:
                        self._note_lock("write", error)
                        raise
                stack.close()  # requests of this process go first
                time.sleep(_POLL_SECONDS)
            yield connection

    def row(self, query: str, arguments: tuple[object, ...] = ()) -> tuple[Any, ...] | None:
        """Returns the first row of a query; None if there is none. Raises JournalLocked, StorageFault."""
        with self._faults(), self._lock:
            found: tuple[Any, ...] | None
            try:
                found = self._available("read").execute(query, arguments).fetchone()
            except sqlite3.OperationalError as error:
                self._note_lock("read", error)
                raise
            except OSError as error:
                if error.errno != errno.EROFS:
                    raise
                with contextlib.closing(_connect_read_only(self._path)) as connection:
                    found = connection.execute(query, arguments).fetchone()
            return found

    @contextlib.contextmanager
    def reading(self, query: str, arguments: tuple[object, ...] = ()) -> Iterator[Iterator[tuple[Any, ...]]]:
        """Yields the rows of a query, on a separate connection, so that no writer waits for the reader.

        Waits for some seconds if another program has locked the database. Raises JournalLocked, StorageFault.
        """
        with self._faults():
            try:
                with self._lock:
                    self._opened()  # creates the database if it does not exist
            except OSError as error:
                if error.errno != errno.EROFS:
                    raise
                connection = _connect_read_only(self._path)
            else:
                connection = sqlite3.connect(self._path, timeout=PATIENT_SECONDS)
            with contextlib.closing(connection):
                yield iter(connection.execute(query, arguments))

    def _available(self, use: str, is_patient: bool = False) -> sqlite3.Connection:
        """The open database, unless another program had it locked just before."""
        if not is_patient and time.monotonic() < self._locked_until[use]:
            raise _locked("database is locked")
        return self._opened()

    def _note_lock(self, use: str, error: sqlite3.OperationalError) -> None:
        now = time.monotonic()
        if sqlite_files.is_locked(error) and now >= self._locked_until[use]:
            self._locked_until[use] = now + _LOCKED_SECONDS

    def close(self) -> None:
        """Closes the connection. The next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _opened(self) -> sqlite3.Connection:
        """The open database. It is reopened in a child process, and if the file was deleted."""
        inode = sqlite_files.inode(self._path)
        if self._connection is not None and inode and self._opened_as == (os.getpid(), inode):
            return self._connection
        if self._connection is not None and self._opened_as[0] == os.getpid():
            self._connection.close()
        self._connection = None
        make_private_folder(self._base, self._folder.name)
        # Only one process at a time creates the database, or moves a damaged one aside.
        descriptor = os.open(self._folder.with_name("journal.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock_soon(descriptor)
            self._connection = self._open()
            self._opened_as = (os.getpid(), sqlite_files.inode(self._path))
        finally:
            os.close(descriptor)
        return self._connection

    def _open(self) -> sqlite3.Connection:
        if not self._path.exists():
            # The write-ahead log of a deleted database must not be applied to the new one.
            sqlite_files.remove_logs(self._path)
        try:
            connection = _connect(self._path)
            if self._is_suspect and not _is_intact(connection):
                connection.close()
                raise sqlite3.DatabaseError("the database is damaged")
            self._is_suspect = False
            return connection
        except sqlite3.DatabaseError as error:
            if not sqlite_files.is_damaged(error):
                raise
        aside = self._path.with_name(f"damaged-{time.time_ns()}.sqlite")
        self._is_suspect = False
        _log.error("the journal is damaged; it was renamed to %s, and a new one is created", aside.name)
        os.rename(self._path, aside)
        sqlite_files.remove_logs(self._path)
        return _connect(self._path)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeError) as error:
            if sqlite_files.is_damaged(error):
                self._is_suspect = True  # damaged: the next use checks all of it
                self.close()
            if isinstance(error, OSError) and error.errno == errno.EROFS:
                raise ReadOnly("The disk of the journal is read-only.", f"{self._path}: {error}") from error
            if sqlite_files.is_locked(error):
                raise JournalLocked("Another program has locked the journal.", f"{self._path}: {error}") from error
            raise StorageFault("The journal cannot be used.", f"{self._path}: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    disk = os.statvfs(path.parent)
    if disk.f_bavail * disk.f_frsize < _ROOM_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def prepare(connection: sqlite3.Connection) -> None:
        sqlite_files.use_write_ahead_log(connection, path)
        connection.executescript(_SCHEMA)
        _add_column(connection)
        # Detects damage that opening alone does not.
        connection.execute("SELECT MAX(id) FROM events").fetchone()

    return sqlite_files.connect(path, prepare, timeout=_BUSY_SECONDS, check_same_thread=False)


def _add_column(connection: sqlite3.Connection) -> None:
    """Adds the column that journals of versions up to 1.0 lack. Those versions can still use the journal."""
    if not _has_original_names(connection):
        connection.execute("ALTER TABLE events ADD COLUMN original_name TEXT")


def _has_original_names(connection: sqlite3.Connection) -> bool:
    return "original_name" in {row[1] for row in connection.execute("PRAGMA table_info(events)")}


def _connect_read_only(path: Path) -> sqlite3.Connection:
    """Opens a database on a read-only disk. If it has a write-ahead log, the index of the log must exist, too."""
    mode = sqlite_files.read_only_mode(path)
    return sqlite_files.connect(path, _emulate_column, mode=mode, timeout=PATIENT_SECONDS)


def _emulate_column(connection: sqlite3.Connection) -> None:
    if not _has_original_names(connection):
        connection.execute("CREATE TEMP VIEW events AS SELECT *, NULL AS original_name FROM main.events")


def _locked(reason: str) -> sqlite3.OperationalError:
    """The error of SQLite for a locked database."""
    error = sqlite3.OperationalError(reason)
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


def _lock_soon(descriptor: int) -> None:
    """Locks a file. Raises OperationalError if another process holds it for long: it waits for the database, too."""
    end = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise _locked("journal.lock is locked") from None
            time.sleep(_POLL_SECONDS)


def _is_intact(connection: sqlite3.Connection) -> bool:
    """Whether the whole database can be read; this is slow."""
    try:
        return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False
