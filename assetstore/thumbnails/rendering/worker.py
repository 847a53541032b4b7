"""A worker process: reads jobs from standard input and writes results to standard output, one JSON object per line.

It ends at the end of its input. A result is a note for the log if the thumbnail was rendered, or the kind of error with
its public sentence and detail.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from assetstore.concurrency import worker_requests
from assetstore.errors import AssetError
from assetstore.thumbnails.rendering import engines, isolation, zooming
from assetstore.thumbnails.rendering.job import JOBS, AnyJob, Job, Limits, seconds

#: If the server is gone, the worker kills itself and its tools this much later than the server would have done.
_GRACE_SECONDS = 5

#: Number of calls of a traceback to report: the last ones, because the log cuts long texts.
_LAST_CALLS = -4


def main(arguments: Sequence[str]) -> None:
    """Processes jobs until the input ends.

    Parameters:
        arguments: the limits, in seconds and megabytes.
    """
    limits = Limits(int(arguments[0]), int(arguments[1]))
    signal.signal(signal.SIGALRM, lambda _number, _frame: os.killpg(0, signal.SIGKILL))
    for question in worker_requests.read(sys.stdin.buffer):
        job = JOBS[question.pop("kind")](**question)
        signal.alarm(seconds(job, limits) + _GRACE_SECONDS)
        print(json.dumps(_answer(job, limits)), flush=True)
        signal.alarm(0)


def _answer(job: AnyJob, limits: Limits) -> dict[str, object]:
    try:
        return {"note": engines.render(job, limits) if isinstance(job, Job) else zooming.run(job, limits)}
    except AssetError as error:
        return isolation.as_answer(error)
    except Exception:  # noqa: BLE001 - the worker continues with the next job; the traceback goes to the log
        trace = traceback.format_exc(limit=_LAST_CALLS)
        return isolation.as_answer(AssetError("The thumbnail could not be rendered.", trace))
