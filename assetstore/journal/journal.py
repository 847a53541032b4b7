"""The journal: what happened to originals, when, at whose request, and with which checksum.

It is an SQLite database in a private folder of the store. The files, not the journal, determine which originals
exist. The journal can be deleted at any time; a new one is created then, and `manage.py verify --adopt` fills it from
the files. Events are only added, never changed. The table of checks has the result of the last verification.

Concurrency: any thread and any process may use it; see `assetstore.journal.database`. Errors of the journal are logged,
and they never prevent the change that was to be recorded.
"""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from assetstore.errors import StorageFault
from assetstore.journal.database import Database
from assetstore.journal.events import PRESENT, PURGED, Event

_log = logging.getLogger(__name__)

#: How often to try to add an event. An attempt fails if the database is deleted at the same time.
_ATTEMPTS = 3

#: The range of integers in SQLite. As nanoseconds, they are the years 1677 to 2262; people may enter others.
_LEAST_NUMBER, _MOST_NUMBER = -(2**63), 2**63 - 1

_SELECT = "SELECT operation, place, name, collection, size, sha256, client, time_ns, id FROM events"


class Journal:
    """The journal of one store.

    Parameters:
        base: the folder of all attachments.
    """

    def __init__(self, base: Path) -> None:
        self._database = Database(base)
        #: Called with every operation, even if the event cannot be recorded.
        self.on_event: Callable[[str], None] = lambda _operation: None

    def record(self, event: Event) -> bool:
        """Adds an event with the current time. If this fails, logs an error and returns False."""
        self.on_event(event.operation)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._insert(event)
                return True
            except StorageFault as error:
                self.close()
                if attempt < _ATTEMPTS and _may_have_been_deleted(error.__cause__):
                    continue
                what = (event.operation, event.name, event.collection_dir)
                _log.error("event not recorded in the journal: %s %r in %r: %s", *what, error.detail)
                break
        return False

    def _insert(self, event: Event) -> None:
        row = (
            event.operation,
            event.collection_dir,
            event.name,
            event.collection,
            event.size,
            event.sha256,
            event.client,
        )
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO events (time_ns, operation, place, name, collection, size, sha256, client)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                _bounded((event.time_ns or time.time_ns(), *row)),
            )

    def latest(self, collection_dir: str, name: str) -> Event | None:
        """Returns the last event of a name, except purges of the trash; None if there is none. Raises StorageFault."""
        return self._one(
            "WHERE place = ? AND name = ? AND operation != ? ORDER BY id DESC", (collection_dir, name, PURGED)
        )

    def latest_present(self, collection_dir: str, name: str, until_ns: int) -> Event | None:
        """Returns the event that created the original that existed at a time. Raises StorageFault."""
        present = ", ".join(f"'{operation}'" for operation in sorted(PRESENT))
        clauses = f"WHERE place = ? AND name = ? AND time_ns <= ? AND operation IN ({present}) ORDER BY id DESC"
        return self._one(clauses, (collection_dir, name, until_ns))

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
            "name = ?": name,
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
        where = f"place = ? AND operation != '{PURGED}' {until}"
        last = f"SELECT MAX(id) FROM events WHERE {where} GROUP BY name"  # noqa: S608 - only constants
        yield from self._events(f"WHERE id IN ({last}) ORDER BY name", arguments)

    def following(self, collection_dir: str, timestamp_ns: int) -> Iterator[Event]:
        """Yields the first event of every name in a collection folder after a time. Raises StorageFault."""
        where = f"place = ? AND operation != '{PURGED}' AND time_ns > ?"
        first = f"SELECT MIN(id) FROM events WHERE {where} GROUP BY name"  # noqa: S608 - only constants
        yield from self._events(f"WHERE id IN ({first})", (collection_dir, timestamp_ns))

    def _events(self, clauses: str, arguments: tuple[object, ...]) -> Iterator[Event]:
        with self.reading(f"{_SELECT} {clauses}", arguments) as rows:
            for row in rows:
                yield Event(*row)

    def _one(self, clauses: str, arguments: tuple[object, ...]) -> Event | None:
        with self._database.transaction() as connection:
            row = connection.execute(f"{_SELECT} {clauses} LIMIT 1", _bounded(arguments)).fetchone()
        return Event(*row) if row else None

    @contextlib.contextmanager
    def reading(self, query: str, arguments: tuple[object, ...] = ()) -> Iterator[Iterator[tuple[Any, ...]]]:
        """Yields the rows of a query, on a separate connection, so that no writer waits for the reader.

        Raises StorageFault.
        """
        with self._database.reading(query, _bounded(arguments)) as rows:
            yield rows

    def write(self, statement: str, arguments: tuple[object, ...]) -> int:
        """Executes a statement on the tables of checks and runs; returns the last row ID. Raises StorageFault."""
        with self._database.transaction() as connection:
            return connection.execute(statement, arguments).lastrowid or 0

    def probe(self) -> None:
        """Tests whether the journal can be written, without changing it. Raises StorageFault."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM events WHERE id IS NULL")

    def close(self) -> None:
        """Closes the connection. The next use opens it again."""
        self._database.close()


def _bounded(arguments: tuple[object, ...]) -> tuple[object, ...]:
    """Limits integers to those of SQLite; a time beyond them is before or after all events anyway."""
    return tuple(
        max(_LEAST_NUMBER, min(argument, _MOST_NUMBER)) if isinstance(argument, int) else argument
        for argument in arguments
    )


def _may_have_been_deleted(error: BaseException | None) -> bool:
    """Whether the database files may have been deleted during the call; not if another process held a lock."""
    return isinstance(error, sqlite3.DatabaseError) and "locked" not in str(error)
