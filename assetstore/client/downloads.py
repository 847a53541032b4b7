"""Downloads a file to disk, and resumes interrupted downloads.

The bytes are written to a hidden file beside the target, which is renamed when it is complete. A second hidden file
records the version (ETag or date). A download is resumed only if the server still has the same version (Range with
If-Range, RFC 9110, 13.1.5); otherwise it starts again.

Concurrency: the hidden file is locked; a second download to the same target is rejected.
"""

import contextlib
import email.utils
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from assetstore.client.asset_client import RemoteServer
from assetstore.client.http_client import Response
from assetstore.errors import BadRequest, NotFound, RemoteFault

_BLOCK = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]+|\*)", re.ASCII)


@dataclass(frozen=True)
class Fetched:
    """A complete download: size, SHA-256 in hexadecimal, and how many bytes an earlier attempt had downloaded."""

    size: int
    sha256: str
    resumed_at: int


def modified(response: Response) -> float | None:
    """Returns the Last-Modified time of a response, seconds since 1970; None if it is missing or invalid."""
    try:
        return email.utils.parsedate_to_datetime(response.header("Last-Modified")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def fetch(
    remote: RemoteServer, name: str, scale: int | None, target: Path, on_progress: Callable[[int, int | None], None]
) -> Fetched:
    """Downloads an original or a thumbnail, and atomically replaces *target* with it.

    Parameters:
        remote: the server.
        name, scale: the store name; the size of a thumbnail in pixels, None for the original.
        target: path of the file.
        on_progress: called with the number of bytes in the file, and the total if that is known; after an interruption,
            both may be smaller than before.

    Raises:
        NotFound: there is no such original; nothing is left of an earlier attempt.
        RemoteFault: as in `RemoteServer.open`; the next attempt resumes the download.
        BadRequest: another command is downloading to the same target.
        OSError: the file cannot be written.
    """
    identity = hashlib.blake2b(f"{remote.address}\0{name}\0{scale}\0{target.name}".encode(), digest_size=8).hexdigest()
    part = target.with_name(f".part-{identity}")
    version = target.with_name(f".part-{identity}-version")
    with _locked(part) as file:
        try:
            fetched, last_modified = _receive(remote, name, scale, file=file, version=version, on_progress=on_progress)
        except BaseException as error:
            with contextlib.suppress(OSError):  # reported as the error that it is
                file.flush()
            # Nothing could be resumed.
            if isinstance(error, NotFound) or not os.fstat(file.fileno()).st_size:
                part.unlink(missing_ok=True)
                version.unlink(missing_ok=True)
            raise
        file.flush()
        os.fsync(file.fileno())
        if last_modified is not None:
            os.utime(file.fileno(), (last_modified, last_modified))
        os.replace(part, target)
        version.unlink(missing_ok=True)
    return fetched


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    with open(part, "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadRequest("Another command is downloading this file.") from None
        if not part.exists() or not os.path.samestat(part.stat(), os.fstat(file.fileno())):
            raise BadRequest("Another command has just downloaded this file.")  # our open file is now the target
        yield file


def _receive(
    remote: RemoteServer,
    name: str,
    scale: int | None,
    *,
    file: BinaryIO,
    version: Path,
    on_progress: Callable[[int, int | None], None],
) -> tuple[Fetched, float | None]:
    known = version.read_text(encoding="utf-8") if version.exists() else ""
    there = file.seek(0, os.SEEK_END) if known else 0
    headers = {"Range": f"bytes={there}-", "If-Range": known} if there else {}
    with remote.open(name, scale, headers) as response:
        resumed_at = _resumption(response, there, known)
        if resumed_at is not None:
            file.truncate(resumed_at)
            if not resumed_at:
                version.write_text(_validator(response), encoding="utf-8")
            digest = _digest(file)
            end = resumed_at + response.length if response.length is not None else None
            position = resumed_at
            on_progress(position, end)
            for block in response.blocks():
                file.write(block)
                digest.update(block)
                position += len(block)
                on_progress(position, end)
            return Fetched(file.tell(), digest.hexdigest(), resumed_at), modified(response)
    # The server cannot resume: the partial file is of another version.
    version.unlink(missing_ok=True)
    return _receive(remote, name, scale, file=file, version=version, on_progress=on_progress)


def _resumption(response: Response, there: int, known: str) -> int | None:
    """The offset at which the response begins; None if the download has to start again."""
    if response.status == 200:
        return 0
    found = _CONTENT_RANGE.match(response.header("Content-Range"))
    if response.status == 206 and found and int(found[1]) == there and _validator(response) == known:
        return there
    if not there:
        raise RemoteFault(
            f"The server returned {response.status}, but no range was requested.", answered=response.status
        )
    return None


def _validator(response: Response) -> str:
    """The validator of this version for If-Range; empty if there is none."""
    etag = response.header("ETag")
    return etag if etag.startswith('"') else response.header("Last-Modified")


def _digest(file: BinaryIO) -> "hashlib._Hash":
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest
