"""The latest refusals and faults, so that the administrator's page can show them.

Concurrency: any thread may count or ask. Each process has its own; a restart forgets them, the log does not.
"""

import threading
import time
from collections import deque

from assetstore.http.middleware import Meter
from assetstore.http.request_context import RequestContext

#: Of each status so many are kept: a hundred files that are not there do not push out the one full disk.
_MOST_OF_A_STATUS = 50

_FIRST_REFUSAL = 400


class RecentRefusals:
    """Remembers exchanges that ended with a refusal or a fault (a `Meter`).

    Parameters:
        following: counts them, too; None for nobody.
    """

    def __init__(self, following: Meter | None) -> None:
        self._following = following
        self._lock = threading.Lock()
        self._by_status: dict[int, deque[dict[str, object]]] = {}

    def count(self, context: RequestContext) -> None:
        """Remembers an exchange if it was refused; what looks for addresses that do not exist is left out."""
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
        if self._following is not None:
            self._following.count(context)

    def latest(self) -> list[dict[str, object]]:
        """Returns them, the newest first."""
        with self._lock:
            found = [refusal for refusals in self._by_status.values() for refusal in refusals]
        return sorted(found, key=_time_of, reverse=True)


def _time_of(refusal: dict[str, object]) -> float:
    return float(str(refusal["time"]))
