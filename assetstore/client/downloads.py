"""Fetches a file to disk and goes on where an interrupted attempt ended.

The bytes go to a hidden file beside the target, which gets its name only when it is whole. A
second hidden file holds what the server said which version this is (ETag or date); only more of
the very same version is asked for (Range with If-Range, RFC 9110, 13.1.5), anything else begins
anew.

Concurrency: the hidden file is locked; a second command for the same target is refused.
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
from assetstore.client.http_client import Answer
from assetstore.errors import BadRequest, RemoteFault

_BLOCK = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]+|\*)", re.ASCII)


@dataclass(frozen=True)
class Fetched:
    """A file that has arrived: bytes, SHA-256 in hexadecimal, how many bytes were there from an earlier attempt."""

    size: int
    sha256: str
    resumed_at: int


def modified(answer: Answer) -> float | None:
    """Returns when the file of an answer was last changed, seconds since 1970; None if nobody says."""
    try:
        return email.utils.parsedate_to_datetime(answer.header("Last-Modified")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def fetch(
    remote: RemoteServer, name: str, scale: int | None, target: Path, on_progress: Callable[[int, int | None], None]
) -> Fetched:
    """Fetches an original or a thumbnail, whole and at once, in place of what is at *target*.

    Parameters:
        remote: the server.
        name, scale: the store name; the size of a thumbnail in pixels, None for the original.
        target: path of the file.
        on_progress: called with the bytes that arrived, and how many there will be if that is known.

    Raises:
        NotFound, RemoteFault: as `RemoteServer.open`; what has arrived so far is kept for the next attempt.
        BadRequest: another command fetches to the same place.
        OSError: it cannot be written.
    """
    identity = hashlib.blake2b(f"{remote.address}\0{name}\0{scale}\0{target.name}".encode(), digest_size=8).hexdigest()
    part = target.with_name(f".part-{identity}")
    version = target.with_name(f".part-{identity}-version")
    with _locked(part) as file:
        fetched, last_modified = _receive(remote, name, scale, file=file, version=version, on_progress=on_progress)
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
            raise BadRequest("Another command is fetching this file.") from None
        if not part.exists() or not os.path.samestat(part.stat(), os.fstat(file.fileno())):
            raise BadRequest("Another command has just fetched this file.")  # what we opened is the target now
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
    with remote.open(name, scale, headers) as answer:
        resumed_at = _resumption(answer, there, known)
        if resumed_at is not None:
            file.truncate(resumed_at)
            if not resumed_at:
                version.write_text(_validator(answer), encoding="utf-8")
            digest = _digest(file)
            end = resumed_at + answer.length if answer.length is not None else None
            on_progress(resumed_at, end)
            for block in answer.blocks():
                file.write(block)
                digest.update(block)
                on_progress(len(block), end)
            return Fetched(file.tell(), digest.hexdigest(), resumed_at), modified(answer)
    # More than the server has: what is here is of another version.
    version.unlink(missing_ok=True)
    return _receive(remote, name, scale, file=file, version=version, on_progress=on_progress)


def _resumption(answer: Answer, there: int, known: str) -> int | None:
    """From which byte on the answer goes; None if it is not usable, so that everything has to be asked for anew."""
    if answer.status == 200:
        return 0
    found = _CONTENT_RANGE.match(answer.header("Content-Range"))
    if answer.status == 206 and found and int(found[1]) == there and _validator(answer) == known:
        return there
    if not there:
        raise RemoteFault(f"The server says {answer.status} although no range was asked for.", answered=answer.status)
    return None


def _validator(answer: Answer) -> str:
    """What tells this version from others; empty if nothing surely does."""
    etag = answer.header("ETag")
    return etag if etag.startswith('"') else answer.header("Last-Modified")


def _digest(file: BinaryIO) -> "hashlib._Hash":
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest
