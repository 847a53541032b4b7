"""`manage.py as-of`: lists the originals that existed at a date and time in the past."""

import click

from assetstore.commands.installation import Installation
from assetstore.commands.output import Listing
from assetstore.commands.parameters import Selection, Timestamp, as_json_option, collection_option
from assetstore.originals import point_in_time

_COLUMNS = ("size", "sha256", "where", "evidence", "place", "name")


@click.command("as-of")
@click.argument("timestamp", type=Timestamp())
@click.argument("names", nargs=-1, metavar="[NAME|PATTERN]...")
@collection_option
@as_json_option
@click.pass_obj
def as_of(
    installation: Installation, timestamp: int, names: tuple[str, ...], collection: str | None, as_json: bool
) -> None:
    """Lists the originals that existed at TIMESTAMP.

    Columns: size in bytes, SHA-256, where the file is now, evidence, collection folder, store name. The evidence is the
    journal, or the file's date if the journal did not know the file at that time.

    \b
        manage.py as-of 2026-11-24
        manage.py as-of '2026-11-24 10:30' 'sp6*.jpg'
    """
    selection = Selection(names, collection, None, None)
    selection.collection_dir(installation.settings)
    empty = f"No originals {'' if selection.is_everything else 'that match '}existed at that time."
    with Listing(_COLUMNS, as_json, empty) as listing:
        for past in point_in_time.existed(installation.originals, timestamp):
            if selection.fits(installation.settings, past.collection_dir, past.name, timestamp):
                listing.show(_row(past))


def _row(past: point_in_time.Past) -> dict[str, object]:
    return {
        "place": past.collection_dir,
        "name": past.name,
        "size": past.size,
        "sha256": past.sha256,
        "where": past.where,
        "evidence": "journal" if past.is_journalled else "file date",
        "trash": past.entry.identifier if past.entry else None,
    }
