"""CSV tables of spreadsheet programs and databases, with commas, semicolons or tabs."""

import codecs
import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from assetstore.errors import BadRequest

#: Spreadsheet programs interpret cells that begin with one of these characters as formulas, unless an apostrophe
#: precedes it. Which character separates cells depends on the country, so any part of a text may become a cell.
_CELL_START = r"(^|[,;|\t\n\r])"
_FORMULA = r"""(?=["\s']*[=+\-@＝＋－＠\t\r'])"""
_UNSAFE, _GUARDED = re.compile(_CELL_START + _FORMULA), re.compile(_CELL_START + "'" + _FORMULA)

#: A first line from which Excel reads the delimiter: `sep=;`.
_SEPARATOR = re.compile(r"\"?sep=([,;\t|:])\"?[\r\n]*", re.IGNORECASE)

#: How databases escape some characters in a tab-separated table.
_ESCAPED = re.compile(r"\\([\\nt0])")
_ESCAPES = {"\\": "\\", "n": "\n", "t": "\t", "0": "\0"}

#: The longest cell that is read, in characters: Specify stores all metadata of a file in one cell.
_LONGEST_CELL = 16 << 20


def read(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the rows of a table with their line numbers; keys contain only lower-case letters and digits.

    Parameters:
        path: the file, in UTF-8, or in UTF-16 as “Unicode Text” of Excel. Its first line has the names of the
            columns; case, blanks and underscores are ignored. A line such as `sep=;` may precede it.
        needed: required columns.

    Raises:
        BadRequest: the file cannot be read, or is not such a table.
    """
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with open(path, encoding=_encoding(path), newline="") as file:
            rows, is_escaped = _rows(file)
            keys = [_key(cell) for cell in next(rows, [])]
            missing = [name for name in needed if _key(name) not in keys]
            if missing:
                columns = " and no column ".join(missing)
                raise BadRequest(f"{path} has no column {columns}; its first line must name all required columns.")
            for cells in rows:
                if any(cells):
                    plain = map(_unescaped, cells) if is_escaped else cells
                    yield rows.line_num, dict(zip(keys, plain, strict=False))
    except UnicodeDecodeError:
        raise BadRequest(f"{path} is not encoded in UTF-8. In a spreadsheet program, save it as “CSV UTF-8”.") from None
    except csv.Error as error:
        raise BadRequest(f"{path} is not a valid CSV table: {error}.") from error
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.") from error


def _unescaped(cell: str) -> str:
    return _ESCAPED.sub(lambda match: _ESCAPES[match[1]], cell)


def _key(column: str) -> str:
    return re.sub(r"[^a-z0-9]", "", column.lower())


def _encoding(path: Path) -> str:
    """UTF-16 for “Unicode Text” of Excel, which begins with a byte order mark; else UTF-8."""
    with open(path, "rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _rows(file: TextIO) -> tuple[Any, bool]:
    """The rows of an open table, and whether a database wrote it, with escaped characters in cells."""
    first = file.readline()
    separator = _SEPARATOR.fullmatch(first)
    file.seek(0)
    delimiter = separator[1] if separator else max(",;\t", key=first.count)
    # `mariadb --batch` separates columns by tabs and does not quote. Excel quotes, and writes UTF-16.
    is_escaped = delimiter == "\t" and separator is None and file.encoding != "utf-16"
    rows = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE if is_escaped else csv.QUOTE_MINIMAL)
    if separator is not None:
        next(rows)  # by the reader, so that it counts this line
    return rows, is_escaped


def write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Writes a table for a spreadsheet program, in UTF-8 with a byte order mark; never overwrites a file.

    Raises:
        BadRequest: the file exists, or it cannot be written.
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
        raise BadRequest(f"{path} already exists, and it may have been edited. Choose another name.") from None
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror}.") from error


def guarded(text: str) -> str:
    """Returns the text of a cell that spreadsheet programs do not interpret as a formula, whatever their separator."""
    return _UNSAFE.sub(r"\1'", text)


def unguarded(text: str) -> str:
    """Returns the text of a cell before `guarded` changed it."""
    return _GUARDED.sub(r"\1", text)


def _text(value: object) -> str:
    return "" if value is None else str(value)
