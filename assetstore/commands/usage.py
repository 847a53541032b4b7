"""`manage.py usage`: storage used, growth, forecast, and duplicates."""

import sys
import time
from collections.abc import Mapping

import click

from assetstore.commands.installation import Installation
from assetstore.commands.output import counted, echo, printable, progress, show
from assetstore.commands.parameters import as_json_option, collection_option
from assetstore.names import spelled
from assetstore.originals import growth
from assetstore.originals import usage as usage_report

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


@click.command()
@collection_option
@click.option("--months", type=click.IntRange(1, 1200), default=12, show_default=True, help="Number of months to show.")
@click.option("--duplicates", is_flag=True, help="Also list originals with identical content.")
@as_json_option
@click.pass_obj
def usage(installation: Installation, collection: str | None, months: int, duplicates: bool, as_json: bool) -> None:
    """Shows storage used, growth, and when the disk will be full.

    Lists files and bytes by collection folder and media type, and files added and removed by folder and month (UTC),
    from the journal, without the test files of `doctor`. The forecast uses the average growth of up to 90 days, and
    requires at least 7. It counts deleted files until they are purged from the trash.

    \b
        manage.py usage
        manage.py usage --collection 'KU Fish' --duplicates
        manage.py usage --json | jq 'select(.figure == "forecast")'
    """
    originals, collection_dirs = installation.originals, installation.collection_dirs(collection)
    kinds = []
    with progress("Listing files", len(collection_dirs)) as bar:
        for folder in collection_dirs:
            kinds += list(usage_report.kinds(originals, folder))
            bar.update(1)
    _heading("Files by folder and type", as_json)
    _show_kinds(kinds, as_json)
    _show_trash(installation, collection_dirs, as_json)
    grown = growth.measure(originals.journal, originals.keeps_trash, time.time())
    _heading("Changes by month (UTC) and folder", as_json)
    _show_months(grown.since(months, collection_dirs), growth.removed(originals.journal), as_json)
    forecast = growth.forecast(originals, grown, installation.settings.reserved_bytes)
    _heading("Forecast", as_json)
    _show("forecast", vars(forecast), as_json, "Disk", _forecast_text(forecast))
    if duplicates:
        _heading("Identical files", as_json)
        _show_duplicates(list(usage_report.duplicates(originals, collection_dirs)), as_json)


def size_text(size: float) -> str:
    """Returns a size in bytes as text with a unit: 1.4 GB."""
    unit = 0
    while abs(size) >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    if unit == 0:
        return counted(round(size), "byte")
    return f"{size:.0f} {_UNITS[unit]}" if abs(size) >= 99.5 else f"{size:.1f} {_UNITS[unit]}"


def _heading(text: str, as_json: bool) -> None:
    """Prints the heading of a section, on a terminal only."""
    if not as_json and sys.stdout.isatty():
        echo(click.style(text, bold=True))


def _show_kinds(kinds: list[usage_report.Kind], as_json: bool) -> None:
    for kind in kinds:
        _show(
            "type",
            vars(kind),
            as_json,
            kind.collection_dir,
            kind.media_type,
            counted(kind.files, "file"),
            size_text(kind.bytes),
        )
    total = {"files": sum(kind.files for kind in kinds), "bytes": sum(kind.bytes for kind in kinds)}
    _show("total", total, as_json, "Total", counted(total["files"], "file"), size_text(total["bytes"]))


def _show_trash(installation: Installation, collection_dirs: list[str], as_json: bool) -> None:
    sizes = [entry.size for entry in installation.originals.trash() if entry.collection_dir in collection_dirs]
    values = {"files": len(sizes), "bytes": sum(sizes)}
    _show("trash", values, as_json, "Trash", counted(len(sizes), "file"), size_text(sum(sizes)))


def _show_months(months: list[growth.Month], removed: Mapping[tuple[str, str], growth.Removed], as_json: bool) -> None:
    for month in months:
        went = removed.get((month.collection_dir, month.month), growth.Removed())
        if month.came or went.files:
            values = {**vars(month), "went": went.files, "went_bytes": went.bytes}
            added = f"{month.came} added, {size_text(month.came_bytes)}"
            gone = f"{went.files} removed, {size_text(went.bytes)}"
            _show("month", values, as_json, month.month, month.collection_dir, added, gone)


def _show_duplicates(groups: list[usage_report.Duplicate], as_json: bool) -> None:
    for group in groups:
        files = [{"place": collection_dir, "name": spelled(name)} for collection_dir, name in group.files]
        names = [f"{file['place']}/{file['name']}" if file["place"] else file["name"] for file in files]
        values = {"sha256": group.sha256, "size": group.size, "files": files}
        _show("duplicate", values, as_json, group.sha256, size_text(group.size), *names)
    wasted = sum(group.size * (len(group.files) - 1) for group in groups)
    values = {"groups": len(groups), "bytes": wasted}
    _show("duplicates", values, as_json, "Duplicates", counted(len(groups), "file"), f"{size_text(wasted)} redundant")


def _forecast_text(forecast: growth.Forecast) -> str:
    if forecast.free_bytes is None:
        return "the free space is unknown"
    room = f"{size_text(forecast.free_bytes)} free"
    if not forecast.window_days:
        return f"{room}; no forecast, because the journal is less than 7 days old"
    rate = f"at {size_text(forecast.bytes_per_day)} per day (average of the last {forecast.window_days} days)"
    if forecast.days is None:
        return f"{room}; the disk does not fill up {rate}"
    return f"{room}; full in {counted(forecast.days, 'day')} {rate}"


def _show(figure: str, values: Mapping[str, object], as_json: bool, *texts: str) -> None:
    if as_json:
        show({"figure": figure, **values}, as_json, ())
    else:
        echo("\t".join(map(printable, texts)))
