"""The engines of each format, in the order in which they are tried.

The first engine that succeeds renders the thumbnail. A file counts as damaged only if every installed engine says so.
The order was determined by rendering public image collections with each engine (`script/acceptance pictures`).
"""

import dataclasses
import functools
import importlib
import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from assetstore.errors import Unavailable, Unrenderable
from assetstore.thumbnails.rendering import isolation, output, refusals, tiff_tags
from assetstore.thumbnails.rendering.job import Job, Limits

#: Formats that are programs, and may never end; seconds for one, for all engines together.
_PROGRAMS, _PROGRAM_SECONDS = ("pdf", "svg"), 20


@dataclass(frozen=True)
class Engine:
    """A library or program that renders thumbnails.

    Fields:
        title: the name to show.
        module: the module of this package; its `render(job, limits)` returns a note for the log.
        library: the Python module that it requires; None for a program of the operating system.
        package: the package that pip installs for it.
    """

    title: str
    module: str
    library: str | None = None
    package: str = ""

    def is_installed(self) -> bool:
        """Whether the library is installed; does not import it. True for programs, which are located when they run."""
        return self.library is None or importlib.util.find_spec(self.library) is not None

    def load(self) -> ModuleType | None:
        """Returns the engine's module, or None if its library is not installed."""
        try:
            return importlib.import_module(f"assetstore.thumbnails.rendering.{self.module}")
        except ImportError:
            if self.library is None:
                raise
            return None


LIBVIPS = Engine("libvips", "libvips", "pyvips", "pyvips[binary]")
PILLOW = Engine("Pillow", "pillow", "PIL", "pillow")
LIBHEIF = Engine("libheif", "heif", "pillow_heif", "pillow-heif")
PDFIUM = Engine("PDFium", "pdfium", "pypdfium2", "pypdfium2")
LIBRAW = Engine("LibRaw", "camera_raw", "rawpy", "rawpy")
LIBJXL = Engine("libjxl", "jpegxl", "pillow_jxl", "pillow-jxl-plugin")
IMAGEMAGICK = Engine("ImageMagick", "imagemagick")
GHOSTSCRIPT = Engine("Ghostscript", "ghostscript")

#: Decoder -> engines, best first.
TABLE: dict[str, tuple[Engine, ...]] = {
    "jpeg": (LIBVIPS, PILLOW, IMAGEMAGICK),
    "png": (LIBVIPS, PILLOW, IMAGEMAGICK),
    "gif": (LIBVIPS, PILLOW, IMAGEMAGICK),
    "tiff": (LIBVIPS, PILLOW, IMAGEMAGICK),
    "webp": (LIBVIPS, PILLOW, IMAGEMAGICK),
    "avif": (LIBVIPS, PILLOW, IMAGEMAGICK),
    "heic": (LIBHEIF, IMAGEMAGICK),
    "bmp": (PILLOW, IMAGEMAGICK),
    "pdf": (PDFIUM, GHOSTSCRIPT),
    "jp2": (PILLOW, IMAGEMAGICK),
    "jxl": (LIBJXL,),
    "psd": (PILLOW, IMAGEMAGICK),
    "raw": (LIBRAW,),
    "svg": (LIBVIPS,),
}


def missing_libraries() -> list[Engine]:
    """Returns the engines whose libraries are not installed."""
    every = dict.fromkeys(engine for row in TABLE.values() for engine in row)
    return [engine for engine in every if not engine.is_installed()]


def render(job: Job, limits: Limits, engines: Sequence[Engine] | None = None) -> str:
    """Renders the thumbnail that *job* describes; returns a note for the log, empty if there were no problems.

    Parameters:
        job, limits: the thumbnail to render, and the limits of each engine.
        engines: the engines to try; None for those of the table.

    Raises:
        Refused: an engine gave a definite reason.
        Damaged: every engine says so.
        Unavailable: no engine for this format is installed.
        OutOfSpace: there is no space for temporary files.
    """
    job = _as_what_it_is(job)
    failures: list[tuple[Engine, Unrenderable]] = []
    missing: list[Unavailable] = []
    blank = b""
    deadline = time.monotonic() + min(limits.seconds, _PROGRAM_SECONDS if job.decoder in _PROGRAMS else limits.seconds)
    for engine in TABLE[job.decoder] if engines is None else engines:
        module = engine.load()
        if module is None:
            missing.append(_not_installed(engine))
            continue
        try:
            is_encrypted = any(isinstance(failure, refusals.Encrypted) for _, failure in failures)
            note = _attempt(module, job, limits, deadline, is_encrypted=is_encrypted)
        except Unrenderable as failure:
            failures.append((engine, failure))
            if isinstance(failure, refusals.EncryptedOtherwise):
                break
            if isinstance(failure, refusals.Blank):
                blank = Path(job.target).read_bytes()
        except Unavailable as absence:
            missing.append(absence)
        else:
            return "; ".join((*(_described(*failure) for failure in failures), *([note] if note else [])))
    if blank:
        output.write(job.target, blank)
        return ""
    raise _verdict(failures, missing)


def _as_what_it_is(job: Job) -> Job:
    """Most camera RAW files have the signature of TIFF; only their tags identify them."""
    return dataclasses.replace(job, decoder=decoder_of_tiff(job.source)) if job.decoder == "tiff" else job


def decoder_of_tiff(source: str) -> str:
    """Returns the format of a file with the signature of TIFF: `tiff`, or `raw` if it is a camera RAW file."""
    with open(source, "rb") as file:
        is_raw = any(page.is_camera_raw for page in tiff_tags.read_pages(file.fileno()))
    return "raw" if is_raw else "tiff"


def _attempt(module: ModuleType, job: Job, limits: Limits, deadline: float, *, is_encrypted: bool) -> str:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise refusals.too_slow("no time was left")
    work = functools.partial(_render, module, job, limits, is_encrypted)
    return isolation.run(work, limits, seconds, Path(job.target).parent, job.niceness)


def _render(module: ModuleType, job: Job, limits: Limits, is_encrypted: bool) -> str:
    note = str(module.render(job, limits) or "")
    if is_encrypted and importlib.import_module("assetstore.thumbnails.rendering.pillow").is_white(job.target):
        # Ghostscript ignores the encryption of some damaged files, and then finds nothing to draw.
        raise refusals.encrypted("a blank page, as if it were still encrypted")
    return note


def _verdict(failures: list[tuple[Engine, Unrenderable]], missing: list[Unavailable]) -> Unrenderable | Unavailable:
    """The most definite of all reasons."""
    if not failures:
        return missing[-1]
    detail = "; ".join(_described(*failure) for failure in failures)
    refused = [failure for _, failure in failures if isinstance(failure, refusals.Refused)]
    best = refused[0] if refused else failures[0][1]
    return type(best)(best.public, detail)


def _described(engine: Engine, failure: Unrenderable) -> str:
    return f"{engine.title}: {failure.detail or failure.public}"


def _not_installed(engine: Engine) -> Unavailable:
    sentence = f"The server cannot render this thumbnail: {engine.title} is not installed (Python package"
    return Unavailable(f"{sentence} {engine.package}).", retry_after=300)
