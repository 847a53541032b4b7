"""`manage.py trash`: what was deleted or replaced, and the way back."""

from collections.abc import Callable, Iterable

import click

from assetstore.commands.output import progress, show
from assetstore.commands.parameters import Selection, as_json_option, dry_run_option, selecting
from assetstore.commands.workplace import COMMAND, Workplace
from assetstore.errors import AssetError, NotFound
from assetstore.storage.models import TrashEntry

_COLUMNS = ("removed_ns", "reason", "size", "place", "name")


@click.group()
def trash() -> None:
    """Shows and restores what was deleted or replaced, as long as the setting TRASH_DAYS keeps it."""


@trash.command("list")
@selecting
@as_json_option
@click.pass_obj
def list_entries(workplace: Workplace, selection: Selection, as_json: bool) -> None:
    """Lists what is in the trash: when it went, why, bytes, folder of the collection, store name."""
    for entry in _selected(workplace, selection):
        show(vars(entry), as_json, _COLUMNS)


@trash.command()
@selecting
@click.option(
    "--replace",
    is_flag=True,
    help="Also over a file that has the name now; that one goes to the trash, if TRASH_DAYS is not 0.",
)
@dry_run_option
@as_json_option
@click.pass_obj
def restore(workplace: Workplace, selection: Selection, replace: bool, dry_run: bool, as_json: bool) -> int:
    """Makes files the originals again, by name, pattern, or everything that went in a time window.

    Of several versions of one name the one that went last comes back; --until chooses an earlier one.

    \b
        manage.py trash restore sp6847.att.jpg
        manage.py trash restore --since '2026-11-24 10:30' --until '2026-11-24 10:45'
    """
    _refuse_everything(selection)
    latest = {(entry.collection_dir, entry.name): entry for entry in _selected(workplace, selection)}
    return _each(latest.values(), lambda entry: _restore(workplace, entry, replace, dry_run), as_json)


@trash.command()
@selecting
@click.option("--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@as_json_option
@click.pass_obj
def purge(workplace: Workplace, selection: Selection, yes: bool, dry_run: bool, as_json: bool) -> int:
    """Deletes files in the trash for good, before their time. Nothing brings them back."""
    _refuse_everything(selection)
    entries = list(_selected(workplace, selection))
    if entries and not dry_run and not yes:
        size = sum(entry.size for entry in entries)
        click.confirm(f"Delete {len(entries)} files with {size} bytes for good?", abort=True, err=True)
    return _each(entries, lambda entry: _purge(workplace, entry, dry_run), as_json)


def _selected(workplace: Workplace, selection: Selection) -> Iterable[TrashEntry]:
    selection.collection_dir(workplace.settings)
    for entry in workplace.originals.trash():
        if selection.fits(workplace.settings, entry.collection_dir, entry.name, entry.removed_ns):
            yield entry


def _refuse_everything(selection: Selection) -> None:
    if selection.is_everything:
        raise click.UsageError("Say which files: names, patterns ('*' for all), --collection, --since or --until.")


def _each(entries: Iterable[TrashEntry], act: Callable[[TrashEntry], tuple[str, bool]], as_json: bool) -> int:
    """Does something to each entry and shows what came of it; 1 if something went wrong."""
    entries = list(entries)
    undone = 0
    with progress("Trash", len(entries)) as bar:
        for entry in entries:
            try:
                outcome, is_done = act(entry)
            except AssetError as error:
                outcome, is_done = f"{error.public} {error.detail}".strip(), False
            undone += not is_done
            show({"outcome": outcome, **vars(entry)}, as_json, ("outcome", *_COLUMNS))
            bar.update(1)
    if not as_json:
        click.echo(f"{len(entries) - undone} of {len(entries)} files.")
    return 1 if undone else 0


def _restore(workplace: Workplace, entry: TrashEntry, replace: bool, dry_run: bool) -> tuple[str, bool]:
    if not replace and _exists(workplace, entry):
        return "not restored, there is a file of that name (see --replace)", False
    if dry_run:
        return "would be restored", True
    workplace.originals.restore(entry, COMMAND)
    workplace.thumbnails.discard(entry.collection_dir, entry.name)
    return "restored", True


def _purge(workplace: Workplace, entry: TrashEntry, dry_run: bool) -> tuple[str, bool]:
    if dry_run:
        return "would be deleted for good", True
    workplace.originals.purge(entry, COMMAND)
    return "deleted for good", True


def _exists(workplace: Workplace, entry: TrashEntry) -> bool:
    try:
        workplace.originals.storage.version(entry.collection_dir, entry.name)
    except NotFound:
        return False
    return True
