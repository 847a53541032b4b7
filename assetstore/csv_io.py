"""Tables as spreadsheet programs and databases write them: CSV with commas, semicolons or tabs."""

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from assetstore.errors import BadRequest

#: A spreadsheet program takes a cell that begins so for a formula; an apostrophe before it prevents that.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "'")

#: What a database puts for some characters in a table with tabs.
_ESCAPED = re.compile(r"\\([\\nt0])")
_ESCAPES = {"\\": "\\", "n": "\n", "t": "\t", "0": "\0"}

#: The longest cell that is read, in characters: Specify keeps whole metadata in one.
_LONGEST_CELL = 16 << 20


def read(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the rows of a table with their line numbers; keys are lower case letters and digits only.

    Parameters:
        path: the file; UTF-8. Its first line has the names of the columns, whose case, blanks and
            underscores do not matter.
        needed: columns that it must have.

    Raises:
        BadRequest: it cannot be read, or is no such table.
    """
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=first.count)
            rows = _reader(file, delimiter)
            keys = [_key(cell) for cell in next(rows, [])]
            missing = [name for name in needed if _key(name) not in keys]
            if missing:
                raise BadRequest(
                    f"{path} has no column {' and no column '.join(missing)}; its first line must name it."
                )
            for cells in rows:
                if any(cells):
                    plain = map(_unescaped, cells) if delimiter == "\t" else cells
                    yield rows.line_num, dict(zip(keys, plain, strict=False))
    except UnicodeDecodeError:
        raise BadRequest(f"{path} is not in UTF-8. In a spreadsheet program, save it as “CSV UTF-8”.") from None
    except csv.Error as error:
        raise BadRequest(f"{path} is no table that can be read: {error}.") from error
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.") from error


def _unescaped(cell: str) -> str:
    return _ESCAPED.sub(lambda match: _ESCAPES[match[1]], cell)


def _key(column: str) -> str:
    return re.sub(r"[^a-z0-9]", "", column.lower())


def _reader(file: Iterable[str], delimiter: str) -> Any:
    # With tabs: as `mariadb --batch` writes it, quotation marks mean nothing.
    return csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL)


def write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Writes a table for a spreadsheet program, with a mark of UTF-8; never over a file that is there.

    Raises:
        BadRequest: there is such a file, or it cannot be written.
    """
    try:
        with open(path, "x", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for row in rows:
                writer.writerow([guarded(_text(row[column])) for column in columns])
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise BadRequest(f"{path} is there already, and might have been edited; choose another name.") from None
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror}.") from error


def guarded(text: str) -> str:
    """Returns a cell that no spreadsheet program takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULAS) else text


def unguarded(text: str) -> str:
    """Returns what a cell was before `guarded`."""
    return text.removeprefix("'")


def _text(value: object) -> str:
    return "" if value is None else str(value)
