"""A cache of failures to make thumbnails."""

import threading
import time
from collections import OrderedDict

from assetstore.errors import Unrenderable
from assetstore.thumbnails.request import ThumbnailRequest

#: For how many seconds, and how many, failures are cached.
_FAILURE_SECONDS, _MOST_FAILURES = 600, 10_000


class Failures:
    """A cache of failures by version of the file, so that a damaged file in a gallery is rendered only once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, str], tuple[float, Unrenderable]] = OrderedDict()

    def remember(self, request: ThumbnailRequest, failure: Unrenderable) -> None:
        """Caches a failure of this version of the file."""
        with self._lock:
            self._known[(request.collection_dir, request.name, request.version.etag)] = (time.monotonic(), failure)
            while len(self._known) > _MOST_FAILURES:
                self._known.popitem(last=False)

    def check(self, request: ThumbnailRequest) -> None:
        """Raises the cached failure of this version, if there is a recent one."""
        key = (request.collection_dir, request.name, request.version.etag)
        with self._lock:
            since, failure = self._known.get(key, (0.0, None))
            if failure is None:
                return
            if time.monotonic() - since > _FAILURE_SECONDS:
                del self._known[key]
                return
        raise Unrenderable(failure.public, "cached from an earlier attempt")
