"""Changes to originals: each is made whole, noted in the journal, and can be undone.

This is the one place through which a store name comes to stand for other bytes: uploads, deletes
and restores, whether a client or a command asks for them.

Concurrency: a change and its event in the journal happen under the lock of the store name, so that
the journal has them in the order in which they happened. Uploads wait for the disk before they
take the lock. A crash in between leaves a change that the journal did not hear of; `assetstore.fixity.verification`
finds it.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from assetstore.errors import AssetError, StorageFault, Unsynced
from assetstore.journal import journal as events
from assetstore.journal.journal import Event, Journal, Origin
from assetstore.storage.models import TrashEntry
from assetstore.storage.protocols import Incoming, Storage

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Received:
    """An upload with all its bytes: where they wait, how many they are, and their checksum in hexadecimal."""

    incoming: Incoming
    size: int
    sha256: str


class Originals:
    """The originals of one store.

    Parameters:
        storage: where they are.
        journal: what happened to them.
        collection_dirs: the folders of all collections.
        keeps_trash: whether what is deleted or replaced goes to the trash.
    """

    def __init__(self, storage: Storage, journal: Journal, collection_dirs: Sequence[str], keeps_trash: bool) -> None:
        self.storage = storage
        self.journal = journal
        self.collection_dirs = collection_dirs
        self.keeps_trash = keeps_trash

    def store(self, received: Received, collection_dir: str, name: str, origin: Origin) -> bool:
        """Makes an upload the original of that name; True if it replaced one.

        Parameters:
            received: all bytes of the upload.
            collection_dir, name: of the original.
            origin: who uploads.

        Raises:
            BadRequest, OutOfSpace, StorageFault: nothing has changed then.
            Unsynced: all has changed, but the disk does not confirm it. So for the other changes.
        """
        received.incoming.sync(received.sha256)
        with self.storage.locked_original(collection_dir, name):
            replaces, doubt = _made(lambda: received.incoming.commit(collection_dir, name, self.keeps_trash))
            operation = events.REPLACED if replaces else events.STORED
            self._record(operation, collection_dir, name, origin, received.size, received.sha256)
        if doubt is not None:
            raise doubt
        return replaces

    def delete(self, collection_dir: str, name: str, origin: Origin) -> bool:
        """Removes an original; False if there was none. Raises OutOfSpace, StorageFault: nothing has changed then."""
        with self.storage.locked_original(collection_dir, name):
            known = self._known(collection_dir, name)
            existed, doubt = _made(lambda: self.storage.delete_original(collection_dir, name, self.keeps_trash))
            if existed or doubt is not None:
                size, sha256 = (known.size, known.sha256) if known else (None, None)
                self._record(events.DELETED, collection_dir, name, origin, size, sha256)
        if doubt is not None:
            raise doubt
        return existed

    def restore(self, entry: TrashEntry, origin: Origin) -> bool:
        """Makes an entry of the trash the original again; True if it replaced one, which goes to the trash.

        Raises NotFound (the entry is gone), OutOfSpace, StorageFault.
        """
        with self.storage.locked_original(entry.collection_dir, entry.name):
            sha256 = self.sha256_of(entry)
            replaces, doubt = _made(lambda: self.storage.restore(entry, self.keeps_trash))
            self._record(events.RESTORED, entry.collection_dir, entry.name, origin, entry.size, sha256)
        if doubt is not None:
            raise doubt
        return replaces

    def purge(self, entry: TrashEntry, origin: Origin) -> bool:
        """Removes an entry of the trash for good; False if it was gone already. Raises StorageFault."""
        with self.storage.locked_original(entry.collection_dir, entry.name):
            existed = self.storage.purge(entry)
            if existed:
                self._record(events.PURGED, entry.collection_dir, entry.name, origin, entry.size, None)
        return existed

    def total_size(self) -> int:
        """Returns how many bytes all originals have together. Raises StorageFault."""
        return sum(
            listed.size for collection_dir in self.collection_dirs for listed in self.storage.originals(collection_dir)
        )

    def trash(self) -> Iterator[TrashEntry]:
        """Yields what is in the trash of all places, the oldest of each first. Raises StorageFault."""
        for collection_dir in self.collection_dirs:
            yield from self.storage.trash(collection_dir)

    def sha256_of(self, entry: TrashEntry) -> str | None:
        """Returns what the journal says of the bytes of an entry of the trash, None if it does not know."""
        try:
            known = self.journal.latest_present(entry.collection_dir, entry.name, entry.removed_ns)
        except StorageFault as error:
            _log.error("the journal cannot be asked: %s", error.detail)
            return None
        if known is None or known.size != entry.size or known.time_ns < entry.modified_ns:
            return None  # somebody changed it by hand since
        return known.sha256

    def _record(  # noqa: PLR0917 - the columns of the journal
        self, operation: str, collection_dir: str, name: str, origin: Origin, size: int | None, sha256: str | None
    ) -> None:
        self.journal.record(Event(operation, collection_dir, name, origin.collection, size, sha256, origin.client))

    def _known(self, collection_dir: str, name: str) -> Event | None:
        """The journal's word on today's original, None if it has none."""
        try:
            known = self.journal.latest(collection_dir, name)
        except AssetError as error:
            _log.error("the journal cannot be asked: %s", error.detail)
            return None
        return known if known is not None and known.operation in events.PRESENT else None


def _made(change: Callable[[], bool]) -> tuple[bool, Unsynced | None]:
    """Makes a change; also gives the doubt whether it lasts, for then it has its place in the journal all the same."""
    try:
        return change(), None
    except Unsynced as error:
        return error.replaces, error
