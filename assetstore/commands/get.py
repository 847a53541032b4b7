"""`manage.py get`: fetches originals or thumbnails from an attachment server."""

from pathlib import Path

import click

from assetstore import names
from assetstore.client import downloads
from assetstore.client.asset_client import RemoteServer
from assetstore.commands.output import show
from assetstore.commands.parameters import as_json_option
from assetstore.commands.progress import Progress
from assetstore.commands.remote_options import connecting, reason, stops_everything, with_retries
from assetstore.errors import AssetError, BadRequest

_COLUMNS = ("outcome", "size", "sha256", "file")


@click.command()
@click.argument("store_names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Where the files go, under their store names; otherwise here.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Where one file goes.")
@click.option("--thumbnail", type=click.IntRange(1), metavar="PIXELS", help="Not the original: its thumbnail.")
@click.option("--replace", is_flag=True, help="Also in place of another file that is there.")
@connecting
@as_json_option
def get(
    store_names: tuple[str, ...],
    folder: Path,
    output: Path | None,
    thumbnail: int | None,
    replace: bool,
    remote: RemoteServer,
    as_json: bool,
) -> int:
    """Fetches originals, by store name. Prints outcome, bytes, SHA-256 and file.

    A file appears only when it is whole. After an interruption the same command fetches the rest of it, if it has not
    changed on the server, and files that are here already, of the same size and date, are not fetched again.

    \b
        manage.py get 7ab24b22-1fcd-4d3a-9d58-0123456789ab.tif
        manage.py get --thumbnail 500 --output fish.png sp68478305178998511353.att.tif

    \b
    Exit status: 0  all files are here
                 1  not all are; the output says why
                 130  interrupted; call the command again
    """
    if output is not None and len(store_names) > 1:
        raise click.UsageError("--output is for one file.")
    failures = 0
    with Progress("Fetching", 0) as bar:
        for name in store_names:
            target = output or folder / names.store_name(name)
            row: dict[str, object] = {"name": name, "file": str(target), "size": None, "sha256": None}
            try:
                row.update(_get(remote, name, thumbnail, target, replace, bar))
            except (AssetError, OSError) as error:
                failures += 1
                show({**row, "outcome": reason(error)}, as_json, _COLUMNS)
                if isinstance(error, OSError) or stops_everything(error):
                    break
                continue
            show(row, as_json, _COLUMNS)
    return 1 if failures else 0


def _get(
    remote: RemoteServer, name: str, scale: int | None, target: Path, is_replacing: bool, bar: Progress
) -> dict[str, object]:
    """Fetches one file unless it is here; returns what to show of it."""
    if target.exists() and not is_replacing:
        if with_retries(lambda: _is_same(remote, name, scale, target)):
            return {"outcome": "here already", "size": target.stat().st_size}
        raise BadRequest("Another file of this name is here (see --replace).")
    grown = False

    def note(more: int, end: int | None) -> None:
        nonlocal grown
        if not grown:
            bar.grow(end or 0)
            grown = True
        bar.update(more)

    fetched = with_retries(lambda: downloads.fetch(remote, name, scale, target, note))
    outcome = f"fetched, the first {fetched.resumed_at} bytes earlier" if fetched.resumed_at else "fetched"
    return {"outcome": outcome, "size": fetched.size, "sha256": fetched.sha256}


def _is_same(remote: RemoteServer, name: str, scale: int | None, target: Path) -> bool:
    """Whether size and date of a file here are those that the server gives."""
    status = target.stat()
    with remote.open(name, scale, method="HEAD") as answer:
        last_modified = downloads.modified(answer)
        # To the nanosecond: a file that `get` has written has the server's date, in whole seconds.
        is_as_old = last_modified is not None and last_modified * 1_000_000_000 == status.st_mtime_ns
        return is_as_old and answer.header("Content-Length") == str(status.st_size)
