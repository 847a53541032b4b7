"""The data of the status page; `assetstore.monitoring.trash_report` has that of the trash.

All texts may come from clients (names, collections, sentences), so they must be shown as text and never as markup.
The data contains neither paths of the server nor keys.

Concurrency: any thread may call. Only the last survey is cached.
"""

import contextlib
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from assetstore import __version__, formats, media_types, names
from assetstore.collections.mapping import Collections
from assetstore.config.loading import Settings
from assetstore.errors import AssetError, BadRequest, NotFound
from assetstore.fixity import schedule
from assetstore.fixity.verification import MEANINGS
from assetstore.http.parameters import Parameters
from assetstore.journal.events import OPERATIONS, Event
from assetstore.listing.service import Listing
from assetstore.monitoring import health, visibility_report
from assetstore.monitoring.files_report import FilesReport
from assetstore.monitoring.health import Health
from assetstore.monitoring.recent_errors import RecentRefusals
from assetstore.monitoring.trash_report import TrashReport
from assetstore.originals.service import Originals
from assetstore.originals.storage_report import Survey
from assetstore.programs import admin_name
from assetstore.storage.models import Version
from assetstore.thumbnails.rendering import versions
from assetstore.thumbnails.rendering.pool import RenderPool
from assetstore.thumbnails.service import Thumbnails
from assetstore.thumbnails.trashed import TrashThumbnails
from assetstore.visibility.service import Visibility

_NANOSECONDS = 1_000_000_000

#: How many events and findings to return.
_MOST = 200


@dataclass(frozen=True)
class Served:
    """The objects that the report describes."""

    settings: Settings
    originals: Originals
    listing: Listing
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

    Attributes:
        parts: the data by the name of the part.
        trash: its data and actions.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._originals = served.originals
        settings = served.settings
        self._survey = Survey(served.originals, settings.reserved_bytes, settings.trash_days > 0)
        trashed = TrashThumbnails(served.originals.trash_storage, served.pool, settings.can_thumbnail)
        self.trash = TrashReport(served.originals, served.thumbnails, trashed, settings.trash_days)
        self.parts: dict[str, Callable[[Parameters], dict[str, Any]]] = {
            "overview": self._overview,
            "storage": self._storage,
            "activity": self._activity,
            "originals": self._find,
            "existing": self._existing,
            "trash": self.trash.list,
            "trash-plan": self.trash.plan,
            "visibility": lambda query: visibility_report.part(served.visible, served.originals.journal, query),
            **FilesReport(settings, served.listing).parts,
        }

    def _overview(self, _query: Parameters) -> dict[str, Any]:
        settings, workers = self._served.settings, self._served.pool.workers()
        self._prepare_listing()
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
            "has_viewer": settings.viewer,
            "time_tolerance": settings.time_tolerance,
        }

    def _prepare_listing(self) -> None:
        """Has the list of files made in the background while the overview is shown."""
        with contextlib.suppress(AssetError):  # the list shows the error
            self._served.listing.prepare()

    def _collections(self) -> list[dict[str, str]]:
        """Each folder with a collection name; the name is empty if all collections share one folder."""
        return [
            {"place": collection_dir, "name": name} for collection_dir, name in self._served.collections.named().items()
        ]

    def _verification(self) -> dict[str, Any]:
        plan = {
            "days": self._served.settings.verify_days,
            "command": f"{admin_name()} verify",
            "meanings": MEANINGS,
        }
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
        """The original of exactly one name, if it exists; the parts of `FilesReport` list all files."""
        collection_dir, name = query.get("place"), query.get("name") or ""
        types = self._served.settings.can_thumbnail & formats.THUMBNAIL_TYPES
        found = []
        for where in self._originals.collection_dirs:
            version = self._version(where, name) if collection_dir in {None, where} else None
            if version is not None:
                media_type = media_types.guess(name)
                row = {"place": where, "name": name, "size": version.size, "time": version.modified_ns / _NANOSECONDS}
                found.append({**row, "type": media_type, "has_thumbnail": media_type in types})
        return {"originals": found}

    def _version(self, collection_dir: str, name: str) -> Version | None:
        try:
            return self._originals.storage.version(collection_dir, name) if names.is_store_name(name) else None
        except NotFound:
            return None

    def _existing(self, query: Parameters) -> dict[str, Any]:
        """Which of some store names, separated by slashes, exist in a collection folder."""
        collection_dir, wanted = query.get("place"), (query.get("names") or "").split("/")[:_MOST]
        if collection_dir is None or collection_dir not in self._originals.collection_dirs:
            raise BadRequest("The collection folder is unknown.")
        valid = [name for name in wanted if names.is_store_name(name)]
        return {"existing": [name for name in valid if self._originals.exists(collection_dir, name)]}


def _row(event: Event) -> dict[str, Any]:
    """An event for the page, which expects the collection folder under the key `place`."""
    row = {**asdict(event), "time": event.time_ns / _NANOSECONDS}
    row["place"] = row.pop("collection_dir")
    return row
