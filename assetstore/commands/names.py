"""`manage.py names`: files whose names no client can request."""

import click

from assetstore.commands.installation import COMMAND, Installation
from assetstore.commands.output import Listing, show
from assetstore.commands.parameters import as_json_option, dry_run_option
from assetstore.errors import AssetError
from assetstore.names import spelled
from assetstore.originals import renaming

_COLUMNS = ("outcome", "place", "name", "new_name")


@click.group()
def names() -> None:
    r"""Lists and renames files that no client can request.

    Their names have a line break or another control character, a backslash, or letters that are not UTF-8. The output
    has escapes in their place, such as \x0a for a line break.
    """


@names.command("list")
@as_json_option
@click.pass_obj
def list_names(installation: Installation, as_json: bool) -> int:
    """Lists these files. Exit status 1 if there are any.

    Columns: size in bytes, collection folder, name.
    """
    found = 0
    with Listing(("size", "place", "name"), as_json, "Clients can request all files.") as listing:
        for collection_dir, listed in renaming.unreachable(installation.originals):
            found += 1
            listing.show({"size": listed.size, "place": collection_dir, "name": listed.name})
    return 1 if found else 0


@names.command()
@dry_run_option
@as_json_option
@click.pass_obj
def repair(installation: Installation, dry_run: bool, as_json: bool) -> int:
    """Gives these files similar names that clients can request.

    Never replaces a file: if the new name is in use, a number is added. The journal records both names. Exit status 1
    if a file could not be renamed.

    \b
        manage.py names repair --dry-run
        manage.py names repair
    """
    originals, failures = installation.originals, 0
    taken: set[tuple[str, str]] = set()
    for collection_dir, listed in list(renaming.unreachable(originals)):
        new, outcome = "", "renamed"
        try:
            if dry_run:
                new, outcome = renaming.new_name(originals, collection_dir, listed.name, taken), "would be renamed"
                taken.add((collection_dir, new))
            else:
                new = renaming.repair(originals, collection_dir, listed.name, COMMAND)
        except AssetError as error:
            failures += 1
            outcome = f"not renamed: {error.public} {spelled(error.detail)}".strip()
        show({"outcome": outcome, "place": collection_dir, "name": listed.name, "new_name": new}, as_json, _COLUMNS)
    return 1 if failures else 0
