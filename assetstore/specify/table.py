"""Reads Specify's attachment records from a CSV export."""

from collections.abc import Mapping
from pathlib import Path

from assetstore import csv_io
from assetstore.specify.records import COLLECTION_SCOPE, Record, Records

#: How exports write NULL.
_NOTHING = frozenset(("", "NULL", "\\N", "(NULL)", "<null>"))


def read(path: Path, scopes: Mapping[str, str], exported_ns: int | None) -> Records:
    """Returns the records of an export.

    Parameters:
        path: a table with the columns AttachmentID and AttachmentLocation, and preferably
            OrigFilename and CollectionName, or ScopeType and ScopeID.
        scopes: collection names by ScopeID, for tables without CollectionName.
        exported_ns: when it was exported, nanoseconds since 1970; None for the file's modification time.

    Raises:
        BadRequest: the file cannot be read, or is not such a table.
    """
    rows = csv_io.read(path, ("AttachmentID", "AttachmentLocation"))
    records = tuple(_record(row, scopes) for _, row in rows)
    return Records(records, path.stat().st_mtime_ns if exported_ns is None else exported_ns)


def _record(row: Mapping[str, str], scopes: Mapping[str, str]) -> Record:
    location, original = _cell(row, "attachmentlocation"), _cell(row, "origfilename")
    return Record(_cell(row, "attachmentid"), location, original, _collections(row, scopes))


def _collections(row: Mapping[str, str], scopes: Mapping[str, str]) -> tuple[str, ...] | None:
    named = _cell(row, "collectionname")
    if named:
        return (named,)
    if _cell(row, "scopetype") == str(COLLECTION_SCOPE) and _cell(row, "scopeid") in scopes:
        return (scopes[_cell(row, "scopeid")],)
    return None


def _cell(row: Mapping[str, str], name: str) -> str:
    text = row.get(name, "")
    return "" if text.strip() in _NOTHING else text
