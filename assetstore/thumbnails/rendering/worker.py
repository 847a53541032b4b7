"""A worker process: reads jobs from standard input, one JSON object a line, answers likewise.

It ends when its input ends. Its answers are a note for the log if the picture is made, or the kind of error with its
public sentence and detail.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from assetstore.errors import AssetError
from assetstore.thumbnails.rendering import engines, isolation
from assetstore.thumbnails.rendering.job import Job, Limits

#: So much later than the server would, the worker ends itself and its tools, should the server be gone.
_GRACE_SECONDS = 5

#: So many calls of a fault's traceback are reported: the last ones, for the log cuts long texts.
_LAST_CALLS = -4


def main(arguments: Sequence[str]) -> None:
    """Serves jobs until the input ends.

    Parameters:
        arguments: seconds and megabytes of the limits.
    """
    limits = Limits(int(arguments[0]), int(arguments[1]))
    signal.signal(signal.SIGALRM, lambda _number, _frame: os.killpg(0, signal.SIGKILL))
    for line in sys.stdin:
        signal.alarm(limits.seconds + _GRACE_SECONDS)
        print(json.dumps(_answer(Job(**json.loads(line)), limits)), flush=True)
        signal.alarm(0)


def _answer(job: Job, limits: Limits) -> dict[str, object]:
    try:
        return {"note": engines.render(job, limits)}
    except AssetError as error:
        return isolation.as_answer(error)
    except Exception:  # noqa: BLE001 - the worker lives on for the next picture; the story goes to the log
        trace = traceback.format_exc(limit=_LAST_CALLS)
        return isolation.as_answer(AssetError("The thumbnail could not be made.", trace))
