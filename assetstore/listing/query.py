"""Queries of the index: filters, sort orders and pages.

Pages are found by the sort key of their first or last file (keyset pagination), so a page takes the same time anywhere
in the list, and files that are added or deleted meanwhile do not shift the others. Each query reads one covering index,
so that even a search that finds nothing among a million files takes about 0.3 seconds.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from assetstore.errors import BadRequest
from assetstore.listing.database import SORTED_BY

#: The limit of integers in SQLite.
_NUMBERS = 2**63

#: The columns of sort keys that are text; the others are numbers.
_TEXTS = frozenset(("text", "place", "type"))

_COLUMNS = "place, name, size, modified_ns, type, original_name, is_changed, has_failed"


@dataclass(frozen=True)
class Filter:
    """Which originals to list; fields that are empty or None select all.

    Fields:
        part: of the store name or of the original name, ignoring case.
        collection_dir: the folder of a collection.
        media_type: such as `image/jpeg`, or `image/` for all images.
        since_ns, until_ns: the time of the last change, nanoseconds since 1970; until_ns is exclusive.
        without_thumbnail_of: only files without a thumbnail: those whose media type is not one of these, and those of
            which no thumbnail could be made.
        is_changed: only files that changed since they were verified.
    """

    part: str = ""
    collection_dir: str | None = None
    media_type: str = ""
    since_ns: int | None = None
    until_ns: int | None = None
    without_thumbnail_of: frozenset[str] | None = None
    is_changed: bool = False

    def terms(self) -> tuple[list[str], list[object]]:
        """Returns the terms of the WHERE clause, and their arguments."""
        found: list[tuple[str, tuple[object, ...]]] = []
        if self.part:
            found.append(("instr(text, ?) > 0", (self.part.casefold(),)))
        if self.collection_dir is not None:
            found.append(("place = ?", (self.collection_dir,)))
        if self.media_type.endswith("/"):
            found.append(
                ("type >= ? AND type < ?", (self.media_type, f"{self.media_type[:-1]}0"))
            )  # 0 follows the slash
        elif self.media_type:
            found.append(("type = ?", (self.media_type,)))
        if self.since_ns is not None:
            found.append(("modified_ns >= ?", (self.since_ns,)))
        if self.until_ns is not None:
            found.append(("modified_ns < ?", (self.until_ns,)))
        if self.without_thumbnail_of is not None:
            types = json.dumps(sorted(self.without_thumbnail_of))
            found.append(("(has_failed OR type NOT IN (SELECT value FROM json_each(?)))", (types,)))
        if self.is_changed:
            found.append(("is_changed", ()))
        return [term for term, _ in found], [argument for _, arguments in found for argument in arguments]


@dataclass(frozen=True)
class Order:
    """The order of a list: one of SORTED_BY, then by name and folder."""

    column: str = "text"
    is_descending: bool = False

    def columns(self) -> tuple[str, ...]:
        """Returns the columns of the sort key, which is unique."""
        return tuple(dict.fromkeys((self.column, "text", "place", "id")))


class Row(NamedTuple):
    """An original in a list; the fields are the columns of the index."""

    collection_dir: str
    name: str
    size: int
    modified_ns: int
    media_type: str
    original_name: str | None
    is_changed: bool
    has_failed: bool


@dataclass(frozen=True)
class Page:
    """A part of a list.

    Fields:
        rows: the files.
        first: the position of the first one; None if there are no files.
        before, after: the cursors of the pages before and after it; None if there are no such pages.
    """

    rows: list[Row]
    first: str | None
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Total:
    """How many files a list has, their bytes, and how many come before a position."""

    files: int
    bytes: int
    files_before: int


@dataclass(frozen=True)
class Cursor:
    """A position in a list, the sort key of a file, and whether to read backward from there; without that file."""

    key: tuple[object, ...]
    is_backward: bool = False

    def __str__(self) -> str:
        return json.dumps([self.is_backward, *self.key], ensure_ascii=False, separators=(",", ":"))


def cursor(text: str, order: Order) -> Cursor:
    """Parses a cursor. Raises BadRequest."""
    try:
        is_backward, *key = json.loads(text)
        json.dumps(key, ensure_ascii=False).encode()  # a surrogate cannot be in the index
    except (ValueError, TypeError, RecursionError):
        raise BadRequest("The position in the list is invalid.") from None
    expected = [str if column in _TEXTS else int for column in order.columns()]
    is_valid = isinstance(is_backward, bool) and [type(part) for part in key] == expected
    if not is_valid or any(isinstance(part, int) and abs(part) >= _NUMBERS for part in key):
        raise BadRequest("The position in the list is invalid.")
    return Cursor(tuple(key), is_backward)


def page(connection: sqlite3.Connection, chosen: Filter, order: Order, start: Cursor | None, most: int) -> Page:
    """Returns a page of at most *most* files.

    Parameters:
        connection: to the index.
        chosen, order: of the list.
        start: the cursor of the page; None for the first one.
    """
    is_backward = start is not None and start.is_backward
    terms, arguments = chosen.terms()
    if start is not None:
        terms.append(_beyond(order, is_backward))
        arguments += start.key
    keys, direction = order.columns(), "DESC" if order.is_descending != is_backward else "ASC"
    sorting = ", ".join(f"{key} {direction}" for key in keys)
    query = f"SELECT {', '.join(keys)}, {_COLUMNS} FROM files {_index(connection, order.column)} {_where(terms)}"  # noqa: S608 - only constants
    found = connection.execute(f"{query} ORDER BY {sorting} LIMIT ?", (*arguments, most + 1)).fetchall()
    has_more, found = len(found) > most, found[:most]
    if is_backward:
        found.reverse()
    has_before, has_after = (has_more, True) if is_backward else (start is not None, has_more)
    rows = [_row(row[len(keys) :]) for row in found]
    if not rows:
        return Page([], None, None, None)
    first, last = found[0][: len(keys)], found[-1][: len(keys)]
    before, after = str(Cursor(first, True)), str(Cursor(last))
    return Page(rows, before, before if has_before else None, after if has_after else None)


def total(connection: sqlite3.Connection, chosen: Filter, order: Order, first: Cursor | None) -> Total:
    """Returns the total of a list, and how many of its files come before the position *first*."""
    terms, arguments = chosen.terms()
    query = f"SELECT COUNT(*), SUM(size) FROM files {_index(connection, 'size')} {_where(terms)}"  # noqa: S608
    files, size = connection.execute(query, arguments).fetchone()
    before = 0
    if first is not None:
        where = _where([*terms, _beyond(order, True)])
        query = f"SELECT COUNT(*) FROM files {_index(connection, order.column)} {where}"  # noqa: S608
        before = connection.execute(query, [*arguments, *first.key]).fetchone()[0]
    return Total(files, size or 0, before)


def types(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """Returns the media types of all originals, each with the number of files."""
    query = f"SELECT type, COUNT(*) FROM files {_index(connection, 'type')} GROUP BY type ORDER BY type"  # noqa: S608
    return [(media_type, number) for media_type, number in connection.execute(query)]


def _row(columns: tuple[Any, ...]) -> Row:
    *others, is_changed, has_failed = columns
    return Row._make((*others, bool(is_changed), bool(has_failed)))


def _where(terms: Sequence[str]) -> str:
    return f"WHERE {' AND '.join(terms)}" if terms else ""


def _beyond(order: Order, is_backward: bool) -> str:
    """The term for files after a sort key in the direction of reading."""
    sign = "<" if order.is_descending != is_backward else ">"
    keys = order.columns()
    return f"({', '.join(keys)}) {sign} ({', '.join('?' * len(keys))})"


def _index(connection: sqlite3.Connection, column: str) -> str:
    """Forces the index that is sorted by a column, because SQLite may choose one that needs sorting.

    During the first refresh there is none.
    """
    name = f"sorted_by_{SORTED_BY[SORTED_BY.index(column)]}"
    row = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?", (name,)).fetchone()
    return f"INDEXED BY {name}" if row else ""
