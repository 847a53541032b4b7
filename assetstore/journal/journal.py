"""The journal: what happened to originals, when, at whose request, and with which checksum.

It is an SQLite database in a private folder of the store. The files, not the journal, determine which originals
exist. The journal can be deleted at any time; a new one is created then, and `manage.py verify --adopt` fills it from
the files. Events are only added, never changed. The table of checks has the result of the last verification.

Concurrency: any thread and any process may use it; see `assetstore.journal.database`. Errors of the journal are logged,
and they never prevent the change that was to be recorded. While another program has the database locked, events wait in
`assetstore.journal.event_queue`; everything that reads the journal adds them first, or says how many are waiting.
"""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from assetstore import names
from assetstore.errors import JournalLocked, StorageFault
from assetstore.journal.database import PATIENT_SECONDS, Database
from assetstore.journal.event_queue import Batch, EventQueue
from assetstore.journal.events import PRESENT, WITHOUT_CHANGE, Event

_log = logging.getLogger(__name__)

#: How often to try to add an event. An attempt fails if the database is deleted at the same time.
_ATTEMPTS = 3

#: How often to try to add events that wait.
_POLL_SECONDS = 0.1

#: The range of integers in SQLite. As nanoseconds, they are the years 1677 to 2262; people may enter others.
_LEAST_NUMBER, _MOST_NUMBER = -(2**63), 2**63 - 1

_INSERT = (
    "INSERT INTO events (time_ns, operation, place, name, collection, size, sha256, client, original_name)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_CHANGES_ORIGINAL = f"operation NOT IN ({', '.join(repr(operation) for operation in WITHOUT_CHANGE)})"
_SELECT = "SELECT operation, place, name, collection, size, sha256, client, time_ns, id, original_name FROM events"


class Journal:
    """The journal of one store.

    Parameters:
        base: the folder of all attachments.
    """

    def __init__(self, base: Path) -> None:
        self._database = Database(base)
        self._queue = EventQueue(self._database.folder)
        #: Called with every operation, even if the event cannot be recorded.
        self.on_event: Callable[[str], None] = lambda _operation: None

    def record(self, event: Event) -> bool:
        """Adds an event with the current time. If this fails, logs an error and returns False.

        If another program has locked the journal, the event waits in a queue, and is added later, in order.
        """
        self.on_event(event.operation)
        event = replace(event, time_ns=event.time_ns or time.time_ns())
        try:
            try:
                if not self._queue.is_empty():
                    self._add_pending()  # first, because events of one name must stay in order
                self._insert(event)
            except JournalLocked:
                self._enqueue(event)
        except StorageFault as error:
            what = (event.operation, event.name, event.collection_dir)
            _log.error("event not recorded in the journal: %s %r in %r: %s", *what, error.detail)
            return False
        return True

    def _insert(self, event: Event) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._database.writing() as connection:
                    connection.execute(_INSERT, _row(event))
                return
            except JournalLocked:
                raise
            except StorageFault as error:
                self.close()
                if attempt == _ATTEMPTS or not isinstance(error.__cause__, sqlite3.DatabaseError):
                    raise

    def _enqueue(self, event: Event) -> None:
        if self._queue.is_empty():
            _log.warning("another program has locked the journal; events wait until it can be written")
        try:
            self._queue.append(event)
        except OSError as error:
            detail = f"it is locked, and the event cannot wait: {error}"
            raise StorageFault("The journal cannot be used.", detail) from error

    def add_pending(self) -> None:
        """Adds the events that wait in the queue; waits some seconds if another program has locked the journal.

        Raises JournalLocked (it is still locked, and they stay in the queue), StorageFault.
        """
        end = time.monotonic() + PATIENT_SECONDS
        while not self._queue.is_empty():
            try:
                # Each attempt is short, because it holds the lock of the queue, which requests need.
                self._add_pending()
            except JournalLocked as error:
                if time.monotonic() >= end:
                    number = self.pending()
                    reason = f"{error.public} Changes that wait to be recorded in it: {number}. Try again later."
                    raise JournalLocked(reason, error.detail) from error
                time.sleep(_POLL_SECONDS)

    def _add_pending(self) -> None:
        try:
            with self._queue.taken() as batch:
                if batch is not None:
                    with self._database.writing(is_durable=True) as connection:
                        number = _add(connection, batch)
                    _log.info("events that waited for the journal were added: %s", number)
        except OSError as error:
            raise StorageFault("The journal cannot be used.", f"waiting events cannot be read: {error}") from error

    def pending(self) -> int:
        """Returns how many events wait in the queue, because another program has locked the journal."""
        return len(self._waiting())

    def _waiting_of(self, collection_dir: str, name: str) -> list[Event]:
        waiting = [] if self._queue.is_empty() else self._waiting()
        return [event for event in waiting if (event.collection_dir, event.name) == (collection_dir, name)]

    def _waiting(self) -> list[Event]:
        try:
            return self._queue.events()
        except OSError as error:
            raise StorageFault("The journal cannot be used.", f"waiting events cannot be read: {error}") from error

    def latest(self, collection_dir: str, name: str) -> Event | None:
        """Returns the last event of a name that changed its original; None if there is none. Raises StorageFault."""
        waiting = [event for event in self._waiting_of(collection_dir, name) if event.operation not in WITHOUT_CHANGE]
        clauses = f"WHERE place = ? AND name = ? AND {_CHANGES_ORIGINAL} ORDER BY id DESC"
        return waiting[-1] if waiting else self._one(clauses, (collection_dir, names.spelled(name)))

    def latest_present(self, collection_dir: str, name: str, until_ns: int) -> Event | None:
        """Returns the event that created the original that existed at a time. Raises StorageFault."""
        waiting = [
            event
            for event in self._waiting_of(collection_dir, name)
            if event.time_ns <= until_ns and event.operation in PRESENT
        ]
        if waiting:
            return waiting[-1]
        present = ", ".join(f"'{operation}'" for operation in sorted(PRESENT))
        clauses = f"WHERE place = ? AND name = ? AND time_ns <= ? AND operation IN ({present}) ORDER BY id DESC"
        return self._one(clauses, (collection_dir, names.spelled(name), until_ns))

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
            "name = ?": None if name is None else names.spelled(name),
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
        where = f"place = ? AND {_CHANGES_ORIGINAL} {until}"
        last = f"SELECT MAX(id) FROM events WHERE {where} GROUP BY name"  # noqa: S608 - only constants
        yield from self._events(f"WHERE id IN ({last}) ORDER BY name", arguments)

    def following(self, collection_dir: str, timestamp_ns: int) -> Iterator[Event]:
        """Yields the first event of every name in a collection folder after a time. Raises StorageFault."""
        where = f"place = ? AND {_CHANGES_ORIGINAL} AND time_ns > ?"
        first = f"SELECT MIN(id) FROM events WHERE {where} GROUP BY name"  # noqa: S608 - only constants
        yield from self._events(f"WHERE id IN ({first})", (collection_dir, timestamp_ns))

    def _events(self, clauses: str, arguments: tuple[object, ...]) -> Iterator[Event]:
        with self.reading(f"{_SELECT} {clauses}", arguments) as rows:
            for row in rows:
                yield _event(row)

    def _one(self, clauses: str, arguments: tuple[object, ...]) -> Event | None:
        row = self._database.row(f"{_SELECT} {clauses} LIMIT 1", _bounded(arguments))
        return _event(row) if row else None

    @contextlib.contextmanager
    def reading(self, query: str, arguments: tuple[object, ...] = ()) -> Iterator[Iterator[tuple[Any, ...]]]:
        """Yields the rows of a query, on a separate connection, so that no writer waits for the reader.

        Events that wait in the queue are added first. Raises JournalLocked, StorageFault.
        """
        self.add_pending()
        with self._database.reading(query, _bounded(arguments)) as rows:
            yield rows

    def row(self, query: str, arguments: tuple[object, ...] = ()) -> tuple[Any, ...] | None:
        """Returns the first row of a query on the tables of checks and runs. Raises JournalLocked, StorageFault."""
        return self._database.row(query, arguments)

    def write(self, statement: str, arguments: tuple[object, ...]) -> int:
        """Executes a statement on the tables of checks and runs; returns the last row ID. Raises StorageFault."""
        with self._database.writing(is_patient=True) as connection:
            return connection.execute(statement, arguments).lastrowid or 0

    def probe(self) -> None:
        """Tests whether the journal can be written, and adds the events that wait.

        Raises JournalLocked, StorageFault.
        """
        try:
            with self._database.writing() as connection:
                connection.execute("DELETE FROM events WHERE id IS NULL")
        except JournalLocked:
            raise
        except StorageFault:
            self.close()  # the next use tells the cause
            raise
        if not self._queue.is_empty():
            self._add_pending()

    def close(self) -> None:
        """Closes the connection. The next use opens it again."""
        self._database.close()


def _bounded(arguments: tuple[object, ...]) -> tuple[object, ...]:
    """Limits integers to those of SQLite; a time beyond them is before or after all events anyway."""
    return tuple(
        max(_LEAST_NUMBER, min(argument, _MOST_NUMBER)) if isinstance(argument, int) else argument
        for argument in arguments
    )


def _event(row: tuple[Any, ...]) -> Event:
    event = Event(*row)
    return replace(event, name=names.unspelled(event.name)) if "\\" in event.name else event


def _row(event: Event) -> tuple[object, ...]:
    name = names.spelled(event.name)  # the database cannot store every file name
    row = (event.time_ns, event.operation, event.collection_dir, name, event.collection, event.size)
    return _bounded((*row, event.sha256, event.client, event.original_name))


def _add(connection: sqlite3.Connection, batch: Batch) -> int:
    """Adds the events of a queue that are not in the database yet; returns their number."""
    row = connection.execute("SELECT events FROM queues WHERE identifier = ?", (batch.identifier,)).fetchone()
    new = batch.events[row[0] if row else 0 :]
    connection.executemany(_INSERT, [_row(event) for event in new if event is not None])
    connection.execute("DELETE FROM queues")  # only one queue exists at a time
    connection.execute("INSERT INTO queues VALUES (?, ?)", (batch.identifier, len(batch.events)))
    return len(new)
