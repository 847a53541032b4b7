"""`manage.py as-of`: what existed at a moment in the past."""

import click

from assetstore.commands.output import show
from assetstore.commands.parameters import Selection, Timestamp, as_json_option
from assetstore.commands.workplace import Workplace
from assetstore.originals import point_in_time

_COLUMNS = ("size", "sha256", "where", "evidence", "place", "name")


@click.command("as-of")
@click.argument("timestamp", type=Timestamp())
@click.argument("names", nargs=-1, metavar="[NAME|PATTERN]...")
@click.option("--collection", help="Only this collection: its name, or its folder.")
@as_json_option
@click.pass_obj
def as_of(workplace: Workplace, timestamp: int, names: tuple[str, ...], collection: str | None, as_json: bool) -> None:
    """Lists the originals that existed at MOMENT: bytes, SHA-256, where those bytes are now, folder, store name.

    The evidence is the journal; for files that it did not know then, their date.

    \b
        manage.py as-of 2026-11-24
        manage.py as-of '2026-11-24 10:30' 'sp6*.jpg'
    """
    selection = Selection(names, collection, None, None)
    selection.collection_dir(workplace.settings)
    for past in point_in_time.existed(workplace.originals, timestamp):
        if not selection.fits(workplace.settings, past.collection_dir, past.name, timestamp):
            continue
        row = {
            "place": past.collection_dir,
            "name": past.name,
            "size": past.size,
            "sha256": past.sha256,
            "where": past.where,
            "evidence": "journal" if past.is_journalled else "file date",
            "trash": past.entry.identifier if past.entry else None,
        }
        show(row, as_json, _COLUMNS)
