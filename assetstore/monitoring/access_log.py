"""The lines of the log about requests: one for each, written when it has ended.

They do not pass through the module logging, which takes longer for a line than finding a cached thumbnail. Queries are
not logged, because they can contain a token.

Concurrency: any thread may call. Each line is one system call.
"""

import contextlib
import functools
import json
import time
from datetime import UTC, datetime

from assetstore.http.request_context import RequestContext
from assetstore.monitoring import logs

#: How many characters of a path and of a store name are logged; both come from clients.
_LONGEST_TEXT = 500


class AccessLog:
    """Logs requests that have ended (a `Meter`).

    Parameters:
        format: PLAIN or JSON (LOG_FORMAT).
    """

    def __init__(self, format: str) -> None:
        self._line = json_line if format == logs.JSON else plain_line

    def count(self, context: RequestContext) -> None:
        """Logs a request."""
        with contextlib.suppress(OSError):  # the client must get its response even if the log cannot be written
            logs.write(self._line(context, time.time()))


def plain_line(context: RequestContext, ended_at: float) -> str:
    """Returns `2026-11-24 10:31:07,123 INFO 192.0.2.7 'GET' '/fileget' 'a.jpg' 200 81235 bytes 3 ms 1a2b-…`.

    Parameters:
        context: of the request.
        ended_at: when the request ended, seconds since 1970.
    """
    second, milliseconds = divmod(int(ended_at * 1000), 1000)
    # As repr, because method, path and name come from the client.
    request = f"{context.client} {context.method!r} {_cut(context.path)!r} {_cut(context.name)!r}"
    return (
        f"{_date(second)},{milliseconds:03} INFO {request} {context.status} {context.sent} bytes"
        f" {context.seconds * 1000:.0f} ms {context.request_id}"
    )


@functools.lru_cache(maxsize=2)
def _date(second: int) -> str:
    """The date and time of a line, cached for one second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


def json_line(context: RequestContext, ended_at: float) -> str:
    """Returns a request as a JSON object. The parameters are those of `plain_line`."""
    line = {
        "time": datetime.fromtimestamp(ended_at, UTC).isoformat(timespec="milliseconds"),
        "level": "INFO",
        "request_id": context.request_id,
        "client": context.client,
        "method": context.method,
        "path": _cut(context.path),
        "route": context.route,
        "name": _cut(context.name),
        "status": context.status,
        "bytes_received": context.received,
        "bytes_sent": context.sent,
        "seconds": round(context.seconds, 6),
    }
    # In ASCII, so no program that reads the log can misinterpret a line break or a control character in it.
    return json.dumps(line)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
