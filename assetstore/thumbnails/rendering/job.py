"""What a worker gets to do, and what it may use."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One picture to make.

    Fields:
        source: path of the original; never given to a tool as a name, only as an open file.
        target: path at which to make the thumbnail; its folder is private to the job.
        decoder: what the bytes are, a key of `assetstore.formats.FORMATS`.
        encoder: what the thumbnail is to be, likewise.
        size: the thumbnail fits into a square of so many pixels.
    """

    source: str
    target: str
    decoder: str
    encoder: str
    size: int


@dataclass(frozen=True)
class Limits:
    """What the tools may take for one picture.

    Fields:
        seconds: of time, all steps together.
        megabytes: of memory; a temporary file may have a quarter of it.
    """

    seconds: int
    megabytes: int
