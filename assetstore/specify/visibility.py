"""Reads the visibility of attachments from Specify's database by differences (`VISIBILITY = "specify"`).

Timestamps of records do not show deletions, changes by SQL, or changes while a clock was wrong. So a poll compares
checksums instead: the database computes one for each block of numbers of attachments (a part), over the columns that
matter, and only the rows of blocks with another checksum are read. All of a poll sees one consistent snapshot, which
locks nothing.

The account requires the SELECT privilege on `attachment`, `collectionobjectattachment` and `collectionobject`.
"""

import datetime
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from assetstore.specify.database import Address, connected
from assetstore.visibility import embargo
from assetstore.visibility.models import KnownPart, Part, Record

#: How many numbers of attachments a part has.
_PART = 64

#: How many parts with incomplete records to read again in each poll. They are incomplete while a database is being
#: restored; single ones may be so forever.
_INCOMPLETE = 40

#: Value of TableID: the attachment belongs to a collection object, so there has to be one.
_COLLECTION_OBJECT = 1

#: Embargoes that ended earlier than this do not matter, whatever the precision of their dates.
_DAYS_OF_ENDED_EMBARGOES = 400

_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER = 10, 120


def _checksums(columns: str, row: str, tables: str) -> str:
    """The query for the number of rows of each part, and a checksum of these columns.

    A CRC is linear, so two flags that change could cancel each other out in a sum. They do not if each CRC is
    multiplied by a number of its own: *row*, the primary key, spread over 32 bits (D. Knuth, TAOCP 6.4).
    """
    weight = f"({row} * 2654435761 & 4294967295)"
    return (
        f"SELECT attachment.AttachmentID DIV {_PART}, COUNT(*), SUM(CRC32(CONCAT_WS('|', {columns})) * {weight})"  # noqa: S608 - only constants
        f" FROM {tables} GROUP BY 1"
    )


#: In MySQL, a boolean column may be BIT(1); adding 0 makes it a number.
_OF_ATTACHMENTS = _checksums(
    "attachment.AttachmentID, IFNULL(attachment.IsPublic + 0, ''), IFNULL(attachment.TableID, ''),"
    " IFNULL(attachment.AttachmentLocation, '')",
    "attachment.AttachmentID",
    "attachment",
)
_DATES = (
    "specimen.EmbargoStartDate, specimen.EmbargoStartDatePrecision,"
    " specimen.EmbargoReleaseDate, specimen.EmbargoReleaseDatePrecision"
)
#: The few embargoes first: otherwise the database looks up the specimen of each attachment.
_OF_EMBARGOES = _checksums(
    "attachment.AttachmentID, specimen.CollectionObjectID, "
    + ", ".join(f"IFNULL({column.strip()}, '')" for column in _DATES.split(",")),
    "attachment.CollectionObjectAttachmentID",
    "collectionobject AS specimen STRAIGHT_JOIN collectionobjectattachment AS attachment"
    " ON attachment.CollectionObjectID = specimen.CollectionObjectID"
    " WHERE specimen.EmbargoReleaseDate >= %s"
    " OR (specimen.EmbargoReleaseDate IS NULL AND specimen.EmbargoStartDate IS NOT NULL)",
)
_ROWS = (
    "SELECT attachment.AttachmentID, attachment.AttachmentLocation, attachment.IsPublic + 0, attachment.TableID,"  # noqa: S608 - only constants
    f" joined.AttachmentID, specimen.CollectionObjectID, {_DATES}"
    " FROM attachment LEFT JOIN collectionobjectattachment AS joined ON joined.AttachmentID = attachment.AttachmentID"
    " LEFT JOIN collectionobject AS specimen ON specimen.CollectionObjectID = joined.CollectionObjectID"
    " WHERE attachment.AttachmentID BETWEEN %s AND %s ORDER BY attachment.AttachmentID"
)


class DatabaseSource:
    """The attachment records of a database.

    Parameters:
        name: the address, without a password.
        address: returns the address with the current password; raises AssetError.
    """

    def __init__(self, name: str, address: Callable[[], Address]) -> None:
        self.name = name
        self._address = address
        self._reread: set[int] = set()

    def changed(self, known: Mapping[int, KnownPart], problems: list[str]) -> Iterator[Part]:
        """Yields the parts that differ from their known checksums (`Source.changed`).

        Raises Unavailable (the database cannot be reached), BadRequest (its tables cannot be read).
        """
        del problems  # every record can be used
        with connected(self._address(), _SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER) as cursor:
            current = _current(cursor)
            same = {number for number in known.keys() & current.keys() if known[number].checksum == current[number]}
            again = self._again(number for number in same if not known[number].is_complete)
            has_links = _has_links(cursor)
            for first, last in _runs(sorted((current.keys() - same) | again)):
                cursor.execute(_ROWS, (first * _PART, last * _PART + _PART - 1))
                for number, rows in itertools.groupby(cursor, key=lambda row: row[0] // _PART):
                    yield Part(number, current[number], _records(rows, has_links))
            for number in known.keys() - current.keys():
                yield Part(number, None, ())

    def _again(self, incomplete: Iterable[int]) -> set[int]:
        """The incomplete parts to read again in this poll although nothing seems to have changed; each has its turn."""
        waiting = set(incomplete)
        if not waiting - self._reread:
            self._reread = set()
        chosen = set(sorted(waiting - self._reread)[:_INCOMPLETE])
        self._reread |= chosen
        return chosen


def _current(cursor: Any) -> dict[int, str]:
    """The checksums of all parts."""
    cursor.execute(_OF_ATTACHMENTS)
    current = {number: f"{rows} {checksum}" for number, rows, checksum in cursor}
    earliest = datetime.datetime.fromtimestamp(time.time(), datetime.UTC).date()
    cursor.execute(_OF_EMBARGOES, (earliest - datetime.timedelta(_DAYS_OF_ENDED_EMBARGOES),))
    for number, rows, checksum in cursor:
        if number in current:  # else the attachment of a joined row is missing
            current[number] += f" {rows} {checksum}"
    return current


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yields the first and last number of each run of consecutive numbers."""
    for _, run in itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        yield members[0], members[-1]


def _has_links(cursor: Any) -> bool:
    """Whether any attachment belongs to a collection object; while a dump is being restored, none may."""
    cursor.execute("SELECT 1 FROM collectionobjectattachment LIMIT 1")
    return bool(cursor.fetchall())


def _records(rows: Iterable[tuple[Any, ...]], has_links: bool) -> Iterator[Record]:
    for identifier, joined in itertools.groupby(rows, key=lambda row: row[0]):
        found = list(joined)
        _, location, public, table = found[0][:4]
        if not location:
            continue  # its upload never finished
        is_joined = found[0][4] is not None
        # Old records may not say to what they belong.
        needs_specimen = table == _COLLECTION_OBJECT or (table is None and not has_links)
        is_complete = all(row[5] is not None for row in found) if is_joined else not needs_specimen
        embargoes = (embargo.of_specify(*row[6:10]) for row in found)
        encoded = embargo.encoded(item for item in embargoes if item is not None)
        yield Record(identifier, location, bool(public), is_complete, encoded)
