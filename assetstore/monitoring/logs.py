"""The log: lines on standard output, plain for people or JSON for programs (LOG_FORMAT).

It has a line for each request, and other events. Tokens, keys and queries are never logged.
"""

import functools
import json
import logging
import os
import sys
import time
from datetime import UTC, datetime

from assetstore.http.request_context import RequestContext

#: How many characters of a path and of a store name are logged; both come from clients.
_LONGEST_TEXT = 500

PLAIN, JSON = "plain", "json"
FORMATS = (PLAIN, JSON)


def set_up(format: str, is_verbose: bool) -> None:
    """Sets up logging to standard output.

    Parameters:
        format: PLAIN or JSON.
        is_verbose: whether to log DEBUG lines, too.
    """
    handler = _Lines()
    handler.setFormatter(JsonLines() if format == JSON else PlainLines())
    logging.basicConfig(level=logging.DEBUG if is_verbose else logging.INFO, handlers=[handler], force=True)
    # Fields that our lines do not have are not collected ("Optimization" in Python's Logging HOWTO).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    # ExifRead logs a warning for every file without EXIF.
    logging.getLogger("exifread").setLevel(logging.ERROR)


class _Lines(logging.Handler):
    """Writes each record by a separate system call, without the lock of the logging module.

    That lock is held while the system writes, and with many threads, requests waited for each other.
    """

    def createLock(self) -> None:  # noqa: N802 - logging's name
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = memoryview(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))
            while line:
                line = line[os.write(sys.stdout.fileno(), line) :]
        except Exception:  # noqa: BLE001 - as in all handlers of logging: errors of the log must not affect the caller
            self.handleError(record)


class PlainLines(logging.Formatter):
    """`2026-11-24 10:31:07,123 INFO 192.0.2.7 GET /fileget 'a.jpg' 200 81235 bytes 3 ms 1a2b-…`"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Returns the text of a record."""
        context = getattr(record, "context", None)
        if not isinstance(context, RequestContext):
            return super().format(record)
        date = f"{_second(int(record.created))},{record.msecs:03.0f} {record.levelname}"
        # As repr, because method, path and name come from the client.
        request = f"{context.client} {context.method!r} {_cut(context.path)!r} {_cut(context.name)!r}"
        return (
            f"{date} {request} {context.status} {context.sent} bytes"
            f" {context.seconds * 1000:.0f} ms {context.request_id}"
        )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


@functools.lru_cache(maxsize=2)
def _second(second: int) -> str:
    """The date and time of a line, cached for one second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


class JsonLines(logging.Formatter):
    """One JSON object per line: time (UTC), level, and the message or the fields of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line of a record."""
        date = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {"time": date, "level": record.levelname}
        context = getattr(record, "context", None)
        if isinstance(context, RequestContext):
            line |= {
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
        else:
            line |= {"logger": record.name, "message": record.getMessage()}
            request_id = getattr(record, "request_id", None)
            if request_id:
                line["request_id"] = request_id
        if record.exc_info:
            line["story"] = self.formatException(record.exc_info)
        # In ASCII, so no program that reads the log can misinterpret a line break or a control character in it.
        return json.dumps(line)
