"""The data of the section Visibility of the status page."""

import time
from dataclasses import asdict
from typing import Any

from assetstore.errors import AssetError
from assetstore.http.parameters import Parameters
from assetstore.journal import events
from assetstore.journal.journal import Journal
from assetstore.visibility.service import Visibility

_NANOSECONDS = 1_000_000_000

#: How many changes of each kind to return.
_MOST = 100


def part(visible: Visibility | None, journal: Journal, query: Parameters) -> dict[str, Any]:
    """Returns the state, the latest changes and, for the parameter `name`, why that file is public or not.

    Parameters:
        visible: the visibility of files; None if VISIBILITY is not set.
        journal: of the store.
        query: the parameters of the request.

    Raises StorageFault.
    """
    if visible is None:
        return {"enabled": False}
    status, name, now = visible.status(), query.get("name"), time.time()
    return {
        "enabled": True,
        **asdict(status),
        "age": None if status.checked_at is None else max(0.0, now - status.checked_at),
        "is_current": status.is_current(visible.seconds, now),
        "changes": _changes(journal),
        "explained": _explained(visible, name) if name else None,
    }


def _explained(visible: Visibility, name: str) -> dict[str, Any]:
    listed = visible.find(name)
    records = [asdict(reason) for reason in visible.reasons(name)]
    return {"name": name, "file": None if listed is None else asdict(listed), "records": records}


def _changes(journal: Journal) -> list[dict[str, Any]]:
    found = []
    for operation in (events.PUBLIC, events.PRIVATE):
        try:
            found += list(journal.search(operation=operation, newest_first=True, most=_MOST))
        except AssetError:
            return []  # the section Activity reports it
    found.sort(key=lambda event: event.identifier, reverse=True)
    return [
        {
            "time": event.time_ns / _NANOSECONDS,
            "state": event.operation,
            "name": event.name,
            "place": event.collection_dir,
        }
        for event in found[:_MOST]
    ]
