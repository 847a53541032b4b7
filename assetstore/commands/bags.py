"""`manage.py export` and `manage.py import`: copy originals to and from BagIt bags."""

import threading
from pathlib import Path

import click

from assetstore.bags.export import MEANINGS, Export
from assetstore.bags.import_ import ReceivedBag
from assetstore.commands.installation import COMMAND, Installation
from assetstore.commands.output import counted, echo, printable, progress, show
from assetstore.commands.parameters import as_json_option, dry_run_option, folder_of
from assetstore.concurrency.rate_limit import RateLimit
from assetstore.config.loading import Settings
from assetstore.errors import BadRequest

_MEGABYTE = 1_000_000

_rate_option = click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Limit reading to this many megabytes per second."
)


@click.command("export")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--collection", "collections", multiple=True, help="Export only this collection, by name or folder. Repeatable."
)
@click.option("--info", multiple=True, metavar="LABEL=TEXT",
              help="Add a line to bag-info.txt, such as 'Source-Organization=Museum of X'. Repeatable.")  # fmt: skip
@_rate_option
@as_json_option
@click.pass_obj
def export_bag(
    installation: Installation,
    folder: Path,
    collections: tuple[str, ...],
    info: tuple[str, ...],
    rate: float | None,
    as_json: bool,
) -> int:
    """Exports originals to FOLDER as a BagIt bag.

    Bags are for archives or other museums. The bag contains the SHA-256 of every file, and attachments.csv, which maps
    the files in the bag to store names. Files whose content no longer matches the checksum in the journal are reported.
    To resume an interrupted export, repeat the command. To validate a bag on any computer: python -m bagit --validate
    FOLDER

    \b
        manage.py export /mnt/archive/2026-11 --info 'Source-Organization=Museum of X'
        manage.py export /mnt/handover --collection 'KU Fish'

    Exit status 1 if a file is missing from the bag or does not match the journal.
    """
    collection_dirs = _collection_dirs(installation.settings, collections)
    if folder.resolve().is_relative_to(installation.settings.base_dir.resolve()):
        raise click.UsageError("The bag must not be inside BASE_DIR. Choose another folder.")
    originals, problems = installation.originals, 0
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
        echo(_summary(run, folder, problems))
    return 1 if problems else 0


def _summary(run: Export, folder: Path, problems: int) -> str:
    written = f"{counted(run.files, 'file')}, {counted(run.bytes, 'byte')} in {printable(folder)}"
    return f"{written}; {counted(problems, 'problem') if problems else 'no problems'}."


@click.command("import")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--collection", help="Import all files into this collection, whatever the bag says.")
@click.option("--replace", is_flag=True, help="Replace files with different content; they are moved to the trash.")
@_rate_option
@dry_run_option
@as_json_option
@click.pass_obj
def import_bag(
    installation: Installation,
    folder: Path,
    collection: str | None,
    replace: bool,
    rate: float | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Imports the files of the BagIt bag in FOLDER. Each file is imported only if its checksum is correct.

    The collections are taken from attachments.csv in the bag, or from the names of its folders. Files that already
    exist with the same content are left alone, so the command can be repeated, for example after an interruption. A
    bag that is incomplete, or contains links or invalid names, is rejected as a whole. --dry-run reads and checks
    everything.

    \b
        manage.py import /mnt/handover --dry-run
        manage.py import /mnt/handover

    Exit status 1 if a file was not imported.
    """
    settings, originals = installation.settings, installation.originals
    _refuse_without_trash(settings, replace)
    chosen = folder_of(collection, settings)
    bag = ReceivedBag(folder, lambda name: _collection_dir(settings, name) if chosen is None else chosen)
    counts = {True: 0, False: 0}
    with progress("Importing", bag.bytes) as bar:
        for item, outcome, is_there in bag.import_files(
            originals, installation.thumbnails, COMMAND.client, _rate_limit(rate), replace=replace, dry_run=dry_run,
            progress=bar.update,
        ):  # fmt: skip
            counts[is_there] += 1
            if as_json or not is_there:
                row = {"outcome": outcome, "collection": item.collection, "name": item.name, "size": item.size}
                show(row, as_json, ("outcome", "collection", "name"))
    done = "importable or already there" if dry_run else "now in the store"
    if not as_json:
        echo(f"{counts[True]} of {counted(len(bag.items), 'file')} {done}.")
    return 1 if counts[False] else 0


def _refuse_without_trash(settings: Settings, replace: bool) -> None:
    if replace and not settings.trash_days:
        raise click.UsageError("With TRASH_DAYS = 0, --replace would delete files permanently. Nothing was changed.")


def _collection_dirs(settings: Settings, collections: tuple[str, ...]) -> dict[str, str]:
    """The folders to export, each with the name of its collection."""
    if settings.collection_dirs is None and not collections:
        return {"": ""}
    folders = settings.collection_dirs or {}
    names = {collection_dir: name for name, collection_dir in sorted(folders.items(), reverse=True)}
    chosen = {folder_of(name, settings) for name in collections}
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
            f"The bag contains files of the collection {printable(collection)!r}, which is not in COLLECTION_DIRS"
            f" ({known}). Add it there, or import all files into one collection with --collection."
        )
    return folders.get(collection, collection)


def _information(pairs: tuple[str, ...]) -> dict[str, str]:
    lines = dict(pair.partition("=")[::2] for pair in pairs)
    for label, text in lines.items():
        if not label or not text or not (label.replace("-", "").isalnum() and (label + text).isprintable()):
            raise click.UsageError("--info requires a label and a text, such as 'Source-Organization=Museum of X'.")
    return lines


def _rate_limit(rate: float | None) -> RateLimit:
    return RateLimit(rate * _MEGABYTE if rate else None, threading.Event())
