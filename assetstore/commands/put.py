"""`manage.py put`: uploads files to an attachment server."""

import contextlib
import hashlib
import os
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import click

from assetstore import names
from assetstore.client.asset_client import RemoteServer
from assetstore.client.receipts import BEGUN, DONE, Line, Receipt
from assetstore.commands.output import echo, printable, show
from assetstore.commands.parameters import as_json_option
from assetstore.commands.progress import Progress
from assetstore.commands.remote_options import announce_stop, connecting, reason, stops_everything, with_retries
from assetstore.errors import AssetError, BadRequest, NotFound

_BLOCK = 1 << 20


@dataclass(frozen=True)
class _Naming:
    """How store names are chosen: *name*, the files' own names, or new names (None and False)."""

    name: str | None
    is_local: bool
    replaces: bool


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--name", help="Store name for a single file. Default: a new UUID, as in Specify 7.")
@click.option("--local-names", is_flag=True, help="Use the files' own names as store names.")
@click.option("--replace", "is_replacing", is_flag=True,
              help="With --name or --local-names: replace existing originals.")  # fmt: skip
@click.option(
    "--receipt",
    type=click.Path(dir_okay=False, path_type=Path),
    help="CSV file with the outcome for each file. With it, repeat the command to resume after an interruption.",
)
@connecting
@as_json_option
def put(
    files: tuple[Path, ...],
    name: str | None,
    local_names: bool,
    is_replacing: bool,
    receipt: Path | None,
    remote: RemoteServer,
    as_json: bool,
) -> int:
    """Uploads files and prints their store names.

    The receipt has a line for each file: local name, store name, size, SHA-256, outcome. Files that are done according
    to the receipt are skipped, unless they have changed: then they replace the original with the same store name.

    \b
        manage.py put scan.tif
        manage.py put --receipt batch.csv --collection 'KU Fish' photos/*.jpg
        ASSET_SERVER_KEY=... manage.py put --url https://assets.museum.org scan.tif

    \b
    Exit status: 0  all files are on the server
                 1  some are not; standard error and the receipt give the reasons
                 130  interrupted; with a receipt, repeat the command to resume
    """
    naming = _Naming(name, local_names, is_replacing)
    if name is not None and (local_names or len(files) > 1):
        raise click.UsageError("--name requires a single file, and excludes --local-names.")
    failures = 0
    with _receipt(receipt) as known, Progress("Uploading", sum(map(_size, files))) as bar:
        for number, file in enumerate(files, 1):
            line, error = _put(remote, file, naming, known, bar)
            failures += error is not None
            _show(line, as_json)
            if error is not None and stops_everything(error):
                return announce_stop(len(files) - number)
    return 1 if failures else 0


@contextlib.contextmanager
def _receipt(path: Path | None) -> Iterator[Receipt | None]:
    if path is None:
        yield None
        return
    try:
        with Receipt(path) as receipt:
            yield receipt
    except OSError as error:
        raise BadRequest(f"The receipt cannot be written: {reason(error)}.") from error


def _put(
    remote: RemoteServer, path: Path, naming: _Naming, receipt: Receipt | None, bar: Progress
) -> tuple[Line, AssetError | None]:
    """Uploads one file unless the receipt says that it is done; returns its line and the error, if any."""
    known = receipt.line(str(path)) if receipt else None
    line = Line(str(path), known.store_name if known else "", "", "", BEGUN)
    failure = None
    try:
        with _opened(path) as (file, size):
            if known and known.outcome == DONE and known.size == str(size) and known.sha256 == _sha256(file):
                bar.update(size)
                return known, None
            line = replace(line, store_name=line.store_name or _store_name(remote, path, naming))
            if receipt:
                receipt.note(line)
            sha256 = with_retries(lambda: _upload(remote, line.store_name, path, size, bar))
        line = replace(line, size=str(size), sha256=sha256, outcome=DONE)
    except (AssetError, OSError) as error:
        # The name of the file precedes the reason.
        failure = error if isinstance(error, AssetError) else BadRequest(error.strerror or str(error))
        line = replace(line, outcome=reason(failure))
    if receipt and line.store_name:
        receipt.note(line)
    return line, failure


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Opens a regular file; gives it and its size. Raises BadRequest, OSError."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BadRequest("It is not a regular file.")
        yield file, status.st_size


def _upload(remote: RemoteServer, name: str, path: Path, size: int, bar: Progress) -> str:
    """Uploads a file and returns the SHA-256 of the bytes that were sent."""
    digest, sent = hashlib.sha256(), 0

    def note(block: bytes) -> None:
        nonlocal sent
        digest.update(block)
        sent += len(block)
        bar.update(len(block))

    try:
        with _opened(path) as (file, _):
            remote.put(name, file, size, path.name, note)
    except BaseException:
        bar.update(-sent)
        raise
    return digest.hexdigest()


def _store_name(remote: RemoteServer, path: Path, naming: _Naming) -> str:
    if naming.name is None and not naming.is_local:
        return f"{uuid.uuid4()}{names.split_extension(path.name)[1]}"
    name = names.store_name(naming.name or path.name)
    if not naming.replaces and with_retries(lambda: _exists(remote, name)):
        raise BadRequest("The server already has an original with this name. To replace it, use --replace.")
    return name


def _exists(remote: RemoteServer, name: str) -> bool:
    try:
        with remote.open(name, method="HEAD"):
            return True
    except NotFound:
        return False


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _show(line: Line, as_json: bool) -> None:
    if as_json:
        show(vars(line), True, ())
    elif line.outcome == DONE:
        echo(printable(line.store_name))
    else:
        echo(f"{printable(line.local_name)}: {printable(line.outcome)}", err=True)
