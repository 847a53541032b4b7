"""The trash on the status page: its data, and its actions, which restore files.

Concurrency: any thread may call.
"""

import math
from dataclasses import asdict
from typing import Any

from assetstore.errors import BadRequest, NotFound
from assetstore.http.parameters import Parameters
from assetstore.journal.events import Origin
from assetstore.originals import trash_selection
from assetstore.originals.service import Originals
from assetstore.originals.trash_selection import Selection
from assetstore.storage.models import TrashEntry
from assetstore.thumbnails.service import Thumbnails
from assetstore.thumbnails.trashed import TrashThumbnails

_NANOSECONDS = 1_000_000_000

#: How many entries a page has, and how many names a preview shows of each kind.
_MOST, _EXAMPLES = 100, 10


class TrashReport:
    """The trash of a store.

    Parameters:
        originals: the store.
        thumbnails: of the originals; those of restored files are discarded.
        trashed: thumbnails of files in the trash.
        days: how long files stay in the trash (TRASH_DAYS).
    """

    def __init__(self, originals: Originals, thumbnails: Thumbnails, trashed: TrashThumbnails, days: int) -> None:
        self._originals = originals
        self._thumbnails = thumbnails
        self._trashed = trashed
        self._days = days

    def list(self, query: Parameters) -> dict[str, Any]:
        """Returns a page of the trash and, with the first page, its size and its days.

        Parameters:
            query: `search`, `name`, `place`, `since` and `until` (seconds since 1970) select entries; `after` is the
                cursor of a further page.
        """
        entries = trash_selection.selected(self._originals, _selection(query))
        after = query.get("after")
        page = trash_selection.page(entries, after, _MOST)
        found: dict[str, Any] = {"entries": [self._row(entry) for entry in page.entries], "following": page.following}
        if after is None:
            found |= {
                "number": len(entries),
                "bytes": sum(entry.size for entry in entries),
                "days": self._days,
                "quarters": trash_selection.quarters(entries),
            }
        return found

    def plan(self, query: Parameters) -> dict[str, Any]:
        """Returns what `restore_all` would do with the same parameters."""
        plan = trash_selection.plan(self._originals, _selection(query))
        return {
            "restored": _summary(plan.restored),
            "replacing": _summary(plan.replacing),
            "older": plan.older,
            "until": f"{plan.until_ns / _NANOSECONDS:.6f}",
            "days": self._days,
        }

    def restore(self, query: Parameters, origin: Origin) -> TrashEntry:
        """Restores an original from the trash and returns its entry.

        Parameters:
            query: `place` and `entry` as the list has them; `replace=yes` if the current original of that name may be
                moved to the trash.
            origin: the source of the request.

        Raises:
            NotFound: the entry no longer exists.
            BadRequest: an original of that name exists and may not be replaced.
            OutOfSpace, StorageFault: see `Originals.restore`.
        """
        entry = self._entry(query)
        keeps_trash = self._originals.keeps_trash
        if not keeps_trash and self._originals.exists(entry.collection_dir, entry.name):
            raise BadRequest("A file with this name exists, and without a trash (TRASH_DAYS) it would be lost.")
        self._originals.restore(entry, origin, may_replace=keeps_trash and query.get("replace") == "yes")
        self._discard(entry)
        return entry

    def restore_all(self, query: Parameters, origin: Origin) -> dict[str, Any]:
        """Restores some of a selection; the result has the cursor `following` for the next call.

        Parameters:
            query: the selection as for `list`, with an end in the past; `replace=yes` if current originals may be
                moved to the trash; `after` is the cursor.
            origin: the source of the request.
        """
        replaces, after = query.get("replace") == "yes", query.get("after")
        selection = _selection(query)
        outcome = trash_selection.restore(
            self._originals, selection, after, origin, replaces=replaces, restored=self._discard
        )
        return asdict(outcome)

    def thumbnail(self, query: Parameters, client: str) -> tuple[bytes, str]:
        """Returns a thumbnail of an entry and its media type; `place` and `entry` as the list has them."""
        return self._trashed.make(self._entry(query), client)

    def _entry(self, query: Parameters) -> TrashEntry:
        collection_dir, identifier = query.get("place"), query.get("entry")
        if collection_dir is None or identifier is None or collection_dir not in self._originals.collection_dirs:
            raise NotFound("The file is no longer in the trash.")
        return self._originals.trash_storage.entry(collection_dir, identifier)

    def _discard(self, entry: TrashEntry) -> None:
        self._thumbnails.discard(entry.collection_dir, entry.name)

    def _row(self, entry: TrashEntry) -> dict[str, Any]:
        return {
            "place": entry.collection_dir,
            "entry": entry.identifier,
            "name": entry.name,
            "time": entry.removed_ns / _NANOSECONDS,
            "reason": entry.reason,
            "size": entry.size,
            "exists": self._originals.exists(entry.collection_dir, entry.name),
            "has_thumbnail": self._trashed.has(entry.name),
        }


def _selection(query: Parameters) -> Selection:
    since_ns, until_ns = _time_ns(query, "since"), _time_ns(query, "until")
    return Selection(query.get("search") or "", query.get("name"), query.get("place"), since_ns, until_ns)


def _time_ns(query: Parameters, parameter: str) -> int | None:
    text = query.get(parameter)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 1e11:  # the year 5138; also not a number
        raise BadRequest(f"The parameter {parameter} must be a time in seconds since 1970.")
    return int(seconds * _NANOSECONDS)


def _summary(entries: list[TrashEntry]) -> dict[str, Any]:
    names = [entry.name for entry in entries[:_EXAMPLES]]
    return {"number": len(entries), "bytes": sum(entry.size for entry in entries), "names": names}
