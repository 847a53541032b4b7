"""The visibility of files: what requests, health checks, metrics and commands ask.

Concurrency: any thread may call.
"""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assetstore.errors import AssetError
from assetstore.visibility import embargo
from assetstore.visibility.index import Index
from assetstore.visibility.models import PRIVATE, PUBLIC, Status

_log = logging.getLogger(__name__)

#: The states by which `names` selects.
STATES = {
    "public": f"state = {PUBLIC}",
    "private": f"state = {PRIVATE}",
    "unknown": "NOT known",
    "embargoed": f"state = {PRIVATE} AND next_change IS NOT NULL",
}


@dataclass(frozen=True)
class Listed:
    """A name in the index.

    Fields:
        name: the store name.
        is_public: the state in effect now.
        is_known: whether current records say so; otherwise it is the last state.
        next_change: the ISO date from which it is another one; None if there is none.
        since: when this state was first seen, seconds since 1970.
    """

    name: str
    is_public: bool
    is_known: bool
    next_change: str | None
    since: float


@dataclass(frozen=True)
class Reason:
    """A record of a name, and what it says: fields as in `models.Record`; embargoes as pairs of ISO dates."""

    identifier: int
    is_public: bool
    is_complete: bool
    embargoes: tuple[tuple[str | None, str | None], ...]


class Visibility:
    """Reads the index of one store.

    Parameters:
        base: the folder of all attachments.
        seconds: VISIBILITY_SECONDS.
    """

    def __init__(self, base: Path, seconds: int) -> None:
        self.index = Index(base)
        self.seconds = seconds
        self._opened_at = time.monotonic()
        self._is_usable = False
        self._logged = ""

    def is_public(self, name: str) -> bool:
        """Says whether everyone may read a file. Without an index, no one may without a token."""
        try:
            is_public = self.index.is_public(name, embargo.today(time.time())) and self._may_be_used()
        except AssetError as error:
            if error.detail != self._logged:
                _log.error("%s No file is public until it can: %s", error.public, error.detail)
            self._logged = error.detail
            return False
        self._logged = ""
        return is_public

    def _may_be_used(self) -> bool:
        """Whether the index counts: not before a poll has ended, if the last one ended long before the start.

        Else, what was withdrawn while the server was stopped would be public until then. If there is no poll, as on a
        read-only disk, the last state counts after VISIBILITY_SECONDS. Raises StorageFault.
        """
        if not self._is_usable:
            ended_at = float(self.index.facts().get("ended_at", "-inf"))
            has_waited = time.monotonic() - self._opened_at >= self.seconds
            self._is_usable = has_waited or abs(time.time() - ended_at) <= self.seconds
        return self._is_usable

    def status(self) -> Status:
        """Returns the state of the index. Raises StorageFault."""
        facts = self.index.facts()
        counts = json.loads(facts.get("counts", "{}"))
        public, private, unknown, records = (
            counts.get(name, 0) for name in ("public", "private", "unknown", "records")
        )
        checked_at = facts.get("checked_at")
        problems = tuple(json.loads(facts.get("problems", "[]")))
        when = None if checked_at is None else float(checked_at)
        took, fault = float(facts.get("took", 0)), facts.get("fault", "")
        return Status(facts.get("source", ""), public, private, unknown, records, when, took, fault, problems)

    def find(self, name: str) -> Listed | None:
        """Returns what is known of a name; None if nothing is. Raises StorageFault."""
        row = self.index.row(f"{_LISTED} WHERE name = ?", (name,))
        return None if row is None else _listed(row)

    def reasons(self, name: str) -> list[Reason]:
        """Returns the current records of a name. Raises StorageFault."""
        rows = self.index.rows("SELECT id, public, complete, embargo FROM records WHERE name = ? ORDER BY id", (name,))
        return [Reason(row[0], bool(row[1]), bool(row[2]), _dates(row[3])) for row in rows]

    def names(self, state: str | None = None) -> Iterator[Listed]:
        """Yields all names, or those of one of STATES, in order. Raises StorageFault."""
        where = f"WHERE {STATES[state]}" if state else ""
        with self.index.reading(f"{_LISTED} {where} ORDER BY name") as rows:
            for row in rows:
                yield _listed(row)

    def sample(self, is_public: bool, number: int) -> list[str]:
        """Returns some names that are public, or that are not. Raises StorageFault."""
        query = "SELECT name FROM files WHERE state = ? AND next_change IS NULL LIMIT ?"
        return [name for (name,) in self.index.rows(query, (PUBLIC if is_public else PRIVATE, number))]

    def close(self) -> None:
        """Closes the index."""
        self.index.close()


_LISTED = "SELECT name, state, known, next_change, since_ns FROM files"


def _listed(row: tuple[str, int, int, int | None, int]) -> Listed:
    name, state, known, change, since_ns = row
    is_over = change is not None and embargo.today(time.time()) >= change
    is_public = state == PUBLIC and not is_over
    return Listed(name, is_public, bool(known), embargo.spelled(change), since_ns / 1_000_000_000)


def _dates(text: str | None) -> tuple[tuple[str | None, str | None], ...]:
    return tuple((embargo.spelled(item.start or None), embargo.spelled(item.end)) for item in embargo.decoded(text))
