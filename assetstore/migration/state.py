"""The state of a migration: a SQLite database, one for each pair of source and target.

Three tables, each by collection folder and name at the source: `notes` records which version of the source was copied
to which version of the target, with its checksum. `source` (with the outcomes) and `target` are the lists of the
current pass. All lookups use the database, so memory use does not depend on the number of files.

Concurrency: threads of one process share it under a lock; a second process is rejected. If the process is killed, no
record is lost. A power failure may lose the last records, and then those files are compared again.
"""

import fcntl
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assetstore.errors import StorageFault
from assetstore.files import sqlite_files
from assetstore.migration import outcomes
from assetstore.storage.models import Listed

_PRAGMAS = "pragma journal_mode = wal; pragma synchronous = normal;"

_SCHEMA = """
create table if not exists notes (
    place text, name text, size integer, sha256 text, source_tag text, target_tag text, checked text,
    primary key (place, name)) without rowid;
drop table if exists source;
drop table if exists target;
create table source (
    place text, name text, size integer, tag text, outcome text, detail text, checked text, sha256 text,
    primary key (place, name)) without rowid;
create table target (place text, name text, size integer, tag text, primary key (place, name)) without rowid;
"""

_UNCHANGED = """
update source set outcome = ?, sha256 = notes.sha256, checked = notes.checked
from notes, target
where notes.place = source.place and notes.name = source.name and target.place = source.place
    and target.name = source.name and notes.sha256 is not null
    and notes.source_tag = source.tag and notes.target_tag = target.tag and target.size = source.size
"""

_TASKS = """
select source.place, source.name, source.size, source.tag, target.size, target.tag,
    notes.name is not null, notes.sha256, notes.source_tag, notes.target_tag
from source left join target using (place, name) left join notes using (place, name)
where source.outcome is null and (source.place, source.name) > (?, ?)
order by source.place, source.name limit 500
"""

_DELETED_AT_SOURCE = """
select notes.place, notes.name, notes.size, notes.target_tag
from notes left join source using (place, name) join target using (place, name)
where source.name is null and notes.sha256 is not null and notes.place = ? and notes.name > ?
order by notes.name limit 500
"""

_ONLY_AT_TARGET = """
select count(*) from target left join source using (place, name) left join notes using (place, name)
where source.name is null and notes.name is null
"""


@dataclass(frozen=True)
class Note:
    """The record of an original from an earlier pass; *sha256* is None if its copy was not completed."""

    sha256: str | None
    source_tag: str | None
    target_tag: str | None


@dataclass(frozen=True)
class Task:
    """One original to be copied or compared.

    Fields:
        collection_dir, name, size, source_tag: as listed at the source.
        target_size, target_tag: of the target's file of that name, None if there is none.
        note: the record of an earlier pass, None if there is none.
    """

    collection_dir: str
    name: str
    size: int
    source_tag: str
    target_size: int | None
    target_tag: str | None
    note: Note | None

    @property
    def is_begun(self) -> bool:
        """Whether an earlier pass was interrupted while it committed the file."""
        return self.note is not None and self.note.sha256 is None

    @property
    def is_ours(self) -> bool:
        """Whether the target's file is the one that an earlier pass copied there."""
        return self.target_tag is not None and self.note is not None and self.note.target_tag == self.target_tag

    @property
    def is_changed(self) -> bool:
        """Whether the source's file has changed since an earlier pass."""
        return self.note is not None and self.note.source_tag != self.source_tag

    @property
    def intention(self) -> str:
        """What will be done: `copy`, `replace`, or `compare` first."""
        if self.target_tag is None:
            return "copy"
        return "replace" if self.is_ours and self.is_changed else "compare"


@dataclass(frozen=True)
class Result:
    """The outcome for one original; *sha256* and *checked* are None if they are not known."""

    outcome: str
    size: int
    sha256: str | None = None
    checked: str | None = None
    detail: str | None = None


class MigrationState:
    """The open state of one migration. Opening it begins a pass.

    Parameters:
        path: of the database, in an existing folder.

    Raises StorageFault: another process runs the same migration.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._owner = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._owner)
            raise StorageFault("Another process is running this migration.", str(path)) from None
        try:
            self._database = sqlite_files.connect(
                path,
                lambda connection: connection.executescript(_PRAGMAS + _SCHEMA),
                check_same_thread=False,
                isolation_level=None,
            )
        except BaseException:
            os.close(self._owner)
            raise

    def close(self) -> None:
        """Deletes the lists and keeps the records."""
        self._database.executescript("drop table source; drop table target;")
        self._database.close()
        os.close(self._owner)

    def note_source(self, collection_dir: str, listed: Iterable[Listed]) -> None:
        """Records the list of the source."""
        self._insert(
            "insert or replace into source (place, name, size, tag) values (?, ?, ?, ?)", collection_dir, listed
        )

    def note_target(self, collection_dir: str, listed: Iterable[Listed]) -> None:
        """Records the list of the target, under the collection folder at the source."""
        self._insert(
            "insert or replace into target (place, name, size, tag) values (?, ?, ?, ?)", collection_dir, listed
        )

    def _insert(self, statement: str, collection_dir: str, listed: Iterable[Listed]) -> None:
        with self._lock, self._database:
            self._database.execute("begin")
            rows = ((collection_dir, file.name, file.size, file.tag) for file in listed)
            self._database.executemany(statement, rows)

    def settle_unchanged(self) -> None:
        """Marks as unchanged the originals that have not changed on either side since an earlier pass."""
        with self._lock:
            self._database.execute(_UNCHANGED, (outcomes.UNCHANGED,))

    def count(self, *, is_open: bool = False) -> tuple[int, int]:
        """Returns the number of files and bytes at the source, or only of those without an outcome yet."""
        where = " where outcome is null" if is_open else ""
        files, size = self._row(f"select count(*), coalesce(sum(size), 0) from source{where}")  # noqa: S608 - constants
        return files, size

    def has_notes(self) -> bool:
        """Whether an earlier pass has copied anything."""
        return bool(self._row("select exists (select 1 from notes)")[0])

    def count_only_at_target(self) -> int:
        """Returns how many files exist only at the target, and were not copied by this migration."""
        return int(self._row(_ONLY_AT_TARGET)[0])

    def tasks(self) -> Iterator[Task]:
        """Yields the originals without an outcome, in the order of collection folders and names."""
        last = ("", "")
        while rows := self._rows(_TASKS, *last):
            for collection_dir, name, size, tag, target_size, target_tag, is_known, *note in rows:
                yield Task(collection_dir, name, size, tag, target_size, target_tag, Note(*note) if is_known else None)
            last = rows[-1][:2]

    def deleted(self, collection_dirs: Iterable[str]) -> Iterator[tuple[str, str, int, str]]:
        """Yields originals that were copied and have been deleted at the source.

        Each is collection folder, name, size, and tag at the target.
        """
        for collection_dir in collection_dirs:
            last = ""
            while rows := self._rows(_DELETED_AT_SOURCE, collection_dir, last):
                yield from rows
                last = rows[-1][1]

    def begin(self, task: Task) -> None:
        """Records, before a commit, that the target's file of that name is ours, in case the process is killed."""
        with self._lock:
            self._database.execute(
                "insert or replace into notes (place, name) values (?, ?)", (task.collection_dir, task.name)
            )

    def finish(self, task: Task, result: Result, tags: tuple[str, str]) -> None:
        """Records that an original is at the target; *tags* are those of the versions at source and target."""
        row = (task.collection_dir, task.name, result.size, result.sha256, *tags, result.checked)
        with self._lock:
            self._database.execute("insert or replace into notes values (?, ?, ?, ?, ?, ?, ?)", row)

    def forget(self, collection_dir: str, name: str) -> None:
        """Deletes the record of an original."""
        with self._lock:
            self._database.execute("delete from notes where place = ? and name = ?", (collection_dir, name))

    def settle(self, task: Task, result: Result) -> None:
        """Records the outcome of an original in this pass."""
        row = (
            result.outcome,
            result.size,
            result.sha256,
            result.checked,
            result.detail,
            task.collection_dir,
            task.name,
        )
        with self._lock:
            self._database.execute(
                "update source set outcome = ?, size = ?, sha256 = ?, checked = ?, detail = ?"
                " where place = ? and name = ?",
                row,
            )

    def results(self) -> Iterator[tuple[str, str, Result]]:
        """Yields collection folder, name and result of all originals with an outcome, in order."""
        last = ("", "")
        while rows := self._rows(
            "select place, name, outcome, size, sha256, checked, detail from source where outcome is not null"
            " and (place, name) > (?, ?) order by place, name limit 500",
            *last,
        ):
            for collection_dir, name, *result in rows:
                yield collection_dir, name, Result(*result)
            last = rows[-1][:2]

    def _row(self, statement: str) -> tuple[int, ...]:
        return self._rows(statement)[0]

    def _rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()
