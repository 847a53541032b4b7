"""From the collection that Specify names to the folder that holds its files.

The mapping is that of the setting COLLECTION_DIRS and of what `manage.py collections add` has put
into a file since; where both name a collection, the setting counts. The file is looked at with
every question, so that a change holds at once in all processes. One that cannot be used leaves
everything as it was, and the log says why.

Concurrency: any number of threads may ask. A mapping is made whole and then put in place of the
old one; whoever works with the old one finishes with it.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import overload

from assetstore.collections import added as added_collections
from assetstore.errors import AssetError, NotFound
from assetstore.http.parameters import Parameters

_log = logging.getLogger(__name__)

#: After how many seconds a file that could not be used is tried again.
_RETRY_SECONDS = 10.0

_Version = tuple[int, int, int]


class Collections:
    """The mapping from collections to folders.

    Parameters:
        folders: COLLECTION_DIRS, collection names to folders, or None: unless some are added, all share one folder,
            and names are ignored.
        file: where added ones are kept, None if none ever are.

    Raises:
        StorageFault: the file is there and cannot be used.

    Attributes:
        admit: called with each folder that comes later, before it is used; raises AssetError if it cannot be.
    """

    def __init__(self, folders: Mapping[str, str] | None, file: Path | None = None) -> None:
        self._static = folders
        self._file = file
        self._lock = threading.Lock()
        self._version: _Version | None = None
        self._retry_at: float | None = None
        self._folders = folders
        self.admit: Callable[[str], None] = lambda _collection_dir: None
        if file is not None:
            self._version = _version(file)
            self._folders = self._merged(added_collections.read(file))

    def folders(self) -> Mapping[str, str] | None:
        """Returns collection names and their folders, None if all share one."""
        if self._file is not None:
            version = _version(self._file)
            is_due = self._retry_at is not None and time.monotonic() > self._retry_at
            if version != self._version or is_due:
                with self._lock:
                    self._reload(self._file, version)
        return self._folders

    def collection_dirs(self) -> list[str]:
        """Returns all folders relative to the store, at least one."""
        folders = self.folders()
        return [""] if folders is None else sorted(set(folders.values()))

    def named(self) -> dict[str, str]:
        """Returns each folder with a name of a collection that it is for; an empty name where all share one."""
        folders = self.folders()
        if folders is None:
            return {"": ""}
        return {folder: name for name, folder in sorted(folders.items(), reverse=True)}

    def collection_dir(self, parameters: Parameters) -> str:
        """Returns the folder of the collection that the parameter `coll` names.

        Raises:
            NotFound: no collection of that name.
            BadRequest: the name is given twice or not decodable.
        """
        folders = self.folders()
        if folders is None:
            return ""
        name = parameters.get("coll")
        folder = folders.get(name or "")
        if folder is None and name and "?" in name:
            folder = _find_squeezed(folders, name)
        if folder is None:
            raise NotFound("The asset server does not know this collection.", f"COLLECTION_DIRS has no {name!r}")
        return folder

    def _reload(self, file: Path, version: _Version | None) -> None:
        """Takes over what the file says now, or says why not; called under the lock."""
        if version == self._version and self._retry_at is None:
            return  # another thread was quicker
        self._version, self._retry_at = version, None
        if version is None:
            _log.error("%s is gone; the collections stay as they were until the next start", file)
            return
        try:
            folders = self._merged(added_collections.read(file))
            for collection_dir in sorted(set((folders or {}).values()) - set((self._folders or {}).values())):
                self.admit(collection_dir)
        except AssetError as error:
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            _log.error("the collections stay as they were: %s %s", error.public, error.detail)
            return
        self._folders = folders
        _log.info("collections now: %s", ", ".join(map(repr, sorted(folders or {}))) or "all share one folder")

    def _merged(self, added: Mapping[str, str]) -> Mapping[str, str] | None:
        static = self._static or {}
        for name in sorted(name for name in added if static.get(name, added[name]) != added[name]):
            _log.warning("collection %r was added, but COLLECTION_DIRS has it, too, and counts", name)
        return {**added, **static} or None


class LiveCollectionDirs(Sequence[str]):
    """The folders of all collections, as they are whenever somebody looks."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._collections.collection_dirs()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._collections.collection_dirs())  # one mapping from the first to the last

    def __len__(self) -> int:
        return len(self._collections.collection_dirs())


def _version(file: Path) -> _Version | None:
    """What tells one version of the file from another; None if there is none."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _find_squeezed(folders: Mapping[str, str], name: str) -> str | None:
    # Specify 6 sends collection names in ISO-8859-1; letters outside it arrive as question marks.
    found = {
        folder
        for collection, folder in folders.items()
        if collection.encode("latin-1", "replace").decode("latin-1") == name
    }
    return found.pop() if len(found) == 1 else None
