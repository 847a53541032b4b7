"""The most recent error responses, for the status page.

Concurrency: any thread may call. Each process has its own errors, and only until it ends; the log has all of them.
"""

import threading
import time
from collections import deque

from assetstore.http.request_context import RequestContext

#: How many to store for each status, so that many missing files do not displace the one full disk.
_MOST_OF_A_STATUS = 50

_FIRST_REFUSAL = 400


class RecentRefusals:
    """Stores the requests that ended with an error (a `Meter`)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_status: dict[int, deque[dict[str, object]]] = {}

    def count(self, context: RequestContext) -> None:
        """Stores a request if its response is an error, except requests for unknown routes."""
        if context.status >= _FIRST_REFUSAL and context.route != "other":
            refusal: dict[str, object] = {
                "time": time.time(),
                "status": context.status,
                "sentence": context.sentence,
                "method": context.method,
                "path": context.path,
                "name": context.name,
                "client": context.client,
                "request_id": context.request_id,
            }
            with self._lock:
                self._by_status.setdefault(context.status, deque(maxlen=_MOST_OF_A_STATUS)).append(refusal)

    def latest(self) -> list[dict[str, object]]:
        """Returns the stored requests, newest first."""
        with self._lock:
            found = [refusal for refusals in self._by_status.values() for refusal in refusals]
        return sorted(found, key=_time_of, reverse=True)


def _time_of(refusal: dict[str, object]) -> float:
    return float(str(refusal["time"]))
