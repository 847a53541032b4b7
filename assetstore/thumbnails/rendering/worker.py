"""A worker process: reads jobs from standard input, one JSON object a line, answers likewise.

It ends when its input ends. Its answers are `{}` for a picture made, or the kind of error with its
public sentence and detail.
"""

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from assetstore.errors import AssetError, OutOfSpace, Unavailable, Unrenderable
from assetstore.thumbnails.rendering import ghostscript, heif, imagemagick
from assetstore.thumbnails.rendering.job import Job, Limits
from assetstore.thumbnails.rendering.tools import open_source

KINDS: dict[str, type[AssetError]] = {
    kind.__name__: kind for kind in (Unrenderable, Unavailable, OutOfSpace, AssetError)
}

#: So much later than the server would, the worker ends itself and its tools, should the server be gone.
_GRACE_SECONDS = 5

#: So many calls of a fault's story are told: the last ones, for the log cuts long texts.
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


def render(job: Job, limits: Limits) -> None:
    """Makes the thumbnail that *job* describes.

    Raises:
        Unrenderable: the file is damaged, encrypted, or too large.
        Unavailable: a tool, or its support for the format, is not installed.
    """
    if job.decoder == "pdf":
        folder = Path(job.target).parent
        with open_source(job.source) as descriptor:
            page = ghostscript.draw_page(descriptor, folder, job.size, limits)
        with open_source(str(folder / page)) as descriptor:
            imagemagick.render(descriptor, "png", job, limits, is_srgb=True)
    elif job.decoder in ("heic", "avif"):
        _render_heif(job, limits)
    else:
        with open_source(job.source) as descriptor:
            imagemagick.render(descriptor, job.decoder, job, limits)


def _render_heif(job: Job, limits: Limits) -> None:
    source, folder = Path(job.source), Path(job.target).parent
    profile, profile_name = heif.color_profile(source), None
    if profile is not None:
        profile_name = "embedded.icc"
        (folder / profile_name).write_bytes(profile)
    preview = heif.copy_with_preview(source, folder, job.size)
    if preview is not None:
        with open_source(str(preview)) as descriptor, contextlib.suppress(Unrenderable):
            # A broken preview says nothing of the picture, which is tried then.
            imagemagick.render(descriptor, job.decoder, job, limits, profile=profile_name)
            return
    with open_source(job.source) as descriptor:
        imagemagick.render(descriptor, job.decoder, job, limits, profile=profile_name)


def _answer(job: Job, limits: Limits) -> dict[str, object]:
    try:
        render(job, limits)
    except AssetError as error:
        return {
            "error": type(error).__name__,
            "public": error.public,
            "detail": error.detail,
            "retry_after": error.retry_after,
        }
    except Exception:  # noqa: BLE001 - the worker lives on for the next picture; the story goes to the log
        trace = traceback.format_exc(limit=_LAST_CALLS)
        return {"error": "AssetError", "public": "The thumbnail could not be made.", "detail": trace}
    return {}
