"""The receipt of uploads: a CSV file with the store name and outcome of each local file.

`put` also uses it to resume: a line is written and synced before and after each upload, and the last line of a local
file counts. When the command starts and ends, the file is rewritten with one line for each local file.

Concurrency: the file is locked while it is open, so that two commands cannot use the same receipt.
"""

import contextlib
import csv
import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

from assetstore import csv_io
from assetstore.errors import BadRequest

COLUMNS = ("local name", "store name", "size", "SHA-256", "outcome")

#: Outcomes. Any other text is the reason for a failure.
DONE, BEGUN = "done", "begun"


@dataclass(frozen=True)
class Line:
    """What is known of one local file.

    Fields:
        local_name: as on the command line.
        store_name: of the file on the server, now or after the upload.
        size: bytes; empty before the upload.
        sha256: in hexadecimal; empty before the upload.
        outcome: DONE, BEGUN, or what went wrong.
    """

    local_name: str
    store_name: str
    size: str
    sha256: str
    outcome: str

    @property
    def values(self) -> tuple[str, ...]:
        """In the order of the columns."""
        return (self.local_name, self.store_name, self.size, self.sha256, self.outcome)


class Receipt:
    """An open receipt; a context manager.

    Parameters:
        path: of the CSV file, which need not exist.

    Raises:
        BadRequest: the file is not a receipt, or another command uses it.
        OSError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[str, Line] = {}
        self._file: TextIO

    def line(self, local_name: str) -> Line | None:
        """Returns what is known of a local file."""
        return self._lines.get(local_name)

    def note(self, line: Line) -> None:
        """Writes and syncs a line. Raises OSError."""
        self._lines[line.local_name] = line
        self._write(self._file, [line])

    def __enter__(self) -> "Receipt":
        self._file = _lock(self._path)
        try:
            self._lines = {line.local_name: line for line in _read(self._file)}
            self._rewrite()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._rewrite()
        finally:
            self._file.close()

    def _rewrite(self) -> None:
        draft = self._path.with_name(f".{os.getpid()}-{self._path.name[:200]}")
        with contextlib.ExitStack() as undone:
            undone.callback(draft.unlink, missing_ok=True)
            file = undone.enter_context(open(draft, "w", encoding="utf-8", errors="surrogateescape", newline=""))
            fcntl.flock(file, fcntl.LOCK_EX)
            csv.writer(file).writerow(COLUMNS)
            self._write(file, self._lines.values())
            os.replace(draft, self._path)
            undone.pop_all()  # stays open as the new receipt
        self._file.close()
        self._file = file

    @staticmethod
    def _write(file: TextIO, lines: Iterable[Line]) -> None:
        # File names may come from other people.
        csv.writer(file).writerows(map(csv_io.guarded, line.values) for line in lines)
        file.flush()
        os.fsync(file.fileno())


def _lock(path: Path) -> TextIO:
    while True:
        with contextlib.ExitStack() as undone:
            file = undone.enter_context(open(path, "a+", encoding="utf-8-sig", errors="surrogateescape", newline=""))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadRequest(f"Another command is using the receipt {path}.") from None
            # Otherwise another command has rewritten it in the meantime.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                undone.pop_all()  # stays open, because closing it releases the lock
                return file


def _read(file: TextIO) -> Iterable[Line]:
    file.seek(0)
    try:
        rows = list(csv.reader(file))
    except csv.Error:
        raise BadRequest("The existing receipt file is not a CSV table. Choose another file.") from None
    if rows and tuple(rows[0]) != COLUMNS:
        raise BadRequest(f"The existing receipt file is not a receipt: it begins with {rows[0][:5]}.")
    for row in rows[1:]:
        if len(row) == len(COLUMNS):  # a power failure may have cut off the last one
            yield Line(*map(csv_io.unguarded, row))
