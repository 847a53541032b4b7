"""Changes to originals: each is atomic, recorded in the journal, and can be undone.

All changes to the content of a store name go through this module: uploads, deletes and restores, by clients and by
commands.

Concurrency: a change and its journal entry are made under the lock of the store name, so that the journal has changes
in their order. Uploads are synced before they take the lock. A crash between the two leaves an unjournaled change,
which `assetstore.fixity.verification` finds.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from assetstore.errors import AssetError, BadRequest, NotFound, StorageFault, Unsynced
from assetstore.journal import events
from assetstore.journal.events import Event, Origin
from assetstore.journal.journal import Journal
from assetstore.storage.models import TrashEntry, Version
from assetstore.storage.protocols import Incoming, Store

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Received:
    """A complete upload: its temporary file, its size, and its SHA-256 in hexadecimal.

    *original_name* is that of the file before it was uploaded; None if unknown.
    """

    incoming: Incoming
    size: int
    sha256: str
    original_name: str | None = None


class Originals:
    """The originals of one store.

    Parameters:
        store: the store; its parts become `storage`, `trash_storage` and `space`.
        journal: what happened to them.
        collection_dirs: the folders of all collections.
        keeps_trash: whether deleted and replaced originals are moved to the trash.
    """

    def __init__(self, store: Store, journal: Journal, collection_dirs: Sequence[str], keeps_trash: bool) -> None:
        self.storage = store.originals
        self.trash_storage = store.trash
        self.space = store.space
        self.journal = journal
        self.collection_dirs = collection_dirs
        self.keeps_trash = keeps_trash

    def store(self, received: Received, collection_dir: str, name: str, origin: Origin) -> bool:
        """Stores an upload as the original of that name; True if it replaced one.

        Parameters:
            received: the complete upload.
            collection_dir, name: of the original.
            origin: recorded in the journal.

        Raises:
            BadRequest, OutOfSpace, StorageFault: nothing has changed.
            Unsynced: the change was made, but the disk did not confirm it. The other methods raise it, too.
        """
        received.incoming.sync(received.sha256)
        with self.storage.locked_original(collection_dir, name):
            replaces, doubt = _made(lambda: received.incoming.commit(collection_dir, name, self.keeps_trash))
            operation = events.REPLACED if replaces else events.STORED
            content = (received.size, received.sha256, received.original_name)
            self._record(operation, collection_dir, name, origin, *content)
        if doubt is not None:
            raise doubt
        return replaces

    def delete(self, collection_dir: str, name: str, origin: Origin) -> bool:
        """Removes an original; False if there was none. Raises OutOfSpace, StorageFault: nothing has changed."""
        with self.storage.locked_original(collection_dir, name):
            known = self._known(collection_dir, name)
            existed, doubt = _made(lambda: self.storage.delete_original(collection_dir, name, self.keeps_trash))
            if existed or doubt is not None:
                size, sha256 = (known.size, known.sha256) if known else (None, None)
                self._record(events.DELETED, collection_dir, name, origin, size, sha256)
        if doubt is not None:
            raise doubt
        return existed

    def restore(self, entry: TrashEntry, origin: Origin, *, may_replace: bool = True) -> bool:
        """Restores an entry of the trash; True if it replaced an original, which is moved to the trash.

        Parameters:
            entry: what to restore.
            origin: the source of the request.
            may_replace: whether to replace an original of this name. Others may upload one at any time.

        Raises:
            NotFound: the entry does not exist.
            BadRequest: there is an original that may not be replaced.
            OutOfSpace, StorageFault: it cannot be restored.
        """
        with self.storage.locked_original(entry.collection_dir, entry.name):
            if not may_replace and self.exists(entry.collection_dir, entry.name):
                raise BadRequest("A file with this name exists already.")
            sha256 = self.sha256_of(entry)
            replaces, doubt = _made(lambda: self.trash_storage.restore(entry, self.keeps_trash))
            self._record(events.RESTORED, entry.collection_dir, entry.name, origin, entry.size, sha256)
        if doubt is not None:
            raise doubt
        return replaces

    def purge(self, entry: TrashEntry, origin: Origin) -> bool:
        """Permanently deletes an entry of the trash; False if it did not exist. Raises StorageFault."""
        with self.storage.locked_original(entry.collection_dir, entry.name):
            existed = self.trash_storage.purge(entry)
            if existed:
                self._record(events.PURGED, entry.collection_dir, entry.name, origin, entry.size, None)
        return existed

    def exists(self, collection_dir: str, name: str) -> bool:
        """Returns whether there is an original of that name. Raises StorageFault."""
        try:
            self.storage.version(collection_dir, name)
        except NotFound:
            return False
        return True

    def total_size(self) -> int:
        """Returns the total size of all originals, in bytes. Raises StorageFault."""
        return sum(
            listed.size for collection_dir in self.collection_dirs for listed in self.storage.originals(collection_dir)
        )

    def trash(self) -> Iterator[TrashEntry]:
        """Yields the trash of all collection folders, the oldest entries of each first. Raises StorageFault."""
        for collection_dir in self.collection_dirs:
            yield from self.trash_storage.entries(collection_dir)

    def sha256_of(self, entry: TrashEntry) -> str | None:
        """Returns the SHA-256 of an entry of the trash according to the journal, None if it is not known."""
        try:
            known = self.journal.latest_present(entry.collection_dir, entry.name, entry.removed_ns)
        except StorageFault as error:
            _log.error("the journal cannot be read: %s", error.detail)
            return None
        if known is None or known.size != entry.size or known.time_ns < entry.modified_ns:
            return None  # it was changed by hand
        return known.sha256

    def sha256_of_version(self, collection_dir: str, name: str, version: Version) -> str | None:
        """Returns the SHA-256 of an original according to the journal, None if it is not known.

        Parameters:
            collection_dir, name: of the original.
            version: the current one; if it was changed since the journal entry, its checksum is not known.
        """
        known = self._known(collection_dir, name)
        if known is None or known.size != version.size or known.time_ns < version.modified_ns:
            return None
        return known.sha256

    def _record(  # noqa: PLR0917 - the columns of the journal
        self,
        operation: str,
        collection_dir: str,
        name: str,
        origin: Origin,
        size: int | None,
        sha256: str | None,
        original_name: str | None = None,
    ) -> None:
        event = Event(operation, collection_dir, name, origin.collection, size, sha256, origin.client)
        self.journal.record(replace(event, original_name=original_name))

    def _known(self, collection_dir: str, name: str) -> Event | None:
        """The last journal entry for the current original, None if there is none."""
        try:
            known = self.journal.latest(collection_dir, name)
        except AssetError as error:
            _log.error("the journal cannot be read: %s", error.detail)
            return None
        return known if known is not None and known.operation in events.PRESENT else None


def _made(change: Callable[[], bool]) -> tuple[bool, Unsynced | None]:
    """Makes a change. Returns Unsynced instead of raising it, because the change is then recorded, too."""
    try:
        return change(), None
    except Unsynced as error:
        return error.replaces, error
