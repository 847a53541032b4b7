"""The trash of a store on disk, in all collections. `trash` has the trash of one folder of originals.

Concurrency: as in `assetstore.storage.disk.originals`.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from assetstore.errors import NotFound
from assetstore.files.durable import confirm
from assetstore.files.faults import faults
from assetstore.storage.disk.files import refuse_folder
from assetstore.storage.disk.layout import DiskLayout
from assetstore.storage.disk.trash import DiskTrash
from assetstore.storage.models import TrashEntry


class DiskTrashStorage:
    """The deleted and replaced originals of all collections."""

    def __init__(self, layout: DiskLayout) -> None:
        self._layout = layout

    def entries(self, collection_dir: str) -> Iterator[TrashEntry]:
        """Yields the trash of a collection folder, oldest entries first. Raises StorageFault."""
        with faults():
            yield from self._of(collection_dir).entries()

    def entry(self, collection_dir: str, identifier: str) -> TrashEntry:
        """Returns one entry. Raises NotFound, StorageFault."""
        with faults():
            found = self._of(collection_dir).entry(identifier)
        if found is None:
            raise NotFound("The file is no longer in the trash.", identifier)
        return found

    @contextlib.contextmanager
    def local_file(self, entry: TrashEntry) -> Iterator[Path]:
        """Yields the path at which tools can read the file of an entry. Raises NotFound."""
        path = self._of(entry.collection_dir).path(entry)
        if path.is_symlink() or not path.is_file():  # a link may lead out of the store
            raise NotFound("The file is no longer in the trash.", entry.identifier)
        yield path

    def restore(self, entry: TrashEntry, keep_old: bool) -> bool:
        """Restores an original from the trash. Returns whether it replaced one.

        Raises NotFound (the entry no longer exists), OutOfSpace, StorageFault.
        """
        trash = self._of(entry.collection_dir)
        source, target = trash.path(entry), self._layout.originals(entry.collection_dir) / entry.name
        with faults():
            if not os.path.lexists(source):
                raise NotFound("The file is no longer in the trash.", entry.identifier)
            replaces = os.path.lexists(target)
            if replaces:
                refuse_folder(target)
            if replaces and os.path.samestat(source.lstat(), target.lstat()):
                source.unlink()  # a crash interrupted an earlier replacement by `DiskTrash.replace`
            elif replaces and keep_old:
                trash.replace(source, target)
            else:
                os.rename(source, target)
            with contextlib.suppress(OSError):  # an empty folder may stay, which is not an entry
                trash.forget(entry)
        confirm(target.parent)
        return replaces

    def purge(self, entry: TrashEntry) -> bool:
        """Removes an entry of the trash permanently. Returns whether it existed. Raises StorageFault."""
        trash = self._of(entry.collection_dir)
        with faults():
            try:
                trash.path(entry).unlink()
            except FileNotFoundError:
                return False
            trash.forget(entry)
        return True

    def _of(self, collection_dir: str) -> DiskTrash:
        return DiskTrash(collection_dir, self._layout.originals(collection_dir))
