"""Output of the commands: rows as text or JSON, timestamps, progress."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import click

from assetstore.commands.progress import Progress
from assetstore.names import spelled

_NANOSECONDS = 1_000_000_000

#: Fields whose JSON key and column have a different name. Other programs rely on these names.
_JSON_KEYS = {"collection_dir": "place"}


def timestamp_text(timestamp_ns: int) -> str:
    """Returns a timestamp as local time in ISO 8601, to the second."""
    return datetime.fromtimestamp(timestamp_ns / _NANOSECONDS).astimezone().isoformat(" ", "seconds")


def show(row: Mapping[str, object], as_json: bool, columns: Sequence[str], *, is_file: bool = True) -> None:
    """Prints one row: as JSON, or the values of *columns* separated by tabs.

    Keys that end in `_ns` contain timestamps: JSON shows them in UTC, text in local time. With *is_file*, `name` is
    the name of a file, and is printed in a safe spelling.
    """
    row = {_JSON_KEYS.get(key, key): value for key, value in row.items()}
    if is_file and isinstance(row.get("name"), str):
        row["name"] = spelled(str(row["name"]))
    if as_json:
        values = {key.removesuffix("_ns"): _utc(value) if key.endswith("_ns") else value for key, value in row.items()}
        click.echo(json.dumps(values, ensure_ascii=False))
        return
    texts = []
    for column in columns:
        value = row[column]
        texts.append(timestamp_text(value) if column.endswith("_ns") and isinstance(value, int) else printable(value))
    click.echo("\t".join(texts))


def printable(value: object) -> str:
    """Returns a value as one line of text without control characters, or a dash if it is empty."""
    text = "" if value is None else str(value)
    return "".join(character if character.isprintable() else "?" for character in text) or "-"


def progress(label: str, length: int) -> Progress:
    """Returns a progress bar on standard error; `update(number)` advances it."""
    return Progress(label, length)


def _utc(value: object) -> object:
    if not isinstance(value, int):
        return value
    return datetime.fromtimestamp(value / _NANOSECONDS, UTC).isoformat()
