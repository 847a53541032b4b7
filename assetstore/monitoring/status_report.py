"""The data of the status page, and its one action: restoring a file from the trash.

All texts may come from clients (names, collections, sentences), so they must be shown as text and never as markup.
The data contains neither paths of the server nor keys.

Concurrency: any thread may call. Only the last survey is cached.
"""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from assetstore import __version__, formats, media_types, names
from assetstore.collections.mapping import Collections
from assetstore.config.loading import Settings
from assetstore.errors import AssetError, BadRequest, NotFound
from assetstore.fixity import schedule
from assetstore.http.parameters import Parameters
from assetstore.journal.events import OPERATIONS, Event, Origin
from assetstore.monitoring import health, visibility_report
from assetstore.monitoring.health import Health
from assetstore.monitoring.recent_errors import RecentRefusals
from assetstore.originals import search
from assetstore.originals.search import Found
from assetstore.originals.service import Originals
from assetstore.originals.storage_report import Survey
from assetstore.programs import admin_name
from assetstore.storage.models import TrashEntry
from assetstore.thumbnails.rendering import versions
from assetstore.thumbnails.rendering.pool import RenderPool
from assetstore.thumbnails.service import Thumbnails
from assetstore.visibility.service import Visibility

_NANOSECONDS = 1_000_000_000

#: How many events, trash entries and findings to return.
_MOST = 200


@dataclass(frozen=True)
class Served:
    """The objects that the report describes."""

    settings: Settings
    originals: Originals
    thumbnails: Thumbnails
    pool: RenderPool
    health: Health
    collections: Collections
    refusals: RecentRefusals
    visible: Visibility | None


class Report:
    """The data of the status page.

    Parameters:
        served: the objects to describe.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._originals = served.originals
        settings = served.settings
        self._survey = Survey(served.originals, settings.reserved_bytes, settings.trash_days > 0)
        self.parts: dict[str, Callable[[Parameters], dict[str, Any]]] = {
            "overview": self._overview,
            "storage": self._storage,
            "activity": self._activity,
            "originals": self._find,
            "trash": self._trash,
            "visibility": lambda query: visibility_report.part(served.visible, served.originals.journal, query),
        }

    def restore(self, query: Parameters, origin: Origin) -> TrashEntry:
        """Restores an original from the trash and returns its entry.

        Parameters:
            query: `place` and `entry` as the part `trash` has them; `replace=yes` if the current original of that name
                may be moved to the trash.
            origin: the source of the request.

        Raises:
            NotFound: the entry no longer exists.
            BadRequest: an original of that name exists and may not be replaced.
            OutOfSpace, StorageFault: see `Originals.restore`.
        """
        collection_dir, identifier = query.get("place"), query.get("entry")
        of_collection = [] if collection_dir is None else self._entries(collection_dir)
        entry = next((entry for entry in of_collection if entry.identifier == identifier), None)
        if entry is None:
            raise NotFound("The file is no longer in the trash.")
        if self._exists(entry):
            if not self._served.settings.trash_days:
                raise BadRequest("A file with this name exists, and without a trash (TRASH_DAYS) it would be lost.")
            if query.get("replace") != "yes":
                raise BadRequest("A file with this name exists already.")
        self._originals.restore(entry, origin)
        self._served.thumbnails.discard(entry.collection_dir, entry.name)
        return entry

    def _overview(self, _query: Parameters) -> dict[str, Any]:
        settings, workers = self._served.settings, self._served.pool.workers()
        report = self._served.health.report()
        return {
            "versions": {"Web Asset Server": __version__, "Python": platform.python_version(), **versions.installed()},
            "ready": all(result.status != health.ERROR for result in report.values()),
            "checks": {name: vars(result) for name, result in report.items()},
            "rendering": {
                "busy": workers.busy,
                "most": workers.most,
                "waiting": self._served.thumbnails.waiting(),
                "most_waiting": settings.limits.thumbnail_waiters,
                "in_background": workers.in_background,
            },
            "verification": self._verification(),
            "collections": self._collections(),
            "trash_days": settings.trash_days,
            "most_upload_bytes": settings.max_upload_bytes,
            "needs_key_to_read": settings.require_key_for_get or settings.visibility is not None,
            "has_visibility": settings.visibility is not None,
            "time_tolerance": settings.time_tolerance,
        }

    def _collections(self) -> list[dict[str, str]]:
        """Each folder with a collection name; the name is empty if all collections share one folder."""
        return [
            {"place": collection_dir, "name": name} for collection_dir, name in self._served.collections.named().items()
        ]

    def _verification(self) -> dict[str, Any]:
        plan = {"days": self._served.settings.verify_days, "command": f"{admin_name()} verify"}
        try:
            last = schedule.last_run(self._originals)
            query = "SELECT place, name, time_ns, finding FROM checks WHERE finding != '' ORDER BY time_ns DESC LIMIT ?"
            with self._originals.journal.reading(query, (_MOST,)) as rows:
                findings = [
                    {"place": collection_dir, "name": name, "time": time_ns / _NANOSECONDS, "finding": found}
                    for collection_dir, name, time_ns, found in rows
                ]
        except AssetError as error:
            return {**plan, "last": None, "findings": [], "fault": error.public}
        return {**plan, "last": last, "findings": findings, "fault": None}

    def _storage(self, _query: Parameters) -> dict[str, Any]:
        return self._survey.latest()

    def _activity(self, query: Parameters) -> dict[str, Any]:
        operation = query.get("operation") or None
        if operation is not None and operation not in OPERATIONS:
            raise BadRequest("The operation is unknown.")
        events = self._originals.journal.search(operation=operation, newest_first=True, most=_MOST)
        return {
            "operations": list(OPERATIONS),
            "events": [_row(event) for event in events],
            "refusals": self._served.refusals.latest()[:_MOST],
        }

    def _find(self, query: Parameters) -> dict[str, Any]:
        collection_dir, name, part = query.get("place"), query.get("name"), query.get("search")
        if name:
            found = search.exactly(self._originals, name, collection_dir)
        elif part:
            found = search.named(self._originals, part, collection_dir)
        else:
            found = search.latest(self._originals, collection_dir)
        return self._as_data(found)

    def _as_data(self, found: Found) -> dict[str, Any]:
        types = self._served.settings.can_thumbnail & formats.THUMBNAIL_TYPES
        originals = [
            {
                "place": collection_dir,
                "name": names.spelled(listed.name),
                "size": listed.size,
                "time": listed.modified_ns / _NANOSECONDS,
                "type": media_types.guess(listed.name),
                "has_thumbnail": media_types.guess(listed.name) in types,
            }
            for collection_dir, listed in found.originals
        ]
        return {"originals": originals, "is_all": found.is_all}

    def _trash(self, query: Parameters) -> dict[str, Any]:
        name, part = query.get("name"), (query.get("search") or "").casefold()
        entries = [
            entry
            for entry in self._entries(query.get("place"))
            if (entry.name == name if name else part in entry.name.casefold())
        ]
        entries.sort(key=lambda entry: entry.removed_ns, reverse=True)
        days = self._served.settings.trash_days
        shown = [
            {
                "place": entry.collection_dir,
                "entry": entry.identifier,
                "name": entry.name,
                "time": entry.removed_ns / _NANOSECONDS,
                "reason": entry.reason,
                "size": entry.size,
                "exists": self._exists(entry),
            }
            for entry in entries[:_MOST]
        ]
        return {"entries": shown, "number": len(entries), "bytes": sum(entry.size for entry in entries), "days": days}

    def _entries(self, collection_dir: str | None) -> list[TrashEntry]:
        return [entry for entry in self._originals.trash() if collection_dir in (None, entry.collection_dir)]

    def _exists(self, entry: TrashEntry) -> bool:
        try:
            self._originals.storage.version(entry.collection_dir, entry.name)
        except NotFound:
            return False
        return True


def _row(event: Event) -> dict[str, Any]:
    """An event for the page, which expects the collection folder under the key `place`."""
    row = {**asdict(event), "time": event.time_ns / _NANOSECONDS}
    row["place"] = row.pop("collection_dir")
    return row
