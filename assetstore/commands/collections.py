"""`manage.py collections`: which collections there are, and one more or less without a restart.

Concurrency: one change at a time, under a lock; the servers take it over with their next request. What a change would
hide is looked for before it, and once more after it, because somebody may be uploading meanwhile.
"""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

import click

from assetstore.collections import added as added_collections
from assetstore.commands.output import printable, show
from assetstore.commands.parameters import as_json_option
from assetstore.commands.workplace import Workplace
from assetstore.config import values
from assetstore.config.loading import Settings
from assetstore.errors import BadRequest
from assetstore.names import PRIVATE_FOLDER
from assetstore.originals.service import Originals

_COLUMNS = ("name", "folder", "origin")
_SETTINGS, _ADDED, _OVERRULED = "settings", "added", "added, but the settings count"
_SHARED = "All collections share one folder; the names that Specify sends are ignored."


@click.group()
def collections() -> None:
    """Shows, adds and removes collections. Servers that run take changes over at once.

    What COLLECTION_DIRS in the settings says always counts; what is added here lies in a small file beside the
    attachments. Nothing is ever moved or deleted.
    """


@collections.command("list")
@as_json_option
@click.pass_obj
def list_collections(workplace: Workplace, as_json: bool) -> None:
    """Lists the collections: name, folder below BASE_DIR, and where that is said."""
    static = workplace.configured.collection_dirs or {}
    added = added_collections.read(_file(workplace.configured))
    rows = [(name, folder, _SETTINGS) for name, folder in static.items()]
    for name, folder in added.items():
        if static.get(name) != folder:
            rows.append((name, folder, _OVERRULED if name in static else _ADDED))
    for row in sorted(rows):
        show(dict(zip(_COLUMNS, row, strict=True)), as_json, _COLUMNS)
    if not rows:
        click.echo(_SHARED, err=True)


@collections.command()
@click.argument("name")
@click.argument("folder")
@click.option("--existing", is_flag=True, help="The folder holds originals already, and they are this collection's.")
@as_json_option
@click.pass_obj
def add(workplace: Workplace, name: str, folder: str, existing: bool, as_json: bool) -> None:
    """Adds collection NAME, as Specify sends it, with its files in FOLDER below BASE_DIR.

    Refuses whatever would hide files: a folder that another collection has, or that lies in one or around one; a
    folder with loose files in it; the first collection of its own while the common folder holds files.

    \b
        manage.py collections add 'KU Fish' ichthyology
    """
    settings = workplace.configured
    _check_user(settings)
    folder = _checked(settings, name, folder)
    with added_collections.changing(settings.base_dir):
        added = added_collections.read(_file(settings))
        is_first = not added and settings.collection_dirs is None
        if not _is_known(settings, added, name, folder):
            known = {**added, **(settings.collection_dirs or {})}
            _refuse_overlap(settings.base_dir, folder, known)
            _refuse_loose_files(settings, folder)
            originals = workplace.originals
            if is_first:
                _refuse_files(originals, "", "of all collections, which would no longer be found")
            if _holds_files(originals, folder) and not existing:
                raise BadRequest(f"{folder} holds originals already; if they are this collection's, say --existing.")
            added_collections.write(_file(settings), {**added, name: folder})
            if is_first:
                _undo_if_files(settings, added, originals, "")
    _show(settings, name, folder, as_json)
    if is_first and not as_json:
        click.echo("From now on there are only the collections that are listed; others get 404.", err=True)


@collections.command()
@click.argument("name")
@as_json_option
@click.pass_obj
def remove(workplace: Workplace, name: str, as_json: bool) -> None:
    """Removes collection NAME from those that were added. Its folder stays.

    Refuses as long as the folder or its trash holds files, which would be hidden.
    """
    settings = workplace.configured
    _check_user(settings)
    with added_collections.changing(settings.base_dir):
        added = added_collections.read(_file(settings))
        if name not in added:
            where = "stands in COLLECTION_DIRS; remove it there" if name in (settings.collection_dirs or {}) else ""
            raise BadRequest(f"The collection {name!r} {where or 'is not among those that were added'}.")
        folder = added[name]
        rest = {other: collection_dir for other, collection_dir in added.items() if other != name}
        originals = workplace.originals
        is_needed = folder not in {**rest, **(settings.collection_dirs or {})}.values()
        if is_needed:
            _refuse_files(originals, folder, "which would no longer be found")
        added_collections.write(_file(settings), rest)
        if is_needed:
            _undo_if_files(settings, added, originals, folder)
    show({"name": name, "folder": folder, "origin": "removed"}, as_json, _COLUMNS)
    if not rest and settings.collection_dirs is None and not as_json:
        click.echo(_SHARED, err=True)


def _file(settings: Settings) -> Path:
    return added_collections.location(settings.base_dir)


def _show(settings: Settings, name: str, folder: str, as_json: bool) -> None:
    origin = _SETTINGS if name in (settings.collection_dirs or {}) else _ADDED
    show({"name": name, "folder": folder, "origin": origin}, as_json, _COLUMNS)


def _check_user(settings: Settings) -> None:
    """Refuses root where the server is another user, who could not write into the new folder."""
    if not settings.base_dir.is_dir():
        return  # opening the store says so, better
    owner = settings.base_dir.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"with the number {owner}"
        raise BadRequest(f"The attachments belong to the user {name}; run this as that user, for example with runuser.")


def _checked(settings: Settings, name: str, folder: str) -> str:
    """Returns the folder as it is kept. Raises BadRequest."""
    if not name or not name.isprintable():
        raise BadRequest("The name of a collection is a line of text, as Specify has it.")
    try:
        mapping = values.folders({name: folder}) or {}
    except ValueError:
        raise BadRequest(f"{folder!r} is no folder below BASE_DIR.") from None
    folder = "/".join(part for part in mapping[name].split("/") if part)
    if not folder or not folder.isprintable():
        raise BadRequest("The collection needs a folder of its own; the common one is not.")
    if {settings.orig_dir, settings.thumb_dir, PRIVATE_FOLDER}.intersection(folder.split("/")):
        raise BadRequest(f"{settings.orig_dir} and {settings.thumb_dir} are folders of the server's own in each place.")
    return folder


def _is_known(settings: Settings, added: Mapping[str, str], name: str, folder: str) -> bool:
    """Whether the collection has this folder already. Raises BadRequest if it has another."""
    for mapping, where in ((settings.collection_dirs or {}, "in COLLECTION_DIRS"), (added, "added")):
        if name in mapping:
            if mapping[name] != folder:
                raise BadRequest(f"{name!r} is {where} already, with the folder {mapping[name]}.")
            return True
    return False


def _refuse_overlap(base: Path, folder: str, known: Mapping[str, str]) -> None:
    mine = _lineage(base, folder)
    for name, other in sorted(known.items()):
        theirs = _lineage(base, other)
        # Compared as the disk has them: links, or a file system that does not know upper and lower case.
        if mine[-1] in theirs or theirs[-1] in mine:
            raise BadRequest(f"{folder} and {other}, the folder of {printable(name)!r}, are one or lie in each other.")


def _lineage(base: Path, folder: str) -> list[tuple[int, int] | str]:
    """A folder and those that it lies in, below the store, the outermost first, each as what it is on the disk."""
    parts = folder.split("/")
    found: list[tuple[int, int] | str] = []
    for number in range(1, len(parts) + 1):
        path = "/".join(parts[:number])
        try:
            status = os.stat(base / path)
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append(path)
    return found


def _refuse_loose_files(settings: Settings, folder: str) -> None:
    path = settings.base_dir / folder
    if not path.exists():
        return
    if not path.is_dir():
        raise BadRequest(f"{folder} is no folder.")
    expected = {settings.orig_dir, settings.thumb_dir, PRIVATE_FOLDER}
    loose = sorted(entry.name for entry in path.iterdir() if entry.name not in expected)
    if loose:
        raise BadRequest(
            f"{folder} holds {printable(loose[0])!r}{' and more' if loose[1:] else ''}, which would not be found: the"
            f" files of a collection are in its folder {settings.orig_dir}. Choose another folder, or move them there."
        )


def _holds_files(originals: Originals, collection_dir: str) -> bool:
    """Whether there are originals. Prepares the place, for nobody can look into a folder that is not there."""
    originals.storage.prepare_collection_dir(collection_dir)
    return next(iter(originals.storage.originals(collection_dir)), None) is not None


def _refuse_files(originals: Originals, collection_dir: str, consequence: str) -> None:
    """Raises BadRequest if there are originals, or former ones in the trash."""
    shown = collection_dir or "The common folder"
    if _holds_files(originals, collection_dir):
        raise BadRequest(f"{shown} holds files {consequence}. Move them first; nothing was changed.")
    if next(iter(originals.storage.trash(collection_dir)), None) is not None:
        raise BadRequest(f"The trash of {shown} holds files {consequence}. Purge it first; nothing was changed.")


def _undo_if_files(settings: Settings, before: Mapping[str, str], originals: Originals, collection_dir: str) -> None:
    """Takes a change back if an upload was quicker. Raises BadRequest then."""
    try:
        _refuse_files(originals, collection_dir, "that have just been uploaded, and would no longer be found")
    except BadRequest:
        added_collections.write(_file(settings), before)
        raise
