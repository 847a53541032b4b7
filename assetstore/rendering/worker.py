"""A worker process: reads jobs from standard input, one JSON object a line, answers likewise.

It ends when its input ends. Its answers are `{}` for a picture made, or the kind of error with its
public sentence and detail.
"""

import json
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from assetstore.errors import AssetError, Unavailable, Unrenderable
from assetstore.rendering import Job, Limits, ghostscript, imagemagick
from assetstore.rendering.tools import open_source

KINDS: dict[str, type[AssetError]] = {kind.__name__: kind for kind in (Unrenderable, Unavailable, AssetError)}

_MEGABYTE = 1 << 20

#: Address space is more than memory: ImageMagick maps its temporary files, and every tool its libraries.
_ADDRESS_SPACE_PER_MEMORY, _ADDRESS_SPACE_BESIDES = 5, 1024


def main(arguments: Sequence[str]) -> None:
    """Serves jobs until the input ends.

    Parameters:
        arguments: seconds and megabytes of the limits.
    """
    limits = Limits(int(arguments[0]), int(arguments[1]))
    address_space = (_ADDRESS_SPACE_PER_MEMORY * limits.megabytes + _ADDRESS_SPACE_BESIDES) * _MEGABYTE
    # The tools inherit these. The second is for the output of one that runs wild.
    _limit(resource.RLIMIT_AS, address_space)
    _limit(resource.RLIMIT_FSIZE, 4 * limits.megabytes * _MEGABYTE)
    _limit(resource.RLIMIT_CORE, 0)
    for line in sys.stdin:
        print(json.dumps(_answer(Job(**json.loads(line)), limits)), flush=True)


def render(job: Job, limits: Limits) -> None:
    """Makes the thumbnail that *job* describes.

    Raises:
        Unrenderable: the file is damaged, encrypted, or too large.
        Unavailable: a tool, or its support for the format, is not installed.
    """
    with open_source(job.source) as descriptor:
        if job.decoder != "pdf":
            imagemagick.render(descriptor, job.decoder, job, limits)
            return
        folder = Path(job.target).parent
        page = ghostscript.draw_page(descriptor, folder, job.size)
    with open_source(str(folder / page)) as descriptor:
        imagemagick.render(descriptor, "png", job, limits, is_srgb=True)


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
    except Exception as error:  # noqa: BLE001 - the worker lives on for the next picture; the story goes to the log
        return {"error": "AssetError", "public": "The thumbnail could not be made.", "detail": repr(error)}
    return {}


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (value, value))
