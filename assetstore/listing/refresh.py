"""Keeps the index current: by the events of the journal, and by reading all folders.

`catch_up` applies what happened since it was last called: uploads, deletes, restores and verifications, of all
processes and servers that record them in the journal. It reads the current state of each name from the store. Files
that people copy into the folders, and changes without a journal, appear after the next `refresh`, which reads all
folders.

Concurrency: any thread and any process may call. `catch_up` holds the write lock of the index, so that the state of a
file that it writes is never older than one that is there. A refresh may write the state before a change that happens
meanwhile; after it, `catch_up` applies all events again since it began. Only one refresh runs at a time.
"""

import contextlib
import enum
import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from assetstore import media_types, names
from assetstore.errors import NotFound
from assetstore.files import sqlite_files
from assetstore.listing.database import IndexDatabase, get_state, set_state
from assetstore.listing.journal_facts import Fact, Marks, changed_since, facts, newest
from assetstore.originals.service import Originals
from assetstore.storage.models import Listed

_log = logging.getLogger(__name__)

#: How many files to write in one transaction.
_BATCH = 2000

#: After a batch, a refresh waits for this share of the time that the batch took, so that requests are not delayed.
_REST = 0.5

#: If more names have changed, a refresh is faster than reading the state of each.
MOST_CHANGES = 2000

_UPSERT = """
INSERT INTO files (place, name, text, size, modified_ns, tag, type, original_name, is_changed, has_failed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
ON CONFLICT (place, name) DO UPDATE SET
    text = excluded.text, size = excluded.size, modified_ns = excluded.modified_ns, tag = excluded.tag,
    original_name = excluded.original_name, is_changed = excluded.is_changed,
    has_failed = has_failed AND tag = excluded.tag
"""


_Item = TypeVar("_Item")


class Progress(enum.Enum):
    """How far `Refresher.catch_up` has come: all changes, some (call it again), or too many (a refresh is better)."""

    COMPLETE, PARTIAL, TOO_MANY = range(3)


class Refresher:
    """Keeps the index of one store current.

    Parameters:
        originals: the store.
        index: its index.
    """

    def __init__(self, originals: Originals, index: IndexDatabase) -> None:
        self._originals = originals
        self._index = index

    def catch_up(self, seconds: float) -> Progress:
        """Applies changes that the journal has recorded since the last time.

        Parameters:
            seconds: after how many seconds to stop. Does not wait for another writer.

        Raises StorageFault.
        """
        end = time.monotonic() + seconds
        try:
            with self._index.writing(0.05) as connection:
                marks = Marks(*(get_state(connection, name) for name in Marks.NAMES))
                changes = changed_since(self._originals.journal, marks, MOST_CHANGES)
                if not changes.is_all:
                    return Progress.TOO_MANY
                for (collection_dir, name), reached in changes.reached.items():
                    self._update(connection, collection_dir, name)
                    set_state(connection, **reached.as_state())
                    if time.monotonic() >= end:
                        return Progress.PARTIAL
        except sqlite3.OperationalError as error:
            if not sqlite_files.is_locked(error):
                raise
            return Progress.PARTIAL
        return Progress.COMPLETE

    def _update(self, connection: sqlite3.Connection, collection_dir: str, name: str) -> None:
        spelled = names.spelled(name)
        try:
            if collection_dir not in self._originals.collection_dirs:
                raise NotFound("There is no such collection.")
            version = self._originals.storage.version(collection_dir, name)
        except NotFound:
            connection.execute("DELETE FROM files WHERE place = ? AND name = ?", (collection_dir, spelled))
            return
        listed = Listed(name, version.size, version.modified_ns, version.tag)
        _write(connection, collection_dir, [listed], facts(self._originals.journal, collection_dir, [name]))

    def refresh(self, ending: threading.Event) -> bool:
        """Reads all folders, and writes what has changed to the index.

        Parameters:
            ending: ends the refresh early if it is set.

        Returns whether it is complete: not if another process is reading the folders at the same time. Raises
        StorageFault, sqlite3.OperationalError (another writer took very long).
        """
        with self._index.connection(), self._locked() as is_ours:
            return is_ours and self._read_all(ending)

    def _read_all(self, ending: threading.Event) -> bool:
        began, began_ns = time.monotonic(), time.time_ns()
        marks = newest(self._originals.journal)
        with self._index.writing() as connection:
            set_state(connection, began_ns=began_ns, files_read=0)
        collection_dirs = list(self._originals.collection_dirs)
        number = 0
        for collection_dir in collection_dirs:
            with contextlib.closing(_Seen(self._index, collection_dir)) as seen:
                for batch in _batches(self._originals.storage.originals(collection_dir)):
                    started = time.monotonic()
                    number += len(batch)
                    self._add(collection_dir, batch, seen, number)
                    if ending.wait(_REST * (time.monotonic() - started)):
                        return False
                seen.remove_others()
        with self._index.writing() as connection:
            given = json.dumps(collection_dirs)
            connection.execute("DELETE FROM files WHERE place NOT IN (SELECT value FROM json_each(?))", (given,))
        self._index.create_sorted()
        with self._index.writing() as connection:
            # The changes since the beginning are applied again, because a folder may have been read before them.
            took = int((time.monotonic() - began) * 1000)
            set_state(connection, refreshed_ns=began_ns, took_ms=took, requested_ns=0, **marks.as_state())
        _log.debug("the list of %s files was read in %.1f s", number, time.monotonic() - began)
        return True

    def _add(self, collection_dir: str, batch: Sequence[Listed], seen: "_Seen", number: int) -> None:
        known = facts(self._originals.journal, collection_dir, [listed.name for listed in batch])
        with self._index.writing() as connection:
            _write(connection, collection_dir, batch, known)
            set_state(connection, files_read=number)
            spelled = json.dumps([names.spelled(listed.name) for listed in batch])
            query = "SELECT id FROM files WHERE place = ? AND name IN (SELECT value FROM json_each(?))"
            seen.add(connection.execute(query, (collection_dir, spelled)))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        """Whether this is the only refresh among all processes; the system releases the lock if the process ends."""
        descriptor = os.open(self._index.folder / "refresh.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)

    def is_refreshing(self) -> bool:
        """Returns whether a process is reading the folders, as far as that is known."""
        try:
            with self._locked() as is_free:
                return not is_free
        except OSError:
            return False


class _Seen:
    """The rows of one collection folder whose files a refresh has seen, as a bit for each row."""

    def __init__(self, index: IndexDatabase, collection_dir: str) -> None:
        self._index = index
        self._collection_dir = collection_dir
        with index.connection() as connection:
            # Rows that are added meanwhile are of new files, which may be missing from the listing.
            self._last = connection.execute("SELECT MAX(id) FROM files").fetchone()[0] or 0
        self._bits = bytearray(self._last // 8 + 1)

    def add(self, rows: Iterable[tuple[int]]) -> None:
        """Marks rows as seen."""
        for (row,) in rows:
            if row <= self._last:
                self._bits[row >> 3] |= 1 << (row & 7)

    def remove_others(self) -> None:
        """Removes the rows that were not seen from the index."""
        with self._index.connection() as connection:
            query = "SELECT id FROM files WHERE place = ? AND id <= ?"
            rows = connection.execute(query, (self._collection_dir, self._last))
            missing = [row for (row,) in rows if not self._bits[row >> 3] >> (row & 7) & 1]
        for batch in _batches(missing):
            with self._index.writing() as connection:
                connection.executemany("DELETE FROM files WHERE id = ?", [(row,) for row in batch])

    def close(self) -> None:
        """Frees the memory."""
        self._bits = bytearray()


def _write(
    connection: sqlite3.Connection, collection_dir: str, batch: Iterable[Listed], known: dict[str, Fact]
) -> None:
    """Adds or updates rows, and leaves those alone that are unchanged."""
    by_name = {names.spelled(listed.name): listed for listed in batch}
    query = (
        "SELECT name, tag, size, original_name, is_changed FROM files"
        " WHERE place = ? AND name IN (SELECT value FROM json_each(?))"
    )
    current = {row[0]: row[1:] for row in connection.execute(query, (collection_dir, json.dumps(list(by_name))))}
    rows = []
    for name, listed in by_name.items():
        fact = known.get(name, Fact())
        is_changed = fact.is_changed(listed.modified_ns)
        if current.get(name) != (listed.tag, listed.size, fact.original_name, is_changed):
            text = name.casefold() + (f"\n{fact.original_name.casefold()}" if fact.original_name else "")
            version = (listed.size, listed.modified_ns, listed.tag)
            rows.append((collection_dir, name, text, *version, media_types.guess(name), fact.original_name, is_changed))
    connection.executemany(_UPSERT, rows)


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
