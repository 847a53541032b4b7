"""`manage.py get`: downloads originals or thumbnails from an attachment server."""

from pathlib import Path

import click

from assetstore import names
from assetstore.client import downloads
from assetstore.client.asset_client import RemoteServer
from assetstore.commands.output import show
from assetstore.commands.parameters import as_json_option
from assetstore.commands.progress import Progress
from assetstore.commands.remote_options import announce_stop, connecting, reason, stops_everything, with_retries
from assetstore.errors import AssetError, BadRequest

_COLUMNS = ("outcome", "size", "sha256", "file")


@click.command()
@click.argument("store_names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder for the downloaded files, which get their store names; default: the current folder.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Path for a single file.")
@click.option(
    "--thumbnail", type=click.IntRange(1), metavar="PIXELS", help="Download the thumbnail of this size instead."
)
@click.option("--replace", is_flag=True, help="Replace existing files with different content.")
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
    """Downloads originals, by store name. Prints outcome, size in bytes, SHA-256 and path.

    A file appears only when it is complete. To resume after an interruption, repeat the command: it continues a partial
    download if the file has not changed on the server, and skips existing files of the same size and date.

    \b
        manage.py get 7ab24b22-1fcd-4d3a-9d58-0123456789ab.tif
        manage.py get --thumbnail 500 --output fish.png sp68478305178998511353.att.tif

    \b
    Exit status: 0  all files are downloaded
                 1  some are not; the output gives the reason
                 130  interrupted; repeat the command to resume
    """
    if output is not None and len(store_names) > 1:
        raise click.UsageError("--output can be used with one file only.")
    failures = 0
    with Progress("Fetching", 0) as bar:
        for number, name in enumerate(store_names, 1):
            target = output or folder / names.store_name(name)
            row: dict[str, object] = {"name": name, "file": str(target), "size": None, "sha256": None}
            try:
                row.update(_get(remote, name, thumbnail, target, replace, bar))
            except (AssetError, OSError) as error:
                failures += 1
                show({**row, "outcome": _reason(error)}, as_json, _COLUMNS)
                if isinstance(error, OSError) or stops_everything(error):
                    return announce_stop(len(store_names) - number)
                continue
            show(row, as_json, _COLUMNS)
    return 1 if failures else 0


def _get(
    remote: RemoteServer, name: str, scale: int | None, target: Path, is_replacing: bool, bar: Progress
) -> dict[str, object]:
    """Downloads one file unless it exists locally; returns what to show of it."""
    if target.exists() and not is_replacing:
        if with_retries(lambda: _is_same(remote, name, scale, target)):
            return {"outcome": "here already", "size": target.stat().st_size}
        raise BadRequest("A different file with this name exists here. To replace it, use --replace.")
    done = total = 0

    def note(position: int, end: int | None) -> None:
        nonlocal done, total
        bar.grow((end or 0) - total)
        bar.update(position - done)
        done, total = position, end or 0

    fetched = with_retries(lambda: downloads.fetch(remote, name, scale, target, note))
    outcome = f"fetched, the first {fetched.resumed_at} bytes earlier" if fetched.resumed_at else "fetched"
    return {"outcome": outcome, "size": fetched.size, "sha256": fetched.sha256}


def _reason(error: AssetError | OSError) -> str:
    """The text of an error, without the path, which has its own column."""
    return reason(error) if isinstance(error, AssetError) else error.strerror or str(error)


def _is_same(remote: RemoteServer, name: str, scale: int | None, target: Path) -> bool:
    """Whether the size and date of a local file match those on the server."""
    status = target.stat()
    with remote.open(name, scale, method="HEAD") as response:
        last_modified = downloads.modified(response)
        # Compared to the nanosecond: `get` sets the server's date, which has whole seconds.
        is_as_old = last_modified is not None and last_modified * 1_000_000_000 == status.st_mtime_ns
        return is_as_old and response.header("Content-Length") == str(status.st_size)
