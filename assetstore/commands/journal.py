"""`manage.py journal`: who stored, replaced or deleted which file, and when."""

import itertools
from collections.abc import Iterable, Iterator

import click

from assetstore.commands.installation import Installation
from assetstore.commands.output import Listing
from assetstore.commands.parameters import Selection, as_json_option, is_pattern, selecting
from assetstore.config.loading import Settings
from assetstore.journal import events
from assetstore.journal.events import Event

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
        name=selection.names[0] if len(selection.names) == 1 and not is_pattern(selection.names[0]) else None,
    )
    is_everything = selection.is_everything and operation is None and sha256 is None
    empty = "The journal is empty." if is_everything else "No entries of the journal match."
    with Listing(_COLUMNS, as_json, empty) as listing:
        for event in _latest(_matching(installation.settings, selection, sha256, found), last):
            listing.show(vars(event))


def _matching(settings: Settings, selection: Selection, sha256: str | None, found: Iterable[Event]) -> Iterator[Event]:
    for event in found:
        is_selected = selection.fits(settings, event.collection_dir, event.name, event.time_ns)
        if is_selected and (not sha256 or (event.sha256 or "").startswith(sha256.lower())):
            yield event


def _latest(found: Iterable[Event], number: int | None) -> Iterable[Event]:
    """The events in the order of time. With a number: that many of the latest, which then have to come first."""
    return found if number is None else reversed(list(itertools.islice(found, number)))
