"""`manage.py delete`: deletes originals on an attachment server."""

import functools

import click

from assetstore import names
from assetstore.client.asset_client import RemoteServer
from assetstore.commands.output import confirmed, counted, show
from assetstore.commands.parameters import as_json_option, dry_run_option
from assetstore.commands.remote_options import announce_stop, connecting, reason, stops_everything, with_retries
from assetstore.errors import AssetError, NotFound

_COLUMNS = ("outcome", "name")


@click.command()
@click.argument("store_names", nargs=-1, required=True, metavar="NAME...")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@connecting
@dry_run_option
@as_json_option
def delete(store_names: tuple[str, ...], yes: bool, remote: RemoteServer, dry_run: bool, as_json: bool) -> int:
    """Deletes originals and their thumbnails, by store name. A missing original counts as deleted.

    This server moves deleted originals to its trash. Other servers may delete them permanently.

    \b
        manage.py delete --dry-run sp68478305178998511353.att.jpg

    \b
    Exit status: 0  all are deleted or were missing
                 1  some could not be deleted; the output gives the reason;
                    or the question was answered with no
                 130  interrupted
    """
    for name in store_names:
        names.store_name(name)
    if not (yes or dry_run or confirmed(f"Delete {counted(len(store_names), 'file')} on {remote.address}?")):
        return 1
    failures = 0
    for number, name in enumerate(store_names, 1):
        try:
            outcome = with_retries(functools.partial(_delete, remote, name, dry_run))
        except AssetError as error:
            failures += 1
            show({"name": name, "outcome": reason(error)}, as_json, _COLUMNS)
            if stops_everything(error):
                return announce_stop(len(store_names) - number)
            continue
        show({"name": name, "outcome": outcome}, as_json, _COLUMNS)
    return 1 if failures else 0


def _delete(remote: RemoteServer, name: str, is_dry_run: bool) -> str:
    if is_dry_run:
        try:
            with remote.open(name, method="HEAD"):
                return "would be deleted"
        except NotFound:
            return "was not there"
    return "deleted" if remote.delete(name) else "was not there"
