"""The index of visibility: an SQLite database beside the journal, which can be deleted and is rebuilt at any time.

It has the records of the source, and for each store name the state that follows from them. A request needs one indexed
look-up. Without the index, nothing is known, so nothing is public.

Concurrency: any thread and any process may read; a process has one connection for that, behind a lock. Only the process
that polls writes (`poller`), and a reader sees either all of a poll or nothing of it (write-ahead logging).
"""

import contextlib
import errno
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assetstore.errors import ReadOnly, StorageFault
from assetstore.files import sqlite_files
from assetstore.files.private_folders import make_private_folder, private_folder
from assetstore.visibility.models import PUBLIC

_log = logging.getLogger(__name__)

#: How long to wait for another process that writes, in seconds. Readers never wait.
_BUSY_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    part INTEGER NOT NULL,
    id INTEGER NOT NULL,           -- AttachmentID, or the line of a table
    name TEXT NOT NULL,            -- store name
    public INTEGER NOT NULL,       -- whether the record itself is public
    complete INTEGER NOT NULL,     -- whether its specimen is known
    embargo TEXT                   -- as embargo.py encodes it
);
CREATE INDEX IF NOT EXISTS records_by_part ON records (part);
CREATE INDEX IF NOT EXISTS records_by_name ON records (name);
CREATE TABLE IF NOT EXISTS parts (
    number INTEGER PRIMARY KEY,
    checksum TEXT NOT NULL,
    complete INTEGER NOT NULL      -- whether all its public records are complete
);
CREATE TABLE IF NOT EXISTS files (
    name TEXT PRIMARY KEY,         -- store name
    state INTEGER NOT NULL,        -- 1 public, 0 private
    next_change INTEGER,           -- the day (since 1970, UTC) from which the state is another one
    known INTEGER NOT NULL,        -- 0: no current, complete record, so the last state counts
    since_ns INTEGER NOT NULL      -- when the state was first seen
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_by_change ON files (next_change) WHERE next_change IS NOT NULL;
CREATE TABLE IF NOT EXISTS changes (
    id INTEGER PRIMARY KEY,        -- of a change of state that is not in the journal yet
    name TEXT NOT NULL,
    state INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
"""

_TABLES = ("records", "parts", "files", "changes", "facts")


class Index:
    """The index of one store.

    Parameters:
        base: the folder of all attachments.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self._path = private_folder(base) / "visibility" / "visibility.sqlite"
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened_as: tuple[int, int] = (0, 0)

    def is_public(self, name: str, day: int) -> bool:
        """Says whether a file is public on a day. Raises StorageFault: the index cannot be read."""
        row = self.row("SELECT state, next_change FROM files WHERE name = ?", (name,))
        # A date at which a file becomes private takes effect without a poll; becoming public requires one.
        return row is not None and row[0] == PUBLIC and (row[1] is None or day < row[1])

    def row(self, query: str, arguments: tuple[object, ...] = ()) -> tuple[Any, ...] | None:
        """Returns the first row of a query; None if there is none, or no index. Raises StorageFault."""
        rows = self.rows(query, arguments, most=1)
        return rows[0] if rows else None

    def rows(self, query: str, arguments: tuple[object, ...] = (), most: int = -1) -> list[tuple[Any, ...]]:
        """Returns at most *most* rows of a query (-1: all), and none if there is no index. Raises StorageFault."""
        with _faults(self._path), self._lock:
            connection = self._opened()
            if connection is None:
                return []
            cursor = connection.execute(query, arguments)
            return cursor.fetchall() if most < 0 else cursor.fetchmany(most)

    @contextlib.contextmanager
    def reading(self, query: str, arguments: tuple[object, ...] = ()) -> Iterator[Iterator[tuple[Any, ...]]]:
        """Yields the rows of a long query, on a separate connection. Raises StorageFault."""
        with _faults(self._path):
            if sqlite_files.inode(self._path) == 0:
                yield iter(())
                return
            with contextlib.closing(_reader(self._path)) as connection:
                yield connection.execute(query, arguments)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yields a connection for one transaction; creates the index if it does not exist.

        Raises ReadOnly, StorageFault.
        """
        with _faults(self._path):
            make_private_folder(self._base, self._path.parent.name)
            with contextlib.closing(_connect(self._path)) as connection, connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection

    def prepare(self, source: str) -> None:
        """Empties the index if its records come from another source. Raises ReadOnly, StorageFault."""
        if self.facts().get("source") == source:
            return
        with self.writing() as connection:
            found = connection.execute("SELECT value FROM facts WHERE name = 'source'").fetchone()
            if found is None or found[0] != source:
                for table in _TABLES:
                    connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant
                set_facts(connection, source=source)

    def discard_if_damaged(self, error: StorageFault) -> None:
        """Removes the index if an error of it means that its file is damaged; the next use creates a new one."""
        if not sqlite_files.is_damaged(error.__cause__):
            return
        _log.error("the index of visibility is damaged; it is built again")
        self.close()
        with _faults(self._path):
            sqlite_files.remove(self._path)

    def facts(self) -> dict[str, str]:
        """Returns what `set_facts` stored. Raises StorageFault."""
        return dict(self.rows("SELECT name, value FROM facts"))

    def close(self) -> None:
        """Closes the connection. The next use opens it again."""
        with self._lock:
            if self._connection is not None and self._opened_as[0] == os.getpid():
                self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection | None:
        """The connection for reading; opened again in a child process, and if the file was deleted or replaced."""
        inode = sqlite_files.inode(self._path)
        if self._connection is not None and inode and self._opened_as == (os.getpid(), inode):
            return self._connection
        if self._connection is not None and self._opened_as[0] == os.getpid():
            self._connection.close()
        self._connection = _reader(self._path) if inode else None
        self._opened_as = (os.getpid(), inode)
        return self._connection


def set_facts(connection: sqlite3.Connection, **facts: str) -> None:
    """Stores facts about the index, such as when it was last brought up to date."""
    connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists():
        sqlite_files.remove_logs(path)

    def prepare(connection: sqlite3.Connection) -> None:
        sqlite_files.use_write_ahead_log(connection, path)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)

    return sqlite_files.connect(path, prepare, timeout=_BUSY_SECONDS, isolation_level=None)


def _reader(path: Path) -> sqlite3.Connection:
    is_read_only = os.statvfs(path.parent).f_flag & os.ST_RDONLY
    return sqlite_files.connect(
        path,
        lambda connection: connection.execute("PRAGMA query_only = ON"),
        mode=sqlite_files.read_only_mode(path) if is_read_only else "mode=rw",
        timeout=_BUSY_SECONDS,
        check_same_thread=False,
    )


@contextlib.contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.EROFS:
            raise ReadOnly("The disk of the index of visibility is read-only.", f"{path}: {error}") from error
        raise StorageFault("The index of visibility cannot be used.", f"{path}: {error}") from error
