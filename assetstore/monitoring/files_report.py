"""The data of the status page about all files: pages of the list, and totals.

Concurrency: any thread may call.
"""

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from assetstore import formats, names
from assetstore.config.loading import Settings
from assetstore.errors import BadRequest
from assetstore.http.parameters import Parameters
from assetstore.listing.query import Filter, Order, Row, cursor
from assetstore.listing.service import Listing

_NANOSECONDS = 1_000_000_000

#: The sort orders by their names in requests, and the columns of the index.
_ORDERS = {"name": "text", "date": "modified_ns", "size": "size", "type": "type"}

#: How many files a page may have.
_DEFAULT, _MOST = 100, 1000

_SECONDS = re.compile(r"-?[0-9]{1,10}(?:\.[0-9]{1,9})?", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)


class FilesReport:
    """The data about all files.

    Parameters:
        settings: the effective settings.
        listing: of all files.

    Attributes:
        parts: the parts of the data by their names in requests. Each has the parameters of the list: `search`, `place`,
            `type`, `since` and `until` (seconds since 1970), `without_thumbnail=yes`, `changed=yes`,
            `sort` (name, date, size or type), and `descending=yes`.
    """

    def __init__(self, settings: Settings, listing: Listing) -> None:
        self._settings = settings
        self._listing = listing
        self._types = settings.can_thumbnail & formats.THUMBNAIL_TYPES
        self.parts: dict[str, Callable[[Parameters], dict[str, Any]]] = {
            "files": self._page,
            "files-total": self._total,
            "files-types": self._media_types,
        }

    def _page(self, query: Parameters) -> dict[str, Any]:
        """A page: of `most` files from the cursor `start`; `refresh=yes` has the folders read again."""
        chosen, order = self._filter(query), _order(query)
        start = query.get("start")
        most = query.get("most") or str(_DEFAULT)
        if not _NUMBER.fullmatch(most) or int(most) > _MOST:
            raise BadRequest("The number of files is invalid.")
        state = self._listing.prepare(is_requested=query.get("refresh") == "yes")
        page = self._listing.page(chosen, order, cursor(start, order) if start else None, int(most))
        positions = {"first": page.first, "before": page.before, "after": page.after}
        largest = self._settings.limits.largest_thumbnail
        rows = [self._as_data(row) for row in page.rows]
        return {"rows": rows, **positions, "state": asdict(state), "largest_thumbnail": largest}

    def _total(self, query: Parameters) -> dict[str, Any]:
        """How many files the list has, their bytes, and how many come before the position `first`."""
        order, first = _order(query), query.get("first")
        return asdict(self._listing.total(self._filter(query), order, cursor(first, order) if first else None))

    def _media_types(self, _query: Parameters) -> dict[str, Any]:
        return {"types": [{"type": media_type, "files": number} for media_type, number in self._listing.types()]}

    def _filter(self, query: Parameters) -> Filter:
        return Filter(
            part=query.get("search") or "",
            collection_dir=query.get("place"),
            media_type=query.get("type") or "",
            since_ns=_time_ns(query, "since"),
            until_ns=_time_ns(query, "until"),
            without_thumbnail_of=self._types if query.get("without_thumbnail") == "yes" else None,
            is_changed=query.get("changed") == "yes",
        )

    def _as_data(self, row: Row) -> dict[str, Any]:
        return {
            "place": row.collection_dir,
            "name": row.name,
            "size": row.size,
            "time": row.modified_ns / _NANOSECONDS,
            "type": row.media_type,
            "original_name": row.original_name,
            "is_changed": row.is_changed,
            "has_failed": row.has_failed,
            "has_thumbnail": row.media_type in self._types and names.is_store_name(row.name),
        }


def _order(query: Parameters) -> Order:
    column = _ORDERS.get(query.get("sort") or "name")
    if column is None:
        raise BadRequest("The sort order is unknown.")
    return Order(column, query.get("descending") == "yes")


def _time_ns(query: Parameters, name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    if not _SECONDS.fullmatch(text):
        raise BadRequest(f"The parameter {name} is not a time.")
    whole, _, fraction = text.partition(".")
    return int(whole) * _NANOSECONDS + int(fraction.ljust(9, "0"))
