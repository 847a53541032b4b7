"""Opens SQLite databases, whose files people may replace, remove or lock while the server runs.

Every database but that of a migration can be removed at any time: the next use creates it again.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assetstore.files import preallocate

#: Space for the index of the write-ahead log, which SQLite maps into memory: 32 KiB for each 16 MiB of log.
LOG_INDEX_BYTES = 128 * 1024

#: The results of SQLite that mean that another program uses the database (https://sqlite.org/rescode.html).
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


def connect(
    path: Path, prepare: Callable[[sqlite3.Connection], object], *, mode: str = "mode=rwc", **options: Any
) -> sqlite3.Connection:
    """Opens a database.

    Parameters:
        path: of the database.
        prepare: called with the connection; if it raises, the connection is closed.
        mode: how to open the file (https://sqlite.org/uri.html); by default, it is created if it does not exist.
        options: of sqlite3.connect.

    Raises sqlite3.Error, and what *prepare* raises.
    """
    connection: sqlite3.Connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, **options)
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def use_write_ahead_log(connection: sqlite3.Connection, path: Path) -> None:
    """Selects write-ahead logging, with which readers and a writer do not wait for each other.

    Raises sqlite3.Error, and OSError if there is no space for the index of the log (see `preallocate`).
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("SELECT name FROM sqlite_master").fetchone()  # creates the index of the log
    preallocate.allocate(_beside(path, "-shm"), LOG_INDEX_BYTES)


def read_only_mode(path: Path) -> str:
    """Returns the mode in which to open a database on a read-only disk.

    Without a log, SQLite needs no index of it, which it could not create (https://sqlite.org/wal.html#readonly).
    """
    return "mode=ro" if _size(_beside(path, "-wal")) else "immutable=1"


def is_locked(error: BaseException) -> bool:
    """Says whether another program uses the database; extended result codes have the result in the lowest byte."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _LOCKED


def is_damaged(error: BaseException | None) -> bool:
    """Says whether an error means that the file is not a database, or damaged; its subclasses have other causes."""
    return type(error) is sqlite3.DatabaseError


def inode(path: Path) -> int:
    """Returns the number of the file, 0 if there is none; it shows whether an open database was replaced."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def remove(path: Path) -> None:
    """Removes a database, if it exists, with the files that belong to it. Raises OSError."""
    path.unlink(missing_ok=True)
    remove_logs(path)


def remove_logs(path: Path) -> None:
    """Removes the files with recent changes (WAL mode), which must not be applied to another database."""
    for ending in ("-wal", "-shm"):
        _beside(path, ending).unlink(missing_ok=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
