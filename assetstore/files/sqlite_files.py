"""The files of an SQLite database, which people may replace or remove while the server runs."""

from pathlib import Path


def inode(path: Path) -> int:
    """Returns the number of the file, 0 if there is none; it shows whether an open database was replaced."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def remove_logs(path: Path) -> None:
    """Removes the files with recent changes (WAL mode) that belong to a database."""
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
