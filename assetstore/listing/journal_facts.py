"""What the journal knows of originals for their list: what changed, original file names, and verification.

Concurrency: any thread may call. If the journal cannot be used, nothing is known, and nothing has changed.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from assetstore import names
from assetstore.errors import StorageFault
from assetstore.journal.events import PRESENT, REPLACED, STORED
from assetstore.journal.journal import Journal

_log = logging.getLogger(__name__)

_PRESENT = ", ".join(f"'{operation}'" for operation in sorted(PRESENT))

#: The name of the finding that the content differs from its checksum (`fixity.verification.CHANGED`).
_CHANGED = "changed"


@dataclass(frozen=True)
class Marks:
    """Up to where the journal was read: the last event and its time, and the time of the last check, in nanoseconds."""

    event: int = 0
    event_ns: int = 0
    check_ns: int = 0

    NAMES: ClassVar = ("event", "event_ns", "check_ns")

    def as_state(self) -> dict[str, int]:
        """Returns the marks by name."""
        return {name: getattr(self, name) for name in self.NAMES}


@dataclass(frozen=True)
class Fact:
    """What the journal knows of an original; times are nanoseconds since 1970, 0 if unknown.

    Fields:
        stored_ns: when it was last stored, restored or adopted.
        verified_ns: when it was last verified.
        was_changed: whether the verification found that its content differs from its checksum.
        original_name: of the file before it was last uploaded; None if unknown.
    """

    stored_ns: int = 0
    verified_ns: int = 0
    was_changed: bool = False
    original_name: str | None = None

    def is_changed(self, modified_ns: int) -> bool:
        """Says whether the original, last changed at *modified_ns*, has changed since it was last verified."""
        is_newer = max(modified_ns, self.stored_ns) > self.verified_ns
        return self.verified_ns > 0 and (is_newer or self.was_changed)


def newest(journal: Journal) -> Marks:
    """Returns the marks of the end of the journal."""
    try:
        with journal.reading("SELECT id, time_ns FROM events ORDER BY id DESC LIMIT 1") as rows:
            event, event_ns = next(rows, (0, 0))
        with journal.reading("SELECT MAX(time_ns) FROM checks") as rows:
            return Marks(event, event_ns, next(rows)[0] or 0)
    except StorageFault as error:
        _log.error("the journal cannot be read: %s", error.detail)
        return Marks()


@dataclass(frozen=True)
class Changes:
    """Originals (folder and name) with events or checks, each with the marks that are reached after it, in order.

    *is_all* is False if there are more, or it is not the same journal any more.
    """

    reached: dict[tuple[str, str], Marks]
    is_all: bool


def changed_since(journal: Journal, marks: Marks, most: int) -> Changes:
    """Returns the originals with events or checks after the marks.

    Parameters:
        journal: of the store.
        marks: up to where it was read.
        most: how many events, and how many checks, to read.
    """
    reached: dict[tuple[str, str], Marks] = {}
    number = 0
    try:
        with journal.reading("SELECT time_ns FROM events WHERE id = ?", (marks.event,)) as rows:
            if marks.event and next(rows, None) != (marks.event_ns,):
                return Changes({}, False)
        events = "SELECT place, name, id, time_ns FROM events WHERE id > ? ORDER BY id LIMIT ?"
        with journal.reading(events, (marks.event, most)) as rows:
            for number, (collection_dir, name, event, event_ns) in enumerate(rows, 1):  # noqa: B007 - used below
                marks = Marks(event, event_ns, marks.check_ns)
                reached.pop((collection_dir, name), None)  # the order is that of the last change
                reached[collection_dir, name] = marks
        is_all = number < most
        checks = "SELECT place, name, time_ns FROM checks WHERE time_ns > ? ORDER BY time_ns LIMIT ?"
        number = 0
        with journal.reading(checks, (marks.check_ns, most)) as rows:
            for number, (collection_dir, name, check_ns) in enumerate(rows, 1):  # noqa: B007
                marks = Marks(marks.event, marks.event_ns, check_ns)
                reached.pop((collection_dir, name), None)
                reached[collection_dir, name] = marks
    except StorageFault as error:
        _log.error("the journal cannot be read: %s", error.detail)
        return Changes({}, True)
    return Changes(
        {(where, names.unspelled(name)): mark for (where, name), mark in reached.items()}, is_all and number < most
    )


def facts(journal: Journal, collection_dir: str, store_names: Sequence[str]) -> dict[str, Fact]:
    """Returns what the journal knows of originals of one collection folder, by their names as spelled in it."""
    given = (collection_dir, json.dumps([names.spelled(name) for name in store_names]))
    chosen = "WHERE place = ? AND name IN (SELECT value FROM json_each(?))"
    # With MAX, SQLite takes the other columns from the row of the maximum (https://sqlite.org/lang_select.html).
    events = f"SELECT name, MAX(id), time_ns FROM events {chosen} AND operation IN ({_PRESENT}) GROUP BY name"  # noqa: S608 - only constants
    uploads = (
        f"SELECT name, MAX(id), original_name FROM events {chosen}"  # noqa: S608 - only constants
        f" AND operation IN ('{STORED}', '{REPLACED}') GROUP BY name"
    )
    checks = f"SELECT name, time_ns, finding FROM checks {chosen}"  # noqa: S608 - only constants
    try:
        with journal.reading(events, given) as rows:
            stored = {name: time_ns for name, _, time_ns in rows}
        with journal.reading(uploads, given) as rows:
            uploaded = {name: original_name for name, _, original_name in rows}
        with journal.reading(checks, given) as rows:
            verified = {name: (time_ns, _CHANGED in finding.split()) for name, time_ns, finding in rows}
    except StorageFault as error:
        _log.error("the journal cannot be read: %s", error.detail)
        return {}
    return {
        name: Fact(stored.get(name, 0), *verified.get(name, (0, False)), uploaded.get(name))
        for name in stored.keys() | verified.keys()
    }
