"""The loop of a worker process that examines files, as `file_workers.FileWorkers` starts it.

The worker opens no files: it requests parts of them from the server, by the protocol of `worker_process`.
"""

import json
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from assetstore.concurrency import worker_requests

#: If the server is gone, the worker exits this much later than the server would have killed it.
_GRACE_SECONDS = 5

#: Number of calls of a traceback to report: the last ones, because the log cuts long texts.
_LAST_CALLS = -4

#: Examines a file of this size, of which it requests parts through the two streams, and returns the result.
Examine = Callable[[int, BinaryIO, BinaryIO], Mapping[str, object]]


def run(arguments: Sequence[str], memory_bytes: int, examine: Examine) -> None:
    """Processes requests until the input ends.

    Parameters:
        arguments: of the command line: the time limit for a file in seconds.
        memory_bytes: the limit of the address space.
        examine: called for each request. If it raises, the result is `error` with a traceback for the log.
    """
    seconds = int(arguments[0])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    for request in worker_requests.read(source):
        signal.alarm(seconds + _GRACE_SECONDS)
        result = _result(examine, request["size"], source, sink)
        sink.write(json.dumps(result).encode() + b"\n")
        sink.flush()
        signal.alarm(0)


def _result(examine: Examine, size: int, source: BinaryIO, sink: BinaryIO) -> Mapping[str, object]:
    try:
        return examine(size, source, sink)
    except Exception:  # noqa: BLE001 - the worker continues with the next file; the traceback goes to the log
        return {"error": traceback.format_exc(limit=_LAST_CALLS)}
