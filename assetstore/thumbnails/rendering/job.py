"""The jobs of a worker, and their limits."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Job:
    """One thumbnail to render.

    Fields:
        source: path of the original; tools get it only as an open file, never by name.
        target: path of the thumbnail; its folder is private to the job.
        decoder: format of the original, a key of `assetstore.formats.FORMATS`.
        encoder: format of the thumbnail, likewise.
        size: side in pixels of the square that the thumbnail fits into.
        niceness: by how much the priority for the processor is lowered (nice(2)).
    """

    source: str
    target: str
    decoder: str
    encoder: str
    size: int
    niceness: int = 0


@dataclass(frozen=True)
class PagesJob:
    """The pages of an original to describe: `pages.describe` writes them to the target."""

    source: str
    target: str
    decoder: str
    niceness: int = 0


class Page(NamedTuple):
    """A page of an original, as `pages.describe` writes it.

    Fields:
        width, height: in pixels, upright.
        orientation: how the stored pixels must be turned to be upright (EXIF).
        number: of the page in the file, from 0.
        needs_pyramid: whether its parts are rendered from a pyramid.
    """

    width: int
    height: int
    orientation: int = 1
    number: int = 0
    needs_pyramid: bool = False


@dataclass(frozen=True)
class PyramidJob:
    """A pyramid of one page to make: a tiled TIFF, in which each level has half the width and height of the one before.

    Fields:
        source, target, decoder, niceness: as for `Job`; the pyramid has the pixels as they are stored.
        page: number of the page, from 0.
        orientation: how the page must be turned to be upright (EXIF).
        progress: path of a file to which the share that is done is written while the job runs, as text.
        seconds: the limit of time.
        megabytes: the limit of the length of the pyramid.
    """

    source: str
    target: str
    decoder: str
    page: int
    orientation: int
    progress: str
    seconds: int
    megabytes: int
    niceness: int = 0


@dataclass(frozen=True)
class RegionJob:
    """A part of a page to render.

    Fields:
        source: path of the pyramid, or of the original; empty if the server reads parts of the pyramid for the worker.
        target, niceness: as for `Job`.
        decoder: format of the original; PYRAMID if the source is a pyramid.
        page: number of the page, from 0.
        width, height, orientation: of the page: upright, and how it must be turned for that (EXIF).
        region: left, top, width and height of the part, in pixels of the upright page.
        size: width and height in pixels to scale it to; never larger than the part.
        is_mirrored, rotation: mirrors it left to right, and then rotates it clockwise by a multiple of 90 degrees.
        quality: `color`, `gray` or `bitonal`.
        encoder: `jpeg`, `png` or `webp`.
        source_bytes: the size of a pyramid without a path.
    """

    source: str
    target: str
    decoder: str
    page: int
    width: int
    height: int
    orientation: int
    region: tuple[int, int, int, int]
    size: tuple[int, int]
    is_mirrored: bool
    rotation: int
    quality: str
    encoder: str
    source_bytes: int = 0
    niceness: int = 0


#: In the place of a decoder: the source of a `RegionJob` is a pyramid.
PYRAMID = "pyramid"

AnyJob = Job | PagesJob | PyramidJob | RegionJob

#: The kinds of jobs by name, for messages between processes.
JOBS: dict[str, type[AnyJob]] = {kind.__name__: kind for kind in (Job, PagesJob, PyramidJob, RegionJob)}


def seconds(job: AnyJob, limits: "Limits") -> int:
    """Returns the limit of time of a job."""
    return job.seconds if isinstance(job, PyramidJob) else limits.seconds


@dataclass(frozen=True)
class Limits:
    """Limits of the engines for one job.

    Fields:
        seconds: the time of all steps together.
        megabytes: memory, and temporary files together.
        file_megabytes: one temporary file; None: a quarter of `megabytes`.
    """

    seconds: int
    megabytes: int
    file_megabytes: int | None = None
