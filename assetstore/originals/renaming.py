"""Renames files that no client can request, because their names are not valid store names.

Such files were copied in by hand or by other programs: their names have a line break, a backslash, or letters that are
not UTF-8.

Concurrency: can run while the server is running. The new name is locked, and an original is never replaced. No lock of
the old name is necessary, because no client can use it.
"""

import hashlib
import itertools
from collections.abc import Container, Iterator

from assetstore.errors import BadRequest
from assetstore.journal import events
from assetstore.journal.events import Event, Origin
from assetstore.names import is_store_name, repaired, split_extension
from assetstore.originals.service import Originals
from assetstore.storage.models import Listed
from assetstore.storage.protocols import RenamableOriginals

_CHUNK = 1 << 20


def unreachable(originals: Originals) -> Iterator[tuple[str, Listed]]:
    """Yields the files that no client can request, with their collection folders. Raises StorageFault."""
    for collection_dir in originals.collection_dirs:
        for listed in originals.storage.originals(collection_dir):
            if not is_store_name(listed.name):
                yield collection_dir, listed


def new_name(originals: Originals, collection_dir: str, name: str, taken: Container[tuple[str, str]]) -> str:
    """Returns the name that `repair` would give to a file now.

    Parameters:
        originals: the store.
        collection_dir, name: of the file.
        taken: further names, with their collection folders, that are in use.

    Raises StorageFault.
    """
    return next(
        candidate
        for candidate in _candidates(name)
        if (collection_dir, candidate) not in taken and not originals.exists(collection_dir, candidate)
    )


def repair(originals: Originals, collection_dir: str, name: str, origin: Origin) -> str:
    """Renames a file to a valid store name that is not in use, and records this in the journal; returns the name.

    Raises NotFound, BadRequest (the store cannot rename), OutOfSpace, StorageFault.
    """
    storage = originals.storage
    if not isinstance(storage, RenamableOriginals):
        raise BadRequest("Files in object storage cannot be renamed by this command.")
    size, sha256 = _read(originals, collection_dir, name)
    known = originals.journal.latest(collection_dir, name)
    for candidate in _candidates(name):
        with storage.locked_original(collection_dir, candidate):
            if not storage.rename_original(collection_dir, name, candidate):
                continue
            if known is not None and known.operation in events.PRESENT:
                originals.journal.record(
                    Event(events.GONE, collection_dir, name, "", known.size, known.sha256, origin.client)
                )
            originals.journal.record(Event(events.ADOPTED, collection_dir, candidate, "", size, sha256, origin.client))
        return candidate
    raise AssertionError("unreachable")


def _candidates(name: str) -> Iterator[str]:
    root, extension = split_extension(repaired(name))
    yield root + extension
    for number in itertools.count(2):
        yield f"{root}-{number}{extension}"


def _read(originals: Originals, collection_dir: str, name: str) -> tuple[int, str]:
    checksum = hashlib.sha256()
    with originals.storage.open_original(collection_dir, name) as stored:
        while data := stored.file.read(_CHUNK):
            checksum.update(data)
        return stored.version.size, checksum.hexdigest()
