"""`manage.py trash`: lists, restores and purges deleted and replaced originals."""

from collections.abc import Callable, Iterable

import click

from assetstore.commands.installation import COMMAND, Installation
from assetstore.commands.output import progress, show
from assetstore.commands.parameters import Selection, as_json_option, dry_run_option, selecting
from assetstore.errors import AssetError, NotFound
from assetstore.storage.models import TrashEntry

_COLUMNS = ("removed_ns", "reason", "size", "place", "name")


@click.group()
def trash() -> None:
    """Lists, restores and purges deleted and replaced originals. TRASH_DAYS sets how long the trash keeps them."""


@trash.command("list")
@selecting
@as_json_option
@click.pass_obj
def list_entries(installation: Installation, selection: Selection, as_json: bool) -> None:
    """Lists the trash.

    Columns: time of removal, reason, size in bytes, collection folder, store name.
    """
    for entry in _selected(installation, selection):
        show(vars(entry), as_json, _COLUMNS)


@trash.command()
@selecting
@click.option(
    "--replace",
    is_flag=True,
    help="Replace current originals of the same name; they are moved to the trash unless TRASH_DAYS is 0.",
)
@dry_run_option
@as_json_option
@click.pass_obj
def restore(installation: Installation, selection: Selection, replace: bool, dry_run: bool, as_json: bool) -> int:
    """Restores originals by name, by pattern, or by the time of removal.

    If the trash has several versions of a name, the latest is restored. To restore an earlier one, use --until.

    \b
        manage.py trash restore sp6847.att.jpg
        manage.py trash restore --since '2026-11-24 10:30' --until '2026-11-24 10:45'
    """
    _refuse_everything(selection)
    latest = {(entry.collection_dir, entry.name): entry for entry in _selected(installation, selection)}
    return _each(latest.values(), lambda entry: _restore(installation, entry, replace, dry_run), as_json)


@trash.command()
@selecting
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@dry_run_option
@as_json_option
@click.pass_obj
def purge(installation: Installation, selection: Selection, yes: bool, dry_run: bool, as_json: bool) -> int:
    """Permanently deletes files in the trash before TRASH_DAYS is over. They cannot be restored."""
    _refuse_everything(selection)
    entries = list(_selected(installation, selection))
    if entries and not dry_run and not yes:
        size = sum(entry.size for entry in entries)
        click.confirm(f"Permanently delete {len(entries)} files with {size} bytes?", abort=True, err=True)
    return _each(entries, lambda entry: _purge(installation, entry, dry_run), as_json)


def _selected(installation: Installation, selection: Selection) -> Iterable[TrashEntry]:
    selection.collection_dir(installation.settings)
    for entry in installation.originals.trash():
        if selection.fits(installation.settings, entry.collection_dir, entry.name, entry.removed_ns):
            yield entry


def _refuse_everything(selection: Selection) -> None:
    if selection.is_everything:
        raise click.UsageError("Select files: names, patterns ('*' for all), --collection, --since or --until.")


def _each(entries: Iterable[TrashEntry], act: Callable[[TrashEntry], tuple[str, bool]], as_json: bool) -> int:
    """Calls *act* for each entry and shows the outcome; returns 1 if an entry failed."""
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


def _restore(installation: Installation, entry: TrashEntry, replace: bool, dry_run: bool) -> tuple[str, bool]:
    if not replace and _exists(installation, entry):
        return "not restored, an original with this name exists (see --replace)", False
    if dry_run:
        return "would be restored", True
    installation.originals.restore(entry, COMMAND)
    installation.thumbnails.discard(entry.collection_dir, entry.name)
    return "restored", True


def _purge(installation: Installation, entry: TrashEntry, dry_run: bool) -> tuple[str, bool]:
    if dry_run:
        return "would be deleted for good", True
    installation.originals.purge(entry, COMMAND)
    return "deleted for good", True


def _exists(installation: Installation, entry: TrashEntry) -> bool:
    try:
        installation.originals.storage.version(entry.collection_dir, entry.name)
    except NotFound:
        return False
    return True
