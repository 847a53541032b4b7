"""A worker process that makes recipes of copies. It opens no files: the server sends it the parts that it requests.

Its results are `recipe`, `refusal` (why there is no safe copy), or `error` with a traceback for the log.
"""

import json
import resource
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import BinaryIO

from assetstore.location_safe import cleaning
from assetstore.location_safe.recipe import CannotClean, as_text
from assetstore.metadata.remote_file import RemoteFile

#: If the server is gone, the worker exits this much later than the server would have killed it.
_GRACE_SECONDS = 5

_MEMORY_BYTES = 1 << 30

#: Only the time is limited, because all of a JPEG must be read to find its end.
_ANY_NUMBER = 1 << 62

#: Number of calls of a traceback to report: the last ones, because the log cuts long texts.
_LAST_CALLS = -4


def main(arguments: Sequence[str]) -> None:
    """Processes requests until the input ends.

    Parameters:
        arguments: the time limit in seconds.
    """
    seconds = int(arguments[0])
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while line := source.readline():
        signal.alarm(seconds + _GRACE_SECONDS)
        answer = _answer(json.loads(line)["size"], source, sink)
        sink.write(json.dumps(answer).encode() + b"\n")
        sink.flush()
        signal.alarm(0)


def _answer(size: int, source: BinaryIO, sink: BinaryIO) -> dict[str, str]:
    try:
        return {"recipe": as_text(cleaning.recipe(RemoteFile(size, source, sink, _ANY_NUMBER), size))}
    except CannotClean as refusal:
        return {"refusal": str(refusal)}
    except Exception:  # noqa: BLE001 - the worker continues with the next file; the traceback goes to the log
        return {"error": traceback.format_exc(limit=_LAST_CALLS)}
