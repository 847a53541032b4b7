"""Arguments and options that several commands share: timestamps, selections, output."""

import fnmatch
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import click

from assetstore.config.loading import Settings

_NANOSECONDS = 1_000_000_000
_AGO = re.compile(r"([0-9]{1,6})\s*(m|h|d|w)", re.ASCII)
_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}

Command = TypeVar("Command", bound=Callable[..., Any])


class Timestamp(click.ParamType[int]):
    """A date and time on the command line, as nanoseconds since 1970.

    A date, or date and time, in ISO 8601, in local time unless it has an offset; or an age: 30m, 2h, 7d, 4w.
    """

    name = "timestamp"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        """Returns the timestamp. Raises click.BadParameter."""
        if isinstance(value, int):
            return value
        ago = _AGO.fullmatch(value.strip())
        if ago:
            return time.time_ns() - int(ago[1]) * _UNITS[ago[2]] * _NANOSECONDS
        try:
            timestamp = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
            return int(timestamp.timestamp() * 1_000_000) * 1000
        except (ValueError, OverflowError, OSError):
            expected = "2026-11-24, '2026-11-24 10:30' or an age such as 2h or 7d"
            self.fail(f"{value!r} is not a date or time; expected {expected}")


@dataclass(frozen=True)
class Selection:
    """Which originals a command works on.

    Fields:
        names: store names or patterns with * and ?; empty for all.
        collection: the name of a collection, or its folder; None for all.
        since_ns, until_ns: the time window; None for no limit.
    """

    names: tuple[str, ...]
    collection: str | None
    since_ns: int | None
    until_ns: int | None

    @property
    def is_everything(self) -> bool:
        """Whether all originals are selected."""
        return self == Selection((), None, None, None)

    def unmatched(self, found: Iterable[str]) -> list[str]:
        """Returns the names and patterns of this selection that no name in *found* matches."""
        names = set(found)
        return [pattern for pattern in self.names if pattern not in names and not fnmatch.filter(names, pattern)]

    def collection_dir(self, settings: Settings) -> str | None:
        """Returns the folder of the collection, None for all. Raises click.UsageError."""
        return folder_of(self.collection, settings)

    def fits(self, settings: Settings, collection_dir: str, name: str, timestamp_ns: int) -> bool:
        """Whether an event of an original at a given time is selected."""
        return (
            (not self.names or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.names))
            and self.collection_dir(settings) in (None, collection_dir)
            and (self.since_ns is None or timestamp_ns >= self.since_ns)
            and (self.until_ns is None or timestamp_ns <= self.until_ns)
        )


def folder_of(collection: str | None, settings: Settings) -> str | None:
    """Returns the folder of a collection, given by name or folder; None for None. Raises click.UsageError."""
    if collection is None:
        return None
    folders = settings.collection_dirs or {}
    collection_dir = folders.get(collection, collection)
    if collection_dir not in folders.values():
        known = ", ".join(sorted(folders)) or "none; all files share one folder"
        raise click.UsageError(f"There is no collection {collection!r}. Collections: {known}.")
    return collection_dir


def is_pattern(name: str) -> bool:
    """Whether a name on the command line is a pattern."""
    return any(character in name for character in "*?[")


collection_option = click.option("--collection", help="Only this collection, by name or folder.")


def selecting(command: Command) -> Command:
    """Adds the arguments and options of a selection to a command, which receives it as `selection`."""

    def select(
        names: tuple[str, ...], collection: str | None, since: int | None, until: int | None, **others: Any
    ) -> Any:
        return command(selection=Selection(names, collection, since, until), **others)

    select.__doc__, select.__name__ = command.__doc__, command.__name__
    select.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]  # click's
    for decorate in (
        click.option("--until", type=Timestamp(), help="Until this time, in the same format."),
        click.option(
            "--since",
            type=Timestamp(),
            help="From this time on: 2026-11-24, '2026-11-24 10:30', in local time, or an age such as 2h or 7d.",
        ),
        collection_option,
        click.argument("names", nargs=-1, metavar="[NAME|PATTERN]..."),
    ):
        select = decorate(select)
    return select  # type: ignore[return-value]  # click calls it


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
