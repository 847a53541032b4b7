"""Opening SQLite databases."""

import sqlite3
from pathlib import Path

import pytest

from assetstore.files import sqlite_files


def test_a_connection_that_cannot_be_prepared_is_closed(tmp_path: Path) -> None:
    seen: list[sqlite3.Connection] = []

    def prepare(connection: sqlite3.Connection) -> None:
        seen.append(connection)
        raise OSError("The disk is full.")

    with pytest.raises(OSError, match="full"):
        sqlite_files.connect(tmp_path / "a.sqlite", prepare)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        seen[0].execute("SELECT 1")


@pytest.mark.parametrize("name", ["a.sqlite", "what?mode=ro#%41.sqlite", "naïve name"])
def test_the_file_has_the_name_that_was_asked_for(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    sqlite_files.connect(path, lambda connection: connection.execute("CREATE TABLE a (b)")).close()
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert sqlite_files.inode(path) == path.stat().st_ino


def test_removing_a_database_removes_its_log(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    connection = sqlite_files.connect(path, lambda connection: sqlite_files.use_write_ahead_log(connection, path))
    connection.execute("CREATE TABLE a (b)")
    assert sqlite_files.read_only_mode(path) == "mode=ro"
    sqlite_files.remove(path)
    connection.close()
    assert list(tmp_path.iterdir()) == []
    sqlite_files.remove(path)


def test_damage_differs_from_a_lock_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"not a database at all" * 200)
    with pytest.raises(sqlite3.DatabaseError) as damaged:
        sqlite_files.connect(path, lambda connection: connection.execute("PRAGMA user_version"))
    assert sqlite_files.is_damaged(damaged.value)
    assert not sqlite_files.is_locked(damaged.value)
    sqlite_files.remove(path)
    holder = sqlite_files.connect(path, lambda connection: connection.execute("BEGIN EXCLUSIVE"))
    with pytest.raises(sqlite3.OperationalError) as locked:
        sqlite_files.connect(path, lambda connection: connection.execute("CREATE TABLE a (b)"), timeout=0)
    holder.close()
    assert sqlite_files.is_locked(locked.value)
    assert not sqlite_files.is_damaged(locked.value)
