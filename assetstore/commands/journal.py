"""`manage.py journal`: who stored, replaced or deleted which file, and when."""

import click

from assetstore.commands.installation import Installation
from assetstore.commands.output import show
from assetstore.commands.parameters import Selection, as_json_option, selecting
from assetstore.journal import events

_COLUMNS = ("time_ns", "operation", "size", "sha256", "place", "name", "collection", "client")


@click.command()
@selecting
@click.option("--operation", type=click.Choice(events.OPERATIONS), help="Only this operation.")
@click.option("--sha256", help="Only originals whose checksum begins with this text.")
@click.option("--last", type=click.IntRange(1), help="Only this many of the latest entries.")
@as_json_option
@click.pass_obj
def journal(
    installation: Installation,
    selection: Selection,
    operation: str | None,
    sha256: str | None,
    last: int | None,
    as_json: bool,
) -> None:
    """Searches the journal.

    Columns: time, operation, size in bytes, SHA-256, collection folder, store name, collection, client.

    \b
        manage.py journal sp6847.att.jpg
        manage.py journal --operation deleted --since 2d
    """
    collection_dir = selection.collection_dir(installation.settings)
    found = installation.originals.journal.search(
        collection_dir=collection_dir,
        operation=operation,
        since_ns=selection.since_ns,
        until_ns=selection.until_ns,
        newest_first=last is not None,
        # A single name is looked up in the database; patterns are matched below.
        name=selection.names[0] if len(selection.names) == 1 and not _is_pattern(selection.names[0]) else None,
    )
    rows = []
    for event in found:
        fits = selection.fits(installation.settings, event.collection_dir, event.name, event.time_ns)
        if not fits or (sha256 and not (event.sha256 or "").startswith(sha256.lower())):
            continue
        if last is None:
            show(vars(event), as_json, _COLUMNS)
            continue
        rows.append(event)
        if len(rows) == last:
            break
    for event in reversed(rows):
        show(vars(event), as_json, _COLUMNS)


def _is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[")
