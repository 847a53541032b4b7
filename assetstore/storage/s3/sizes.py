"""The sizes of which thumbnails are cached in a bucket: an empty object for each size, as on disk.

    thumbnails/.asset-server/sizes/200           thumbnails of 200 pixels are cached; its date is that of the last use
    thumbnails/.asset-server/sizes/200-leaving   the size was retired, and its thumbnails are being removed
    thumbnails/.asset-server/sizes/200-preview   the size was in PREVIEW_SIZES

Concurrency: any thread may call. Servers on one bucket have no common lock, and each knows the sizes as they were some
seconds ago. Servers that add sizes at the same time may exceed the limit, each by one size. A server may store a
thumbnail of a size that another has just retired: it stays until the size is retired again or its original is deleted,
because a delete lists the thumbnails of an original by their keys (`assetstore.storage.s3.thumbnails`). If two servers
remove the thumbnails of a retired size at the same time, some may have to be rendered again.
"""

import threading
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

from assetstore.names import PRIVATE_FOLDER, is_store_name
from assetstore.storage.s3.layout import Folder
from assetstore.storage.thumbnail_sizes import LEAVING, PREVIEW, SPECIFY_SIZES, SizeRules, size_of, with_ending

#: For how many seconds the list of sizes is cached.
_SECONDS = 10

#: How many thumbnails are removed by one request.
_BATCH = 1000


@dataclass(frozen=True)
class _State:
    """The sizes of a folder at a time (of `time.monotonic`); *used_ns* are those that are cached."""

    looked_at: float
    used_ns: Mapping[int, int] = field(default_factory=dict)
    leaving: frozenset[int] = frozenset()
    previews: frozenset[int] = frozenset()


class S3Sizes:
    """The cached sizes of all folders of thumbnails. All methods raise Unavailable and StorageFault.

    Parameters:
        rules: which sizes are cached.
    """

    def __init__(self, rules: SizeRules) -> None:
        self._rules = rules
        self._lock = threading.Lock()
        self._states: dict[Folder, _State] = {}

    def cached(self, folder: Folder) -> Set[int]:
        """Returns the sizes of which thumbnails are cached, as they were at most some seconds ago."""
        return self._state(folder).used_ns.keys()

    def add(self, folder: Folder, size: int, replaces: bool) -> bool:
        """Adds a size if the rules allow it; returns whether it is cached now.

        Parameters:
            folder: of the thumbnails.
            size: in pixels.
            replaces: whether it may replace another size if the limit is reached.
        """
        state = self._state(folder)
        if size in state.used_ns or size in state.leaving:
            return size in state.used_ns
        decision = self._rules.decide(size, state.used_ns, bool(state.leaving), replaces)
        if decision.retired is not None:
            self.retire(folder, {decision.retired})
        if decision.is_admitted:
            self._mark(folder, size)
        return decision.is_admitted

    def use(self, folder: Folder, size: int) -> None:
        """Records that a thumbnail of this size was read."""
        if size in self.cached(folder):
            self._mark(folder, size)

    def retire(self, folder: Folder, sizes: Set[int]) -> None:
        """Stops caching thumbnails of these sizes; `remove_retired` removes those that exist."""
        for size in sizes:
            folder.bucket.put(_key(folder, size, LEAVING), b"", {})
        with self._lock:
            state = self._states.get(folder, _State(-_SECONDS))
            used_ns = {size: ns for size, ns in state.used_ns.items() if size not in sizes}
            self._states[folder] = replace(state, used_ns=used_ns, leaving=state.leaving | sizes)

    def update_previews(self, folder: Folder) -> None:
        """Adds the sizes in PREVIEW_SIZES, and retires those that were in it and no longer are."""
        previews = self._look(folder).previews
        for size in self._rules.previews:
            if size not in previews:
                folder.bucket.put(_key(folder, size, PREVIEW), b"", {})
            self.add(folder, size, True)
        former = previews - self._rules.previews
        self.retire(folder, former - SPECIFY_SIZES)
        folder.bucket.delete([_key(folder, size, PREVIEW) for size in former])

    def remove_retired(self, folder: Folder, ending: threading.Event) -> None:
        """Removes the thumbnails of retired sizes; ends early if *ending* is set."""
        leaving = self._look(folder).leaving
        if not leaving:
            return
        keys: list[str] = []
        for object in folder.bucket.list(folder.path):
            if ending.is_set():
                return
            name = folder.name(object.key)
            if is_store_name(name) and size_of(name) in leaving:
                keys.append(object.key)
            if len(keys) >= _BATCH:
                folder.bucket.delete(keys)
                keys.clear()
        folder.bucket.delete(keys)
        folder.bucket.delete([_key(folder, size) for size in leaving])
        folder.bucket.delete([_key(folder, size, LEAVING) for size in leaving])
        self._look(folder)

    def _mark(self, folder: Folder, size: int) -> None:
        folder.bucket.put(_key(folder, size), b"", {})
        with self._lock:
            state = self._states.get(folder, _State(-_SECONDS))
            self._states[folder] = replace(state, used_ns={**state.used_ns, size: time.time_ns()})

    def _state(self, folder: Folder) -> _State:
        with self._lock:
            state = self._states.get(folder)
        if state is not None and time.monotonic() - state.looked_at < _SECONDS:
            return state
        return self._look(folder)

    def _look(self, folder: Folder) -> _State:
        sizes = Folder(folder.bucket, folder.key(f"{PRIVATE_FOLDER}/sizes"))
        listed = {sizes.name(object.key): object.stored_ns for object in folder.bucket.list(sizes.path)}
        leaving, previews = with_ending(listed, LEAVING), with_ending(listed, PREVIEW)
        used_ns = {size: listed[str(size)] for size in with_ending(listed, "") - leaving}
        state = _State(time.monotonic(), used_ns, leaving, previews)
        with self._lock:
            self._states[folder] = state
        return state


def _key(folder: Folder, size: int, ending: str = "") -> str:
    return folder.key(f"{PRIVATE_FOLDER}/sizes/{size}{ending}")
