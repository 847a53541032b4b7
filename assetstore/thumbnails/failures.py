"""A cache of failures to make thumbnails."""

import threading

import cachetools

from assetstore.errors import Unrenderable
from assetstore.thumbnails.request import ThumbnailRequest

#: For how many seconds, and how many, failures are cached.
_FAILURE_SECONDS, _MOST_FAILURES = 600, 10_000

_Key = tuple[str, str, str, int]


class Failures:
    """A cache of failures by version of the file and size, so that a damaged file in a gallery is rendered only once.

    It keeps the public sentences: the errors would keep their tracebacks and all that these refer to.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sentences: cachetools.TTLCache[_Key, str] = cachetools.TTLCache(_MOST_FAILURES, _FAILURE_SECONDS)

    def remember(self, request: ThumbnailRequest, failure: Unrenderable) -> None:
        """Caches a failure of this version of the file."""
        with self._lock:
            self._sentences[_key(request)] = failure.public

    def check(self, request: ThumbnailRequest) -> None:
        """Raises the cached failure of this version, if there is a recent one."""
        with self._lock:
            sentence = self._sentences.get(_key(request))
        if sentence is not None:
            raise Unrenderable(sentence, "cached from an earlier attempt")


def _key(request: ThumbnailRequest) -> _Key:
    return request.collection_dir, request.name, request.version.etag, request.size
