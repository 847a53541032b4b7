"""A worker process: reads jobs from standard input, one JSON object a line, answers likewise.

It ends when its input ends. Its answers are `{}` for a picture made, or the kind of error with its
public sentence and detail.
"""

import json
import sys

from assetstore.errors import AssetError, Unavailable, Unrenderable
from assetstore.rendering import Job
from assetstore.rendering.tools import render

KINDS: dict[str, type[AssetError]] = {kind.__name__: kind for kind in (Unrenderable, Unavailable, AssetError)}


def main() -> None:
    """Serves jobs until the input ends."""
    for line in sys.stdin:
        print(json.dumps(_answer(Job(**json.loads(line)))), flush=True)


def _answer(job: Job) -> dict[str, object]:
    try:
        render(job)
    except AssetError as error:
        return {
            "error": type(error).__name__,
            "public": error.public,
            "detail": error.detail,
            "retry_after": error.retry_after,
        }
    except Exception as error:  # noqa: BLE001 - the worker lives on for the next picture; the story goes to the log
        return {"error": "AssetError", "public": "The thumbnail could not be made.", "detail": repr(error)}
    return {}
