"""Brings the index up to date: stores changed parts of the records, and decides the state of the names in them.

The rule: a file is public if all its records are public and none of their specimens is under embargo. If it has no
current record, or a public one whose specimen is missing, its last state counts; a file of which nothing is known is
private.

Concurrency: all functions run within the transaction of the caller. Rows go to SQLite as JSON, thousands at a time: for
each row that it is given or returns, Python's lock is released and has to wait for the threads that serve requests, so
that on a busy server a poll would take seconds instead of tenths of a second.
"""

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from assetstore.visibility import embargo
from assetstore.visibility.models import PRIVATE, PUBLIC, Part

_BATCH = 10_000

_TEMPORARY = (
    "CREATE TEMP TABLE incoming (part, id, name TEXT, public, complete, embargo)",
    "CREATE TEMP TABLE touched (number INTEGER PRIMARY KEY, checksum)",
    "CREATE TEMP TABLE affected (name TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TEMP TABLE decided (name TEXT PRIMARY KEY, state, next_change, known, since_ns, is_change) WITHOUT ROWID",
)

_COMPARED = "name, public, complete, embargo"

#: The names whose records differ; the identifiers of records, such as lines of a table, do not matter.
_AFFECTED = f"""
INSERT OR IGNORE INTO affected
SELECT name FROM (
    SELECT {_COMPARED} FROM records WHERE part IN (SELECT number FROM touched) EXCEPT SELECT {_COMPARED} FROM incoming
) UNION SELECT name FROM (
    SELECT {_COMPARED} FROM incoming EXCEPT SELECT {_COMPARED} FROM records WHERE part IN (SELECT number FROM touched)
)
"""  # noqa: S608 - only constants

_OF_AFFECTED = """
SELECT affected.name, records.public, records.complete, records.embargo,
       files.state, files.next_change, files.since_ns
FROM affected LEFT JOIN records ON records.name = affected.name LEFT JOIN files ON files.name = affected.name
ORDER BY affected.name
"""


@dataclass(frozen=True)
class Decision:
    """The state of a file; the day from which it is another one, if any; and whether current records say so."""

    state: int
    next_change: int | None
    is_known: bool


def decide(records: Iterable[tuple[bool, bool, str | None]], last: tuple[int, int | None] | None, day: int) -> Decision:
    """Decides the state of a file.

    Parameters:
        records: of each current record whether it is public, whether it is complete, and its encoded embargoes.
        last: the last state and its next change; None if nothing is known.
        day: today.
    """
    found = list(records)
    if any(not is_public for is_public, _, _ in found):
        return Decision(PRIVATE, None, True)
    embargoes = [item for _, _, text in found for item in embargo.decoded(text)]
    is_under = embargo.is_under(embargoes, day)
    if found and all(is_complete for _, is_complete, _ in found):
        return Decision(PRIVATE if is_under else PUBLIC, embargo.next_change(embargoes, day), True)
    state, next_change = last or (PRIVATE, None)
    if is_under or state == PRIVATE or (next_change is not None and next_change <= day):
        return Decision(PRIVATE, None, False)
    changes = (next_change, embargo.next_change(embargoes, day))
    return Decision(PUBLIC, min((change for change in changes if change is not None), default=None), False)


def apply(connection: sqlite3.Connection, parts: Iterable[Part], day: int, now_ns: int) -> dict[str, str]:
    """Stores changed parts, and decides the state of all names that they or the date affect.

    Parameters:
        connection: in a transaction; it must be a new one, which has no temporary tables.
        parts: the parts that have changed.
        day: today.
        now_ns: the time, nanoseconds since 1970.

    Returns facts about the index: `counts`, as JSON. Raises the errors of *parts*.
    """
    for statement in _TEMPORARY:  # one by one, because a script would end the transaction
        connection.execute(statement)
    for batch in _batches(_received(connection, parts)):
        _insert(connection, "incoming", batch)
    connection.execute(_AFFECTED)
    connection.execute("INSERT OR IGNORE INTO affected SELECT name FROM files WHERE next_change <= ?", (day,))
    connection.execute("DELETE FROM records WHERE part IN (SELECT number FROM touched)")
    connection.execute("INSERT INTO records SELECT * FROM incoming")
    connection.execute("DELETE FROM parts WHERE number IN (SELECT number FROM touched WHERE checksum IS NULL)")
    _store_checksums(connection)
    for batch in _batches(_decided(connection, day, now_ns)):
        _insert(connection, "decided", batch)
    connection.execute("INSERT INTO changes (name, state) SELECT name, state FROM decided WHERE is_change")
    connection.execute("INSERT OR REPLACE INTO files SELECT name, state, next_change, known, since_ns FROM decided")
    return {"counts": json.dumps(_counts(connection))}


def _received(connection: sqlite3.Connection, parts: Iterable[Part]) -> Iterator[tuple[Any, ...]]:
    """Notes which parts have changed, and yields their rows of `incoming`."""
    for part in parts:
        connection.execute("INSERT OR REPLACE INTO touched VALUES (?, ?)", (part.number, part.checksum))
        for record in part.records:
            is_public, is_complete = int(record.is_public), int(record.is_complete)
            yield part.number, record.identifier, record.name, is_public, is_complete, record.embargo


def _insert(connection: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    """Inserts rows of six columns into a temporary table."""
    columns = ", ".join(f"json_extract(value, '$[{number}]')" for number in range(6))
    connection.execute(f"INSERT INTO {table} SELECT {columns} FROM json_each(?)", (json.dumps(rows),))  # noqa: S608 - constants


def _store_checksums(connection: sqlite3.Connection) -> None:
    incomplete = "number IN (SELECT part FROM incoming WHERE NOT complete AND public)"
    connection.execute(
        f"INSERT OR REPLACE INTO parts SELECT number, checksum, NOT {incomplete} FROM touched"  # noqa: S608 - a constant
        " WHERE checksum IS NOT NULL"
    )


def _decided(connection: sqlite3.Connection, day: int, now_ns: int) -> Iterator[tuple[Any, ...]]:
    rows = connection.execute(_OF_AFFECTED)
    for name, group in itertools.groupby(rows, key=lambda row: row[0]):
        joined = list(group)
        state, next_change, since_ns = joined[0][4:]
        records = [(bool(row[1]), bool(row[2]), row[3]) for row in joined if row[1] is not None]
        decision = decide(records, None if state is None else (state, next_change), day)
        is_other = state != decision.state
        since = now_ns if is_other else since_ns
        # The first state of a file is no change.
        is_change = is_other and state is not None
        yield name, decision.state, decision.next_change, decision.is_known, since, is_change


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    query = "SELECT CASE known WHEN 0 THEN 'unknown' ELSE state END, COUNT(*) FROM files GROUP BY 1"
    by_state = dict(connection.execute(query).fetchall())
    records = connection.execute("SELECT COUNT(*) FROM records").fetchone()[0]
    return {
        "public": by_state.get(PUBLIC, 0),
        "private": by_state.get(PRIVATE, 0),
        "unknown": by_state.get("unknown", 0),
        "records": records,
    }


def _batches(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch
