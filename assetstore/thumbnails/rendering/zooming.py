"""The jobs for zooming: the pages of an original, the pyramid of a page, and parts of a page.

As for thumbnails, each attempt runs in a child process with limits (`isolation`).
"""

import dataclasses
import functools
import importlib
import time
from pathlib import Path
from typing import Any

from assetstore.errors import Unavailable, Unrenderable
from assetstore.thumbnails.rendering import engines, isolation, refusals
from assetstore.thumbnails.rendering.job import Job, Limits, PagesJob, PyramidJob, RegionJob

#: The side in pixels of a square into which every page fits.
_ANY_SIZE = 100_000

#: The formats of which pages are read at full size without being rendered first.
_READ_DIRECTLY = ("jpeg", "png", "gif", "tiff", "webp", "avif", "svg", "pdf")

#: The engines whose libraries do that.
_DIRECT_ENGINES = (engines.LIBVIPS, engines.PDFIUM)


def run(job: PagesJob | PyramidJob | RegionJob, limits: Limits) -> str:
    """Does a job; returns a note for the log, empty if there were no problems.

    Raises:
        Refused: there is a definite reason why the file cannot be rendered.
        Damaged: the file cannot be read.
        Unavailable: a library is missing.
        OutOfSpace: there is no space for the result.
    """
    if job.decoder == "tiff":
        job = dataclasses.replace(job, decoder=engines.decoder_of_tiff(job.source))
    if isinstance(job, PyramidJob):
        return _make_pyramid(job, limits)
    if isinstance(job, PagesJob):
        work = functools.partial(_module("pages").describe, job)
    elif not job.source:
        with _module("requested_parts").connection() as (source, sink):
            work = functools.partial(_module("regions").render_requested, job, limits, source, sink)
            return isolation.run(work, limits, limits.seconds, Path(job.target).parent, job.niceness)
    else:
        work = functools.partial(_module("regions").render, job, limits)
    return isolation.run(work, limits, limits.seconds, Path(job.target).parent, job.niceness)


def _make_pyramid(job: PyramidJob, limits: Limits) -> str:
    deadline = time.monotonic() + job.seconds
    pyramids, limits = _module("pyramids"), dataclasses.replace(limits, file_megabytes=job.megabytes)

    def attempt(work: functools.partial[str]) -> str:
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            raise refusals.too_slow("no time was left")
        return isolation.run(work, limits, seconds, Path(job.target).parent, job.niceness)

    failure: Unrenderable | None = None
    if job.decoder in _READ_DIRECTLY:
        _load_engine(job.decoder)
        try:
            return attempt(functools.partial(pyramids.make, job, limits))
        except Unrenderable as error:
            if isinstance(error, refusals.Encrypted) or job.page > 0:
                raise
            failure = error
    upright = Path(job.target).parent / "upright.png"
    others = [engine for engine in engines.TABLE[job.decoder] if failure is None or engine not in _DIRECT_ENGINES]
    if failure is not None and (job.decoder == "pdf" or not others):
        raise failure
    try:
        thumbnail = Job(job.source, str(upright), job.decoder, "png", _ANY_SIZE, job.niceness)
        note = engines.render(thumbnail, limits, others)
    except (Unrenderable, Unavailable) as error:
        raise failure or error from None
    upright_job = dataclasses.replace(job, source=str(upright), decoder="png", page=0)
    attempt(functools.partial(pyramids.make_of_upright, upright_job, limits))
    return note


def _load_engine(decoder: str) -> None:
    """Loads the library now, so that each child process already has it."""
    engines.TABLE[decoder][0].load()


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"assetstore.thumbnails.rendering.{name}")
    except ImportError as error:
        sentence = "The server cannot render parts of images: a library is not installed (Python package"
        raise Unavailable(f"{sentence} {engines.LIBVIPS.package}).", str(error), retry_after=300) from None
