"""A job of a worker, and its limits."""

from dataclasses import dataclass


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
class Limits:
    """Limits of the engines for one thumbnail.

    Fields:
        seconds: the time of all steps together.
        megabytes: memory, and temporary files together; one temporary file may have a quarter of it.
    """

    seconds: int
    megabytes: int
