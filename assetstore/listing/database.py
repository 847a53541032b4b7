"""The index of all originals, an SQLite file that all server processes share.

The index can be deleted at any time: the next use creates an empty one, and `assetstore.listing.refresh` fills it from
the files. If it is damaged, it is deleted. On a read-only disk, each process has an index of its own, in a temporary
folder.

Concurrency: any thread and any process may use it; each use has a connection of its own. With write-ahead logging,
readers do not wait for a writer. One connection of each process stays open, so that SQLite does not remove the log
after every use.
"""

import contextlib
import errno
import logging
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assetstore.errors import StorageFault
from assetstore.files import sqlite_files
from assetstore.files.private_folders import make_private_folder
from assetstore.names import PRIVATE_FOLDER

_log = logging.getLogger(__name__)

#: How long a writer waits for another one, in seconds.
PATIENT_SECONDS = 30.0

#: Memory for pages of the index, in KiB, for each use: a batch of a refresh changes many pages.
_CACHE_KIB = 16_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY,
    place TEXT NOT NULL,           -- folder of the collection below the store
    name TEXT NOT NULL,            -- store name, spelled as in the journal
    text TEXT NOT NULL,            -- the name without case, and after a line break the original name: searched, sorted
    size INTEGER NOT NULL,         -- bytes
    modified_ns INTEGER NOT NULL,
    tag TEXT NOT NULL,             -- of the version
    type TEXT NOT NULL,            -- media type
    original_name TEXT,            -- of the file before it was uploaded; NULL if unknown
    is_changed INTEGER NOT NULL,   -- since it was last verified
    has_failed INTEGER NOT NULL    -- the last attempt to make a thumbnail of this version
);
CREATE UNIQUE INDEX IF NOT EXISTS files_by_name ON files (place, name);
CREATE TABLE IF NOT EXISTS state (
    name TEXT PRIMARY KEY,
    value NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS selections (
    ticket TEXT PRIMARY KEY,
    expires_ns INTEGER NOT NULL,
    files TEXT NOT NULL            -- JSON: [[folder, name], …]
) WITHOUT ROWID;
"""

#: Another version of the index is deleted.
_VERSION = 1

#: The order of each index begins with one of these columns. The other columns make them covering for every filter.
SORTED_BY = ("text", "modified_ns", "size", "type")
_COVERED = ("text", "place", "id", "size", "type", "modified_ns", "is_changed", "has_failed")


class IndexDatabase:
    """The index of one store.

    Parameters:
        base: the folder of all attachments.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self._path = self._permanent_path = base / PRIVATE_FOLDER / "index" / "originals.sqlite"
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._opened_as = (0, 0)

    @property
    def folder(self) -> Path:
        """The folder of the index, for locks; it exists while a connection is used."""
        return self._path.parent

    def exists(self) -> bool:
        """Returns whether there is an index already."""
        return self._path.exists()

    @contextlib.contextmanager
    def connection(self, seconds: float = PATIENT_SECONDS) -> Iterator[sqlite3.Connection]:
        """Yields a new connection, in autocommit mode.

        Parameters:
            seconds: how long to wait for another writer.

        Raises StorageFault (a damaged index is deleted), and sqlite3.OperationalError if another writer takes longer.
        """
        try:
            with self._lock:
                self._prepare()
            with contextlib.closing(_connected(self._path, seconds)) as connection:
                yield connection
        except sqlite3.OperationalError as error:
            if sqlite_files.is_locked(error):
                raise
            raise StorageFault("The list of files cannot be used.", f"{self._path}: {error}") from error
        except sqlite3.DatabaseError as error:
            if not sqlite_files.is_damaged(error):
                raise
            self._remove(error)
            raise StorageFault("The list of files was damaged. It is being made again.", str(error)) from error
        except OSError as error:
            raise StorageFault("The list of files cannot be used.", f"{self._path}: {error}") from error

    @contextlib.contextmanager
    def writing(self, seconds: float = PATIENT_SECONDS) -> Iterator[sqlite3.Connection]:
        """Yields a connection in a transaction that no other writer interrupts. Raises as `connection`."""
        with self.connection(seconds) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection

    def create_sorted(self) -> None:
        """Creates the indexes for sorting, if they do not exist: after the first refresh, which is faster without."""
        with self.connection() as connection:
            for column in SORTED_BY:
                columns = ", ".join(dict.fromkeys((column, *_COVERED)))
                connection.execute(f"CREATE INDEX IF NOT EXISTS sorted_by_{column} ON files ({columns})")

    def close(self) -> None:
        """Closes the connection that stays open. The next use opens it again."""
        with self._lock:
            self._close()
            if self._temporary is not None:
                self._temporary.cleanup()
                self._temporary, self._path = None, self._permanent_path

    def _close(self) -> None:
        if self._open is not None and self._opened_as[0] == os.getpid():
            self._open.close()
        self._open = None

    def _prepare(self) -> None:
        """Creates the index if it was deleted, and opens the connection that stays open."""
        if self._open is not None and self._opened_as == (os.getpid(), sqlite_files.inode(self._path)):
            return
        self._close()
        self._make_folder()
        if not self._path.exists():
            sqlite_files.remove_logs(self._path)  # the log of a deleted index must not be applied to the new one
        self._remove_other_version()
        self._open = sqlite_files.connect(self._path, self._create_tables, **_options(PATIENT_SECONDS))
        self._opened_as = (os.getpid(), sqlite_files.inode(self._path))

    def _create_tables(self, connection: sqlite3.Connection) -> None:
        sqlite_files.use_write_ahead_log(connection, self._path)
        connection.executescript(f"{_SCHEMA} PRAGMA user_version = {_VERSION};")

    def _make_folder(self) -> None:
        if self._temporary is not None:
            return
        try:
            make_private_folder(self._base, self.folder.name)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
        if not os.access(self.folder, os.W_OK):
            self._temporary = tempfile.TemporaryDirectory(prefix="asset-server-index-", ignore_cleanup_errors=True)
            self._path = Path(self._temporary.name) / self._path.name

    def _remove_other_version(self) -> None:
        if not self._path.exists():
            return
        with contextlib.closing(_connected(self._path, PATIENT_SECONDS)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, _VERSION}:
            sqlite_files.remove(self._path)

    def _remove(self, error: sqlite3.DatabaseError) -> None:
        _log.error("the list of files is damaged, and is being made again: %s", error)
        with self._lock:
            self._close()
            sqlite_files.remove(self._path)


def get_state(connection: sqlite3.Connection, name: str) -> int:
    """Returns a number of the state of the index, 0 if it is not set."""
    row = connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def set_state(connection: sqlite3.Connection, **values: int) -> None:
    """Sets numbers of the state of the index."""
    connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", values.items())


def _connected(path: Path, seconds: float) -> sqlite3.Connection:
    return sqlite_files.connect(path, _configure, **_options(seconds))


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def _options(seconds: float) -> dict[str, Any]:
    return {"timeout": seconds, "isolation_level": None, "check_same_thread": False}
