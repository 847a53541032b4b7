"""The log: lines on standard output, plain for people or JSON for programs (LOG_FORMAT).

It has a line for each request (`assetstore.monitoring.access_log`), and other events. Tokens, keys and queries are
never logged.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime

PLAIN, JSON = "plain", "json"
FORMATS = (PLAIN, JSON)

#: The names with which all loggers of this program begin.
_OWN_LOGGERS = ("assetstore", "assetserver")


def set_up(format: str, is_verbose: bool) -> None:
    """Sets up logging to standard output.

    Parameters:
        format: PLAIN or JSON.
        is_verbose: whether to log DEBUG lines of this program, too. Those of libraries would be hundreds for each file.
    """
    handler = _Lines()
    handler.setFormatter(JsonLines() if format == JSON else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG if is_verbose else logging.NOTSET)
    # Fields that our lines do not have are not collected ("Optimization" in Python's Logging HOWTO).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    # ExifRead logs a warning for every file without EXIF.
    logging.getLogger("exifread").setLevel(logging.ERROR)


def write(line: str) -> None:
    """Writes a line to standard output by one system call. Raises OSError."""
    left = f"{line}\n".encode("utf-8", "backslashreplace")
    while left:
        left = left[os.write(sys.stdout.fileno(), left) :]


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
            write(self.format(record))
        except Exception:  # noqa: BLE001 - as in all handlers of logging: errors of the log must not affect the caller
            self.handleError(record)


class JsonLines(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line of a record."""
        date = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": date, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        request_id = getattr(record, "request_id", None)
        if request_id:
            line["request_id"] = request_id
        if record.exc_info:
            line["story"] = self.formatException(record.exc_info)
        # In ASCII, so no program that reads the log can misinterpret a line break or a control character in it.
        return json.dumps(line)
