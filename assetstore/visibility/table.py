"""Reads the visibility of files from a table: VISIBILITY_FILE, a CSV file (`VISIBILITY = "file"`).

Its columns are `store_name`, `public` (yes or no) and `embargo_until` (an ISO date, or empty). The file is one part: it
is read again as a whole if it was replaced or changed.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from assetstore import csv_io
from assetstore.errors import BadRequest
from assetstore.names import is_store_name
from assetstore.visibility import embargo
from assetstore.visibility.models import KnownPart, Part, Record

_COLUMNS = ("store_name", "public", "embargo_until")
_YES, _NO = "yes", "no"


class TableSource:
    """The records of a table.

    Parameters:
        path: of the table.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"file {path}"

    def changed(self, known: Mapping[int, KnownPart], problems: list[str]) -> Iterator[Part]:
        """Yields the table as one part, if it has changed (`Source.changed`). Raises BadRequest."""
        try:
            status = os.stat(self._path)
        except OSError as error:
            raise BadRequest("The file with the visibility cannot be read.", f"{self._path}: {error}") from error
        checksum = f"{status.st_dev}-{status.st_ino}-{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"
        if 0 not in known or known[0].checksum != checksum:
            yield Part(0, checksum, self._records(problems))

    def _records(self, problems: list[str]) -> Iterator[Record]:
        try:
            for line, row in csv_io.read(self._path, _COLUMNS):
                record = _record(line, row, problems)
                if record is not None:
                    yield record
        except BadRequest as error:
            raise BadRequest("The file with the visibility cannot be read.", error.public) from error


def _record(line: int, row: Mapping[str, str], problems: list[str]) -> Record | None:
    """The record of a row. What cannot be read is not public, and is one of the problems."""
    name = csv_io.unguarded(row.get("storename", "")).strip()
    if not is_store_name(name):
        problems.append(f"Line {line}: {name[:100]!r} is not a store name, so the line has no effect.")
        return None
    public, until = row.get("public", "").strip().lower(), row.get("embargountil", "").strip()
    try:
        if public not in (_YES, _NO):
            raise ValueError(f"{public[:20]!r} is neither yes nor no")
        ends = embargo.until(until)
    except ValueError as error:
        problems.append(f"Line {line}: {error}, so {name!r} is not public.")
        return Record(line, name, False)
    return Record(line, name, public == _YES, embargo=embargo.encoded([ends] if ends else []))
