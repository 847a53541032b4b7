"""Reads the visibility of files from a table: VISIBILITY_FILE, a CSV file (`VISIBILITY = "file"`).

Its columns are `store_name`, `public` (yes or no) and `embargo_until` (an ISO date, or empty). The file is one part: it
is read again as a whole if it was replaced or changed.

Some programs write over a file instead of replacing it, and a part of it could make a file public: without its end, the
line `a.jpg,yes,2030` has no embargo. So a changed table has no effect until it has not changed for a while, nor if it
changes while it is read.
"""

import os
import time
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
        settled_after: for how many seconds it must be unchanged before it is read.
    """

    def __init__(self, path: Path, settled_after: float) -> None:
        self._path = path
        self._settled_after = settled_after
        self._has_waited = False
        self.name = f"file {path}"

    def changed(self, known: Mapping[int, KnownPart], problems: list[str]) -> Iterator[Part]:
        """Yields the table as one part, if it has changed (`Source.changed`). Raises BadRequest."""
        checksum, age = self._state()
        if 0 in known and known[0].checksum == checksum:
            return
        if 0 in known and 0 <= age < self._settled_after:  # the first time, nothing is public yet
            if self._has_waited:
                raise _unreadable(f"{self._path} changes all the time; write a new file, and rename it.")
            self._has_waited = True
            return
        self._has_waited = False
        yield Part(0, checksum, self._records(problems))
        if self._state()[0] != checksum:
            raise _unreadable(f"{self._path} changed while it was read.")

    def _state(self) -> tuple[str, float]:
        """A text that changes with the table, and how long ago that was, in seconds. Raises BadRequest."""
        try:
            status = os.stat(self._path)
        except OSError as error:
            raise _unreadable(f"{self._path}: {error}") from error
        checksum = f"{status.st_dev}-{status.st_ino}-{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"
        return checksum, time.time() - status.st_mtime

    def _records(self, problems: list[str]) -> Iterator[Record]:
        try:
            for line, row in csv_io.read(self._path, _COLUMNS):
                record = _record(line, row, problems)
                if record is not None:
                    yield record
        except BadRequest as error:
            raise _unreadable(error.public) from error


def _unreadable(detail: str) -> BadRequest:
    return BadRequest("The file with the visibility cannot be read.", detail)


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
