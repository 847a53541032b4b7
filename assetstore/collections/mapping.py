"""From the name of a collection in Specify to its collection folder.

The mapping consists of the setting COLLECTION_DIRS and of the file that `manage.py collections` writes; if both
have a collection, the setting has precedence. Each lookup checks whether the file has changed, so a change takes
effect at once in all processes. If the file cannot be used, the mapping stays unchanged and the log has the reason.

Concurrency: any number of threads may call. A new mapping replaces the old one as a whole, and threads that use the
old one continue with it.
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

_log = logging.getLogger(__name__)

#: After how many seconds to try an unusable file again.
_RETRY_SECONDS = 10.0

#: In these charsets, versions of Specify 6 send collection names, with question marks instead of other letters.
_CHARSETS = ("latin-1", "ascii", "cp1252")

_Version = tuple[int, int, int]


class Collections:
    """The mapping from collections to folders.

    Parameters:
        folders: COLLECTION_DIRS, folders by collection name, or None. With None, and unless collections are added,
            all collections share one folder and names are ignored.
        file: the file of added collections, None if there is none.

    Raises:
        StorageFault: the file exists and cannot be used.

    Attributes:
        admit: called with each folder that is added later, before it is used; raises AssetError if it is unusable.
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
        """Returns the folders by collection name, None if all collections share one folder."""
        if self._file is not None:
            version = _version(self._file)
            is_due = self._retry_at is not None and time.monotonic() > self._retry_at
            if version != self._version or is_due:
                with self._lock:
                    self._reload(self._file, version)
        return self._folders

    def collection_dirs(self) -> list[str]:
        """Returns all collection folders relative to the store; at least one."""
        folders = self.folders()
        return [""] if folders is None else sorted(set(folders.values()))

    def named(self) -> dict[str, str]:
        """Returns one collection name for each folder; an empty name if all collections share one folder."""
        folders = self.folders()
        if folders is None:
            return {"": ""}
        return {folder: name for name, folder in sorted(folders.items(), reverse=True)}

    def collection_dir(self, name: str | None) -> str:
        """Returns the folder of a collection. None or an empty name means that no collection was named.

        Raises:
            NotFound: the collection is unknown.
        """
        folders = self.folders()
        if folders is None:
            return ""
        folder = folders.get(name or "")
        if folder is None and name and "?" in name:
            folder = _find_squeezed(folders, name)
        if folder is None:
            raise NotFound("The asset server does not know this collection.", f"COLLECTION_DIRS has no {name!r}")
        return folder

    def _reload(self, file: Path, version: _Version | None) -> None:
        """Loads the file, or logs why it cannot be used. Called with the lock held."""
        if version == self._version and self._retry_at is None:
            return  # another thread was faster
        self._version, self._retry_at = version, None
        if version is None:
            _log.error("%s was deleted; the collections stay unchanged until the next start", file)
            return
        try:
            folders = self._merged(added_collections.read(file))
            for collection_dir in sorted(set((folders or {}).values()) - set((self._folders or {}).values())):
                self.admit(collection_dir)
        except AssetError as error:
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            _log.error("the collections stay unchanged: %s %s", error.public, error.detail)
            return
        self._folders = folders
        _log.info("collections now: %s", ", ".join(map(repr, sorted(folders or {}))) or "all share one folder")

    def _merged(self, added: Mapping[str, str]) -> Mapping[str, str] | None:
        static = self._static or {}
        for name in sorted(name for name in added if static.get(name, added[name]) != added[name]):
            _log.warning("collection %r was added, but is also in COLLECTION_DIRS, which has precedence", name)
        return {**added, **static} or None


class LiveCollectionDirs(Sequence[str]):
    """The current folders of all collections, as a sequence that changes with the mapping."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._collections.collection_dirs()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._collections.collection_dirs())  # of one mapping, even if it changes meanwhile

    def __len__(self) -> int:
        return len(self._collections.collection_dirs())


def _version(file: Path) -> _Version | None:
    """Identifies a version of the file; None if there is no file."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _find_squeezed(folders: Mapping[str, str], name: str) -> str | None:
    """The folder of the only collection whose name becomes *name* in one of the charsets of clients; else None."""
    found = {
        folder
        for collection, folder in folders.items()
        if any(collection.encode(charset, "replace").decode(charset) == name for charset in _CHARSETS)
    }
    return found.pop() if len(found) == 1 else None
