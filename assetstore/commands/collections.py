"""`manage.py collections`: lists collections, and adds or removes one without a restart.

Concurrency: one change at a time, under a lock; servers apply it with their next request. Files that a change would
hide are looked for before the change and again after it, because an upload may have arrived in between.
"""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

import click

from assetstore.app import bootstrap
from assetstore.collections import added as added_collections
from assetstore.commands.installation import Installation
from assetstore.commands.output import Listing, printable, show
from assetstore.commands.parameters import as_json_option
from assetstore.config import values
from assetstore.config.loading import Settings
from assetstore.errors import BadRequest
from assetstore.names import PRIVATE_FOLDER
from assetstore.originals.service import Originals

_COLUMNS = ("name", "folder", "origin")
_SETTINGS, _ADDED, _OVERRULED = "settings", "added", "added, overridden by settings"
_SHARED = "All collections share one folder. Collection names that Specify sends are ignored."


@click.group()
def collections() -> None:
    """Lists, adds and removes collections. Running servers apply changes at once.

    COLLECTION_DIRS in the settings takes precedence. Collections added here are stored in a small file in BASE_DIR. No
    files are moved or deleted.
    """


@collections.command("list")
@as_json_option
@click.pass_obj
def list_collections(installation: Installation, as_json: bool) -> None:
    """Lists the collections.

    Columns: name, folder below BASE_DIR, and where the collection is configured.
    """
    static = installation.configured.collection_dirs or {}
    added = added_collections.read(_file(installation.configured))
    rows = [(name, folder, _SETTINGS) for name, folder in static.items()]
    for name, folder in added.items():
        if static.get(name) != folder:
            rows.append((name, folder, _OVERRULED if name in static else _ADDED))
    with Listing(_COLUMNS, as_json, _SHARED) as listing:
        for row in sorted(rows):
            listing.show(dict(zip(_COLUMNS, row, strict=True)))


@collections.command()
@click.argument("name")
@click.argument("folder")
@click.option("--existing", is_flag=True, help="Confirm that the originals in the folder belong to this collection.")
@as_json_option
@click.pass_obj
def add(installation: Installation, name: str, folder: str, existing: bool, as_json: bool) -> None:
    """Adds collection NAME with its files in FOLDER.

    NAME is the name that Specify sends. FOLDER is below BASE_DIR.

    Changes that would hide files are rejected: a folder that another collection uses, or that contains such a folder
    or lies inside it; a folder with other files in it; a first collection while the shared folder contains files.

    \b
        manage.py collections add 'KU Fish' ichthyology
    """
    settings = installation.configured
    bootstrap.require_base_dir(settings.base_dir, installation.folder)
    _check_user(settings)
    folder = _checked(settings, name, folder)
    with added_collections.changing(settings.base_dir):
        added = added_collections.read(_file(settings))
        is_first = not added and settings.collection_dirs is None
        if not _is_known(settings, added, name, folder):
            known = {**added, **(settings.collection_dirs or {})}
            _refuse_overlap(settings.base_dir, folder, known)
            _refuse_loose_files(settings, folder)
            installation.may_create = True
            originals = installation.originals
            if is_first:
                _refuse_files(originals, "", "of all collections, which would no longer be found")
            if _holds_files(originals, folder) and not existing:
                raise BadRequest(
                    f"{folder} already contains originals. If they belong to this collection, use --existing."
                )
            added_collections.write(_file(settings), {**added, name: folder})
            if is_first:
                _undo_if_files(settings, added, originals, "")
    _show(settings, name, folder, as_json)
    if is_first and not as_json:
        click.echo("Only the listed collections exist from now on. Requests for others get 404.", err=True)


@collections.command()
@click.argument("name")
@as_json_option
@click.pass_obj
def remove(installation: Installation, name: str, as_json: bool) -> None:
    """Removes a collection that was added. Its folder stays.

    NAME must have been added with `collections add`. Rejected if the folder or its trash contains files, because they
    would be hidden.
    """
    settings = installation.configured
    _check_user(settings)
    with added_collections.changing(settings.base_dir):
        added = added_collections.read(_file(settings))
        if name not in added:
            if name in (settings.collection_dirs or {}):
                raise BadRequest(f"The collection {name!r} is configured in COLLECTION_DIRS. Remove it there.")
            raise BadRequest(f"No collection {name!r} has been added.")
        folder = added[name]
        rest = {other: collection_dir for other, collection_dir in added.items() if other != name}
        originals = installation.originals
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
    """Raises BadRequest for root if the server runs as another user, who could not write to the new folder."""
    if not settings.base_dir.is_dir():
        return  # opening the store reports this with more detail
    owner = settings.base_dir.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"with ID {owner}"
        raise BadRequest(f"The attachments belong to the user {name}. Run this command as that user: runuser -u …")


def _checked(settings: Settings, name: str, folder: str) -> str:
    """Returns the folder as it is stored. Raises BadRequest."""
    if not name or not name.isprintable():
        raise BadRequest("The collection name must be one line of text, exactly as in Specify.")
    try:
        mapping = values.folders({name: folder}) or {}
    except ValueError:
        raise BadRequest(f"{folder!r} is not a folder below BASE_DIR.") from None
    folder = "/".join(part for part in mapping[name].split("/") if part)
    if not folder or not folder.isprintable():
        raise BadRequest("The collection requires its own folder, other than BASE_DIR itself.")
    if {settings.orig_dir, settings.thumb_dir, PRIVATE_FOLDER}.intersection(folder.split("/")):
        raise BadRequest(f"The server reserves the folder names {settings.orig_dir} and {settings.thumb_dir}.")
    return folder


def _is_known(settings: Settings, added: Mapping[str, str], name: str, folder: str) -> bool:
    """Whether the collection already has this folder. Raises BadRequest if it has another."""
    for mapping, where in ((settings.collection_dirs or {}, "in COLLECTION_DIRS"), (added, "added")):
        if name in mapping:
            if mapping[name] != folder:
                raise BadRequest(f"{name!r} is already {where}, with the folder {mapping[name]}.")
            return True
    return False


def _refuse_overlap(base: Path, folder: str, known: Mapping[str, str]) -> None:
    mine = _lineage(base, folder)
    for name, other in sorted(known.items()):
        theirs = _lineage(base, other)
        # Compared by inode: there may be links, or the file system may ignore case.
        if mine[-1] in theirs or theirs[-1] in mine:
            raise BadRequest(f"{folder} overlaps with {other}, the folder of {printable(name)!r}.")


def _lineage(base: Path, folder: str) -> list[tuple[int, int] | str]:
    """A folder and its parents below BASE_DIR, outermost first: device and inode, or the path if it does not exist."""
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
        raise BadRequest(f"{folder} is not a folder.")
    expected = {settings.orig_dir, settings.thumb_dir, PRIVATE_FOLDER}
    loose = sorted(entry.name for entry in path.iterdir() if entry.name not in expected)
    if loose:
        raise BadRequest(
            f"{folder} contains {printable(loose[0])!r}{' and more' if loose[1:] else ''}, outside its folder"
            f" {settings.orig_dir}, where it would not be found. Move it there, or choose another folder."
        )


def _holds_files(originals: Originals, collection_dir: str) -> bool:
    """Whether there are originals. Creates the collection folder, because a missing folder cannot be listed."""
    originals.space.prepare_collection_dir(collection_dir)
    return next(iter(originals.storage.originals(collection_dir)), None) is not None


def _refuse_files(originals: Originals, collection_dir: str, consequence: str) -> None:
    """Raises BadRequest if there are originals, or files in the trash."""
    shown = f"folder {collection_dir}" if collection_dir else "shared folder"
    if _holds_files(originals, collection_dir):
        raise BadRequest(f"The {shown} contains files {consequence}. Nothing was changed; move the files first.")
    if next(iter(originals.trash_storage.entries(collection_dir)), None) is not None:
        raise BadRequest(f"The trash of the {shown} contains files {consequence}. Nothing was changed; purge it first.")


def _undo_if_files(settings: Settings, before: Mapping[str, str], originals: Originals, collection_dir: str) -> None:
    """Reverts a change if an upload arrived in the meantime. Raises BadRequest in that case."""
    try:
        _refuse_files(originals, collection_dir, "that have just been uploaded, and would no longer be found")
    except BadRequest:
        added_collections.write(_file(settings), before)
        raise
