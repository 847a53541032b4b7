"""`manage.py export` and `manage.py import`: originals as a BagIt bag, out and in."""

import threading
from pathlib import Path

import click

from assetstore.bags.export import MEANINGS, Export
from assetstore.bags.import_ import Arrival
from assetstore.commands.output import printable, progress, show
from assetstore.commands.parameters import Selection, as_json_option, dry_run_option
from assetstore.commands.workplace import COMMAND, Workplace
from assetstore.concurrency.rate_limit import RateLimit
from assetstore.config.loading import Settings
from assetstore.errors import BadRequest

_MEGABYTE = 1_000_000

_rate_option = click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Read at most so many megabytes a second."
)


@click.command("export")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--collection", "collections", multiple=True, help="Only this one: its name or folder. Repeatable.")
@click.option("--info", multiple=True, metavar="LABEL=TEXT",
              help="A line for bag-info.txt, such as 'Source-Organization=Museum of X'. Repeatable.")  # fmt: skip
@_rate_option
@as_json_option
@click.pass_obj
def export_bag(
    workplace: Workplace,
    folder: Path,
    collections: tuple[str, ...],
    info: tuple[str, ...],
    rate: float | None,
    as_json: bool,
) -> int:
    """Copies originals into FOLDER as a BagIt bag, for an archive or another museum.

    The bag has the SHA-256 of every file, and attachments.csv, which says which is which. Files whose
    bytes are not those that were stored (by the journal) are named. If it is interrupted, the same
    command goes on. Validate a bag anywhere, by: python -m bagit --validate FOLDER

    \b
        manage.py export /mnt/archive/2026-11 --info 'Source-Organization=Museum of X'
        manage.py export /mnt/handover --collection 'KU Fish'

    Exit status 1 if a file is not in the bag, or with a doubt.
    """
    collection_dirs = _collection_dirs(workplace.settings, collections)
    if folder.resolve().is_relative_to(workplace.settings.base_dir.resolve()):
        raise click.UsageError("The bag must not be in the attachment folder itself.")
    originals, problems = workplace.originals, 0
    run = Export(originals, folder, collection_dirs, _information(info), _rate_limit(rate))
    total = sum(
        listed.size for collection_dir in collection_dirs for listed in originals.storage.originals(collection_dir)
    )
    with progress("Exporting", total) as bar:
        for problem in run.run(bar.update):
            problems += 1
            row = {"finding": problem.kind, "place": problem.collection_dir, "name": problem.name}
            show({**row, "meaning": MEANINGS[problem.kind]}, as_json, ("finding", "place", "name", "meaning"))
    if as_json:
        counts = {"files": run.files, "bytes": run.bytes, "from_before": run.reused, "problems": problems}
        show(counts, as_json, ())
    else:
        click.echo(f"{run.files} files, {run.bytes} bytes in {printable(folder)}; {problems or 'no'} problems.")
    return 1 if problems else 0


@click.command("import")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--collection", help="Put everything into this collection, whatever the bag says.")
@click.option("--replace", is_flag=True, help="Also over files with other bytes; those go to the trash.")
@_rate_option
@dry_run_option
@as_json_option
@click.pass_obj
def import_bag(
    workplace: Workplace,
    folder: Path,
    collection: str | None,
    replace: bool,
    rate: float | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Makes the files of the BagIt bag in FOLDER originals, each only if its checksum is right.

    Collections are those of the bag's attachments.csv, or else the names of the folders in the bag.
    Files that are there already with the same bytes stay, so the command can be repeated, and goes on
    after an interruption. A bag that is incomplete, holds links, or names that no file can have, is
    refused as a whole. --dry-run reads and checks everything.

    \b
        manage.py import /mnt/handover --dry-run
        manage.py import /mnt/handover

    Exit status 1 if a file was not imported.
    """
    settings, originals = workplace.settings, workplace.originals
    _refuse_without_trash(settings, replace)
    chosen = Selection((), collection, None, None).collection_dir(settings)
    arrival = Arrival(folder, lambda name: _collection_dir(settings, name) if chosen is None else chosen)
    counts = {True: 0, False: 0}
    with progress("Importing", arrival.bytes) as bar:
        for item, outcome, is_there in arrival.take_in(
            originals, workplace.thumbnails, COMMAND.client, _rate_limit(rate), replace=replace, dry_run=dry_run,
            progress=bar.update,
        ):  # fmt: skip
            counts[is_there] += 1
            if as_json or not is_there:
                row = {"outcome": outcome, "collection": item.collection, "name": item.name, "size": item.size}
                show(row, as_json, ("outcome", "collection", "name"))
    done = "could be imported or are there" if dry_run else "are there now"
    if not as_json:
        click.echo(f"{counts[True]} of {len(arrival.items)} files {done}.")
    return 1 if counts[False] else 0


def _refuse_without_trash(settings: Settings, replace: bool) -> None:
    if replace and not settings.trash_days:
        raise click.UsageError("TRASH_DAYS is 0, so what --replace replaces would be gone for good; nothing was done.")


def _collection_dirs(settings: Settings, collections: tuple[str, ...]) -> dict[str, str]:
    """The folders to export, each with the name of its collection."""
    if settings.collection_dirs is None and not collections:
        return {"": ""}
    folders = settings.collection_dirs or {}
    names = {collection_dir: name for name, collection_dir in sorted(folders.items(), reverse=True)}
    chosen = {Selection((), name, None, None).collection_dir(settings) for name in collections}
    return {
        collection_dir: name for collection_dir, name in sorted(names.items()) if not chosen or collection_dir in chosen
    }


def _collection_dir(settings: Settings, collection: str) -> str:
    """The folder for a collection of a bag."""
    folders = settings.collection_dirs
    if folders is None:
        return ""
    if collection not in folders and collection not in folders.values():
        known = ", ".join(sorted(folders))
        raise BadRequest(
            f"The bag has files of the collection {printable(collection)!r}, which is not in COLLECTION_DIRS ({known})."
            " Add it there, or put everything into one with --collection."
        )
    return folders.get(collection, collection)


def _information(pairs: tuple[str, ...]) -> dict[str, str]:
    lines = dict(pair.partition("=")[::2] for pair in pairs)
    for label, text in lines.items():
        if not label or not text or not (label.replace("-", "").isalnum() and (label + text).isprintable()):
            raise click.UsageError("--info is a label and a text: --info 'Source-Organization=Museum of X'.")
    return lines


def _rate_limit(rate: float | None) -> RateLimit:
    return RateLimit(rate * _MEGABYTE if rate else None, threading.Event())
