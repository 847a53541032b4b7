"""Imports the files of a bag as originals.

A bag is untrusted input. Its structure, paths and names are checked before anything is stored. Each file is hashed
while it is copied, and becomes an original only if it matches the manifest. Originals that exist with the same content
are left alone, so a repeated import does only the rest.

Concurrency: can run while the server is running; each file is stored like an upload. The bag should not change during
the import; if it does, the checksums no longer match.
"""

import contextlib
import hashlib
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from assetstore.bags import library
from assetstore.bags.inventory import INVENTORY, Item, read_inventory
from assetstore.concurrency.rate_limit import Interrupted, RateLimit
from assetstore.errors import BadRequest, NotFound, StorageFault
from assetstore.journal.events import Origin
from assetstore.names import repaired, store_name, unspelled
from assetstore.originals.service import Originals, Received
from assetstore.storage.protocols import Incoming
from assetstore.thumbnails.service import Thumbnails

#: A manifest requires one of these, because older algorithms are not secure.
_ALGORITHMS = ("sha512", "sha256")

#: The maximum sizes of files outside the payload, in bytes.
_LARGEST_TAG_FILE, _LARGEST_MANIFEST = 1 << 20, 1 << 30

_CHUNK = 1 << 20


class ReceivedBag:
    """A bag whose structure has been checked.

    Parameters:
        folder: of the bag.
        collection_dir_of: returns the collection folder in the store for a collection's name or folder; raises
            BadRequest.

    Raises:
        BadRequest: the folder is not a bag, is incomplete, or has content that is not allowed.
    """

    def __init__(self, folder: Path, collection_dir_of: Callable[[str], str]) -> None:
        self._folder = folder
        _refuse_links(folder)
        self._checksums, self._located = _manifest(folder)
        self.items = list(self._items())
        self._collection_dirs = {item.path: collection_dir_of(item.collection) for item in self.items}

    @property
    def bytes(self) -> int:
        """The total size of all files."""
        return sum(item.size for item in self.items)

    def _items(self) -> Iterator[Item]:
        """The originals in the bag, from its table or, without one, from their paths."""
        payload = {path for path in self._checksums if path.startswith("data/")}
        inventory = self._folder / INVENTORY
        if inventory.exists():
            items = list(read_inventory(inventory))
            if len(items) != len(payload) or {item.path for item in items} != payload:
                raise BadRequest(f"{INVENTORY} does not match the files in the bag.")
        else:
            items = [self._by_path(path) for path in sorted(payload)]
        for item in items:
            name = unspelled(item.name)
            if name != item.name:  # it was exported under a name that no client could request
                name = repaired(name)
            with _named(item.path):
                store_name(name)
            size = self._located[item.path].lstat().st_size
            yield Item(item.path, item.collection, item.collection_dir, name, size, item.modified_ns, item.sha256)

    @staticmethod
    def _by_path(path: str) -> Item:
        _, *folders, name = path.split("/")
        return Item(path, "/".join(folders), "", name, 0, 0, "")

    def import_files(
        self,
        originals: Originals,
        thumbnails: Thumbnails,
        client: str,
        rate_limit: RateLimit,
        *,
        replace: bool,
        dry_run: bool,
        progress: Callable[[int], None] = lambda _bytes: None,
    ) -> Iterator[tuple[Item, str, bool]]:
        """Imports the files of the bag; yields each with its outcome, and whether it is in the store now.

        Parameters:
            originals, thumbnails: of the store.
            client: recorded in the journal.
            rate_limit: limits reading.
            replace: whether an original of the same name with other content is replaced and moved to the trash.
            dry_run: whether only to read and compare.
            progress: called with the size of each file that is done.

        Raises:
            OutOfSpace, StorageFault: the store cannot be written; files imported before stay.
        """
        for item in self.items:
            collection_dir = self._collection_dirs[item.path]
            held = self._held(originals, collection_dir, item, rate_limit)
            outcome, is_there = _MISMATCH, False
            if held is True:
                outcome, is_there = "there already", True
            elif held is False and not replace:
                outcome = "not imported, a different file with this name exists (see --replace)"
            elif dry_run and self._read(item, None, rate_limit) is not None:
                outcome, is_there = "would be imported", True
            elif not dry_run and self._stored(originals, collection_dir, item, client, rate_limit):
                thumbnails.discard(collection_dir, item.name)
                outcome, is_there = "imported", True
            yield item, outcome, is_there
            progress(item.size)

    def _held(self, originals: Originals, collection_dir: str, item: Item, rate_limit: RateLimit) -> bool | None:
        """Whether the store's file of that name has the same content; None if it has no such file."""
        algorithm, expected = self._expected_checksum(item)
        try:
            with originals.storage.open_original(collection_dir, item.name) as stored:
                if stored.version.size != item.size:
                    return False
                checksum = hashlib.new(algorithm)
                while data := stored.file.read(_CHUNK):
                    checksum.update(data)
                    rate_limit.spend(len(data))
        except NotFound:
            return None
        except OSError as error:
            raise StorageFault(f"The original {_shown(item.name)} cannot be read.", str(error)) from error
        return checksum.hexdigest() == expected

    def _stored(
        self, originals: Originals, collection_dir: str, item: Item, client: str, rate_limit: RateLimit
    ) -> bool:
        with originals.storage.receive(collection_dir, item.size, item.name) as incoming:
            found = self._read(item, incoming, rate_limit)
            if found is None:
                return False
            size, sha256 = found
            originals.store(
                Received(incoming, size, sha256), collection_dir, item.name, Origin(item.collection, client)
            )
        return True

    def _read(self, item: Item, incoming: Incoming | None, rate_limit: RateLimit) -> tuple[int, str] | None:
        """Reads a file, and copies it to *incoming*; returns size and SHA-256, None if the manifest does not match."""
        algorithm, expected = self._expected_checksum(item)
        sha256, other, size = hashlib.sha256(), hashlib.new(algorithm), 0
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with _readable(item.path), open(os.open(self._located[item.path], flags), "rb", buffering=0) as file:
            while data := file.read(_CHUNK):
                sha256.update(data)
                if algorithm != "sha256":
                    other.update(data)
                size += len(data)
                if incoming is not None:
                    incoming.write(data)
                rate_limit.spend(len(data))
                if rate_limit.ending.is_set():
                    raise Interrupted
        found = sha256 if algorithm == "sha256" else other
        return (size, sha256.hexdigest()) if found.hexdigest() == expected else None

    def _expected_checksum(self, item: Item) -> tuple[str, str]:
        return _strongest(self._checksums[item.path])


_MISMATCH = "not imported, does not match the manifest"


def _refuse_links(folder: Path) -> None:
    """Raises BadRequest unless everything in the folder is a regular file or folder, and of plausible size."""
    if not folder.is_dir():
        raise BadRequest(f"There is no folder {folder}.")
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(parent) / name
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                shown = _shown(path.relative_to(folder))
                raise BadRequest(f"The bag contains something that is not a regular file: {shown}.")
            is_manifest = "manifest-" in name or name == INVENTORY
            if Path(parent) == folder and status.st_size > (_LARGEST_MANIFEST if is_manifest else _LARGEST_TAG_FILE):
                raise BadRequest(f"The file {_shown(name)} in the bag is too large.")
    if (folder / "fetch.txt").exists():
        raise BadRequest("The bag is incomplete: its fetch.txt lists files to be downloaded. Complete it first.")


def _manifest(folder: Path) -> tuple[dict[str, dict[str, str]], dict[str, Path]]:
    """The checksums of all files of a bag, and their locations on disk, by path in the manifests.

    Checks the structure of the bag. Raises BadRequest, or Unavailable without the library bagit.
    """
    bagit = library.bagit()
    logging.getLogger("bagit").setLevel(logging.CRITICAL)  # its errors have the details
    try:
        bag = bagit.Bag(str(folder))
        bag.validate(completeness_only=True)
        entries: dict[str, dict[str, str]] = bag.entries
    except (bagit.BagError, ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise BadRequest(f"The folder is not a valid bag: {_shown(error)}") from error
    located = {}
    for path, checksums in entries.items():
        parts = path.split("/")
        if path.startswith(("/", "~")) or ".." in parts or "\\" in path:
            raise BadRequest(f"The bag contains a path that leads out of it: {_shown(path)}.")
        with _named(path):
            algorithm, expected = _strongest(checksums)
        # Accents can be encoded in two ways, and macOS uses the other one for names on disk (RFC 8493, 6.1.2).
        on_disk = bag.normalized_filesystem_names.get(bagit.normalize_unicode(path), path)
        located[path] = folder / (path if (folder / path).exists() else on_disk)
        if parts[0] != "data" and _hash_of(located[path], algorithm) != expected:
            raise BadRequest(f"The file {_shown(path)} in the bag does not match the manifest.")
    return entries, located


def _strongest(checksums: dict[str, str]) -> tuple[str, str]:
    for algorithm in _ALGORITHMS:
        if algorithm in checksums:
            return algorithm, checksums[algorithm].lower()
    raise BadRequest("The bag has no SHA-256 or SHA-512 checksum for this file.")


def _hash_of(path: Path, algorithm: str) -> str:
    checksum = hashlib.new(algorithm)
    with _readable(path.name), open(path, "rb") as file:
        while data := file.read(_CHUNK):
            checksum.update(data)
    return checksum.hexdigest()


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Adds the path to the text of a BadRequest."""
    try:
        yield
    except BadRequest as error:
        raise BadRequest(f"{error.public} ({_shown(path)})") from None


@contextlib.contextmanager
def _readable(path: str) -> Iterator[None]:
    """Converts an OSError to StorageFault with the path in the bag."""
    try:
        yield
    except OSError as error:
        raise StorageFault(f"The file {_shown(path)} in the bag cannot be read.", error.strerror or "") from error


def _shown(text: object) -> str:
    """The beginning of a text from the bag, as one line without control characters."""
    return "".join(character if character.isprintable() else "?" for character in str(text)[:300])
