"""The recipes of copies that were made, in an SQLite database beside the journal.

It is only a cache: it may be deleted at any time, and if it cannot be read or written, recipes are made again. An entry
belongs to one version of an original, and to one version of the rules; an entry of another one counts as missing. The
size of the database is limited; the entries that were not used for the longest time are removed first.

Concurrency: any thread and any process may use it. In a process, a lock guards the one connection; between processes,
SQLite uses its own locks.
"""

import contextlib
import functools
import hashlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from assetstore.files import sqlite_files
from assetstore.files.private_folders import make_private_folder

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

_FOLDER, _FILE = "location-safe", "copies.sqlite"

_PRAGMAS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS copies (
    place TEXT NOT NULL,           -- folder of the collection below the store
    name TEXT NOT NULL,            -- store name
    version TEXT NOT NULL,         -- of the original and of the rules
    recipe BLOB,                   -- NULL: there is no safe copy; it begins with its checksum
    used INTEGER NOT NULL,         -- seconds since 1970
    PRIMARY KEY (place, name)
);
CREATE INDEX IF NOT EXISTS copies_by_use ON copies (used);
"""

#: How long a call waits for another process, in seconds.
_BUSY_SECONDS = 0.25

#: How often the use of an entry is recorded at most, and how often a failure is logged, in seconds.
_USE_SECONDS, _LOG_SECONDS = 24 * 3600, 60

#: If the limit is reached, one of this number of entries is removed.
_SHARE_REMOVED = 16

_CHECKSUM_BYTES = 16


class RecipeCache:
    """The database.

    Parameters:
        base: the folder of all attachments.
        most_bytes: the limit of its size.
    """

    def __init__(self, base: Path, most_bytes: int) -> None:
        self._base = base
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._log_at = -float("inf")

    def get(self, place: str, name: str, version: str) -> tuple[bytes | None] | None:
        """Returns the recipe of this version, as a tuple with None if there is no safe copy; None if it is missing."""
        row = self._run(functools.partial(_get, place, name, version))
        if row is None or row[0] is None:
            return row
        checksum, recipe = row[0][:_CHECKSUM_BYTES], row[0][_CHECKSUM_BYTES:]
        return (recipe,) if checksum == _checksum(recipe) else None  # a power failure may damage it

    def put(self, place: str, name: str, version: str, recipe: bytes | None) -> None:
        """Adds or replaces the entry of an original, unless it would take most of the space."""
        if recipe is None or len(recipe) <= self._most_bytes // _SHARE_REMOVED:
            stored = None if recipe is None else _checksum(recipe) + recipe
            self._run(functools.partial(_put, (place, name, version, stored, int(time.time())), self._most_bytes))

    def discard(self, place: str, name: str) -> None:
        """Removes the entry of an original."""
        query = "DELETE FROM copies WHERE place = ? AND name = ?"
        self._run(lambda connection: connection.execute(query, (place, name)))

    def close(self) -> None:
        """Closes the database; it is opened again when it is needed."""
        with self._lock:
            self._disconnect()

    def _run(self, work: Callable[[sqlite3.Connection], Result]) -> Result | None:
        """Returns the result of *work*, which is one transaction; None if it fails, which is logged."""
        with self._lock:
            try:
                with self._connected() as connection:
                    return work(connection)
            except (sqlite3.Error, OSError) as error:
                if time.monotonic() >= self._log_at:
                    self._log_at = time.monotonic() + _LOG_SECONDS
                    _log.warning("recipes of location-safe copies are not cached: %s", error)
                self._disconnect()
                if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                    self._remove()  # it is damaged
                return None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            folder = make_private_folder(self._base, _FOLDER)
            self._connection = sqlite_files.connect(
                folder / _FILE,
                lambda connection: connection.executescript(_PRAGMAS + _SCHEMA),
                timeout=_BUSY_SECONDS,
                check_same_thread=False,
            )
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            folder = make_private_folder(self._base, _FOLDER)
            sqlite_files.remove(folder / _FILE)


def _checksum(recipe: bytes) -> bytes:
    return hashlib.blake2b(recipe, digest_size=_CHECKSUM_BYTES).digest()


def _get(place: str, name: str, version: str, connection: sqlite3.Connection) -> tuple[bytes | None] | None:
    query = "SELECT recipe, used FROM copies WHERE place = ? AND name = ? AND version = ?"
    row: tuple[bytes | None, int] | None = connection.execute(query, (place, name, version)).fetchone()
    if row is not None and row[1] < time.time() - _USE_SECONDS:
        change = "UPDATE copies SET used = ? WHERE place = ? AND name = ?"
        connection.execute(change, (int(time.time()), place, name))
    return None if row is None else (row[0],)


def _put(row: tuple[str, str, str, bytes | None, int], most_bytes: int, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?)", row)
    if _used_bytes(connection) > most_bytes:
        [count] = connection.execute("SELECT count(*) FROM copies").fetchone()
        remove = "DELETE FROM copies WHERE rowid IN (SELECT rowid FROM copies ORDER BY used LIMIT ?)"
        connection.execute(remove, (count // _SHARE_REMOVED + 1,))


def _used_bytes(connection: sqlite3.Connection) -> int:
    """The size of the database without free pages."""
    [pages], [free], [size] = (
        connection.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
