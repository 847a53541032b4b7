"""`manage.py trash`: lists, restores and purges deleted and replaced originals."""

import functools
from collections.abc import Callable, Iterable

import click

from assetstore.commands.installation import COMMAND, Installation
from assetstore.commands.output import Listing, confirmed, counted, echo, printable, progress, show
from assetstore.commands.parameters import Selection, as_json_option, dry_run_option, is_pattern, selecting
from assetstore.errors import AssetError
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
    empty = "The trash is empty." if selection.is_everything else "No files in the trash match."
    with Listing(_COLUMNS, as_json, empty) as listing:
        for entry in _selected(installation, selection):
            listing.show(vars(entry))


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
    """Restores originals by name, pattern, or time of removal.

    If the trash has several versions of a name, the latest is restored. To restore an earlier one, use --until.

    \b
        manage.py trash restore sp6847.att.jpg
        manage.py trash restore --since '2026-11-24 10:30' --until '2026-11-24 10:45'
    """
    _refuse_everything(selection)
    latest = {(entry.collection_dir, entry.name): entry for entry in _selected(installation, selection)}
    done = "could be restored" if dry_run else "restored"
    act = functools.partial(_restore, installation, replace=replace, dry_run=dry_run)
    return _each(selection, latest.values(), act, done, as_json)


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
        size = counted(sum(entry.size for entry in entries), "byte")
        if not confirmed(f"Permanently delete {counted(len(entries), 'file')} with {size}?"):
            return 1
    done = "would be permanently deleted" if dry_run else "permanently deleted"
    return _each(selection, entries, lambda entry: _purge(installation, entry, dry_run), done, as_json)


def _selected(installation: Installation, selection: Selection) -> Iterable[TrashEntry]:
    selection.collection_dir(installation.settings)
    for entry in installation.originals.trash():
        if selection.fits(installation.settings, entry.collection_dir, entry.name, entry.removed_ns):
            yield entry


def _refuse_everything(selection: Selection) -> None:
    if selection.is_everything:
        raise click.UsageError("Select files: names, patterns ('*' for all), --collection, --since or --until.")


def _each(
    selection: Selection,
    entries: Iterable[TrashEntry],
    act: Callable[[TrashEntry], tuple[str, bool]],
    done: str,
    as_json: bool,
) -> int:
    """Calls *act* for each entry and shows the outcome; returns 1 if an entry failed or is not in the trash.

    *done* is the participle for the summary.
    """
    entries = list(entries)
    undone = 0
    missing = selection.unmatched(entry.name for entry in entries)
    for name in missing:
        sentence = "Nothing in the trash matches {}." if is_pattern(name) else "{} is not in the trash."
        echo(sentence.format(printable(name)), err=True)
    if not entries:
        if not missing:
            echo("No files in the trash match.", err=True)
        return 1
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
        of_all = f" of {len(entries)}" if undone else ""
        echo(f"{len(entries) - undone}{of_all} {'file' if len(entries) == 1 else 'files'} {done}.")
    return 1 if undone or missing else 0


def _restore(installation: Installation, entry: TrashEntry, replace: bool, dry_run: bool) -> tuple[str, bool]:
    if not replace and installation.originals.exists(entry.collection_dir, entry.name):
        return "not restored, an original with this name exists (see --replace)", False
    if dry_run:
        return "would be restored", True
    installation.originals.restore(entry, COMMAND, may_replace=replace)
    installation.thumbnails.discard(entry.collection_dir, entry.name)
    return "restored", True


def _purge(installation: Installation, entry: TrashEntry, dry_run: bool) -> tuple[str, bool]:
    if dry_run:
        return "would be permanently deleted", True
    installation.originals.purge(entry, COMMAND)
    return "permanently deleted", True
