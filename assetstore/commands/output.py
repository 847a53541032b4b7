"""Output of the commands: rows as text or JSON, headings, numbers, timestamps, questions."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType

import click

from assetstore.commands.progress import Progress, above_progress
from assetstore.names import spelled

_NANOSECONDS = 1_000_000_000

#: Fields whose JSON key and column have a different name. Other programs rely on these names.
_JSON_KEYS = {"collection_dir": "place"}

#: The heading of a column on a terminal, if it is not the name of the column, and how wide the column is at least.
_TITLES = {
    "removed_ns": "removed (local time)",
    "time_ns": "time (local time)",
    "size": "bytes",
    "sha256": "SHA-256",
    "place": "folder",
}
_WIDTHS = {"removed_ns": 25, "time_ns": 25, "size": 12, "sha256": 64, "place": 12, "where": 12, "name": 24}


def echo(text: str, *, err: bool = False) -> None:
    """Prints a line, above the progress bar if one is shown."""
    with above_progress():
        click.echo(text, err=err)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Returns a number with its noun: 1 file, 2 files."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def confirmed(question: str) -> bool:
    """Asks before files are deleted. If the answer is no, says that nothing was deleted.

    Raises click.Abort if the question is interrupted.
    """
    try:
        if click.confirm(question, err=True):
            return True
        click.echo("Nothing was deleted.", err=True)
    except click.Abort as abort:
        if not isinstance(abort.__context__, EOFError):
            raise
        click.echo("\nNothing was deleted. In a script, use --yes.", err=True)
    return False


def timestamp_text(timestamp_ns: int) -> str:
    """Returns a timestamp as local time in ISO 8601, to the second."""
    return datetime.fromtimestamp(timestamp_ns / _NANOSECONDS).astimezone().isoformat(" ", "seconds")


def show(row: Mapping[str, object], as_json: bool, columns: Sequence[str], *, is_file: bool = True) -> None:
    """Prints one row: as JSON, or the values of *columns* separated by tabs.

    Keys that end in `_ns` contain timestamps: JSON shows them in UTC, text in local time. With *is_file*, `name` is
    the name of a file, and is printed in a safe spelling.
    """
    row = _renamed(row, is_file)
    echo(_json(row) if as_json else "\t".join(_texts(row, columns)))


class Listing:
    """Prints a list of rows; a context manager.

    On a terminal, the list has a heading and aligned columns. In other output, tabs separate the values.

    Parameters:
        columns: of the text, as in `show`.
        as_json: whether to print JSON instead.
        empty: the sentence for standard error if there are no rows; not printed with JSON, or if a summary follows.
    """

    def __init__(self, columns: Sequence[str], as_json: bool, empty: str = "") -> None:
        self._columns = columns
        self._as_json = as_json
        self._empty = empty
        self._is_aligned = not as_json and sys.stdout.isatty()
        self._is_empty = True

    def show(self, row: Mapping[str, object], *, is_file: bool = True) -> None:
        """Prints one row; *is_file* as in the function `show`."""
        if self._is_empty and self._is_aligned:
            echo(click.style(self._aligned([_TITLES.get(column, column) for column in self._columns]), bold=True))
        self._is_empty = False
        if self._is_aligned:
            echo(self._aligned(_texts(_renamed(row, is_file), self._columns)))
        else:
            show(row, self._as_json, self._columns, is_file=is_file)

    def _aligned(self, texts: Sequence[str]) -> str:
        widths = (_WIDTHS.get(column, 9) for column in self._columns)
        return "  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip()

    def __enter__(self) -> "Listing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._is_empty and self._empty and not self._as_json:
            echo(self._empty, err=True)


def printable(value: object) -> str:
    """Returns a value as one line of text without control characters, or a dash if it is empty."""
    text = "" if value is None else str(value)
    return "".join(character if character.isprintable() else "?" for character in text) or "-"


def progress(label: str, length: int) -> Progress:
    """Returns a progress bar on standard error; `update(number)` advances it."""
    return Progress(label, length)


def _renamed(row: Mapping[str, object], is_file: bool) -> dict[str, object]:
    """The row with the names of its columns, and the name of the file in a safe spelling."""
    renamed = {_JSON_KEYS.get(key, key): value for key, value in row.items()}
    if is_file and isinstance(renamed.get("name"), str):
        renamed["name"] = spelled(str(renamed["name"]))
    return renamed


def _json(row: Mapping[str, object]) -> str:
    values = {key.removesuffix("_ns"): _utc(value) if key.endswith("_ns") else value for key, value in row.items()}
    return json.dumps(values, ensure_ascii=False)


def _texts(row: Mapping[str, object], columns: Sequence[str]) -> list[str]:
    texts = []
    for column in columns:
        value = row[column]
        texts.append(timestamp_text(value) if column.endswith("_ns") and isinstance(value, int) else printable(value))
    return texts


def _utc(value: object) -> object:
    if not isinstance(value, int):
        return value
    return datetime.fromtimestamp(value / _NANOSECONDS, UTC).isoformat()
