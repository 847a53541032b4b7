"""Runs ImageMagick and Ghostscript through `sh`, so that a hostile file finds nothing to hold on to.

The original is handed over as an open file (`/dev/fd/N`), never by its name: ImageMagick reads
names as patterns, formats and even options. Its decoder is always spelled out, so contents cannot
choose one. Ghostscript is called directly, because Debian's ImageMagick policy forbids PDF.
"""

import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sh

from assetstore.errors import AssetError, Unavailable, Unrenderable
from assetstore.rendering import Job

_STANDARD_PATH = "/usr/local/bin:/usr/bin:/bin"

#: Large pictures go to disk beyond this, instead of taking the memory of the machine.
_IMAGEMAGICK_LIMITS = ("-limit", "memory", "1GiB", "-limit", "map", "2GiB", "-limit", "thread", "1")

#: Ghostscript's resolution, in dots per inch, as long as the size of the page is unknown: the
#: largest page that PDF allows (200 inches) then stays below 16,000 pixels.
_BLIND_RESOLUTION = 80

#: The long side of an A4 page in points (1/72 inch).
_A4_POINTS = 842


@dataclass(frozen=True)
class Tool:
    """A program that the operating system provides.

    Fields:
        title: for people.
        commands: names that it is known by, best first.
        package: of Debian and Ubuntu.
    """

    title: str
    commands: tuple[str, ...]
    package: str

    def find(self) -> str | None:
        """Returns the path of the program, None if it is not installed."""
        for command in self.commands:
            path = shutil.which(command, path=os.environ.get("PATH", _STANDARD_PATH))
            if path:
                return path
        return None


#: `magick` is version 7, `convert` version 6.
IMAGEMAGICK = Tool("ImageMagick", ("magick", "convert"), "imagemagick")
GHOSTSCRIPT = Tool("Ghostscript", ("gs",), "ghostscript")


def render(job: Job) -> None:
    """Makes the thumbnail that *job* describes.

    Raises:
        Unrenderable: the file is damaged, encrypted, or takes too long.
        Unavailable: a tool, or its support for the format, is not installed.
    """
    deadline = time.monotonic() + job.seconds
    folder = Path(job.target).parent
    with _open_source(job.source) as descriptor:
        if job.decoder == "pdf":
            page = _render_page(descriptor, folder, job.size, deadline)
            with _open_source(str(page)) as picture:
                _render_picture(picture, "png", job, deadline)
        else:
            _render_picture(descriptor, job.decoder, job, deadline)


@contextmanager
def _open_source(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.set_inheritable(descriptor, True)
        yield descriptor
    finally:
        os.close(descriptor)


def _render_picture(descriptor: int, decoder: str, job: Job, deadline: float) -> None:
    # Twice the wanted size is enough for a good picture and lets JPEG skip most of the work.
    hint = f"{2 * job.size}x{2 * job.size}"
    complaint = _run(
        IMAGEMAGICK,
        [
            *_IMAGEMAGICK_LIMITS,
            *("-define", f"jpeg:size={hint}"),
            f"{decoder}:/dev/fd/{descriptor}[0]",
            *("-auto-orient", "-colorspace", "sRGB", "-thumbnail", f"{job.size}x{job.size}>"),
            *("-strip", "-depth", "8", "-quality", "88" if job.encoder == "jpeg" else "95"),
            f"{job.encoder}:{job.target}",
        ],
        descriptor,
        Path(job.target).parent,
        deadline,
    )
    if not _has_bytes(job.target):
        raise Unrenderable("The file is damaged: it holds no picture.", complaint)
    if "remature end" in complaint:
        raise Unrenderable("The file is damaged: the picture is cut off.", complaint)


def _render_page(descriptor: int, folder: Path, size: int, deadline: float) -> Path:
    """Draws the first page of a PDF, at least *size* pixels long if its resolution permits."""
    resolution = min(_BLIND_RESOLUTION, max(1, round(2 * 72 * size / _A4_POINTS)))
    page = _draw_page(descriptor, folder, resolution, deadline)
    longest = max(_png_size(page))
    if longest < size:
        # The page is small or the thumbnail large; now the resolution can be computed. A quarter
        # more, so that rounding to whole pixels is evened out when the page is made smaller.
        page = _draw_page(descriptor, folder, math.ceil(1.25 * resolution * size / longest), deadline)
    return page


def _draw_page(descriptor: int, folder: Path, resolution: int, deadline: float) -> Path:
    page = folder / "page.png"
    page.unlink(missing_ok=True)
    complaint = _run(
        GHOSTSCRIPT,
        [
            *("-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-dNOPROMPT", "-dFirstPage=1", "-dLastPage=1"),
            *("-sDEVICE=png16m", "-dTextAlphaBits=4", "-dGraphicsAlphaBits=4", f"-r{resolution}"),
            f"-sOutputFile={page}",
            *("-f", f"/dev/fd/{descriptor}"),
        ],
        descriptor,
        folder,
        deadline,
    )
    if not _has_bytes(str(page)):
        if "password" in complaint.lower():
            raise Unrenderable("The PDF is encrypted: it opens with a password only.", complaint)
        raise Unrenderable("The PDF is damaged: it has no page that can be shown.", complaint)
    return page


def _run(tool: Tool, arguments: Sequence[str], descriptor: int, folder: Path, deadline: float) -> str:
    """Runs a tool on the open file *descriptor*, with *folder* for its own files; returns its complaints."""
    path = tool.find()
    if path is None:
        raise Unavailable(
            f"The server cannot make this thumbnail: {tool.title} is not installed"
            f" (Debian and Ubuntu package {tool.package}).",
            retry_after=300,
        )
    environment = {
        "PATH": os.environ.get("PATH", _STANDARD_PATH),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "MAGICK_TEMPORARY_PATH": str(folder),
        "LC_ALL": "C.UTF-8",
    }
    try:
        finished = sh.Command(path)(
            *arguments,
            _env=environment,
            _cwd=str(folder),
            _in="",
            _pass_fds={descriptor},
            _tty_out=False,
            _timeout=max(0.1, deadline - time.monotonic()),
            _return_cmd=True,
            _truncate_exc=False,
        )
    except sh.TimeoutException:
        raise Unrenderable("The picture takes too long to make.", f"{tool.title} was stopped") from None
    except sh.ErrorReturnCode as error:
        raise _explain(error, tool) from None
    return str(finished.stderr.decode("utf-8", "replace"))


def _explain(error: sh.ErrorReturnCode, tool: Tool) -> AssetError:
    complaint = error.stderr.decode("utf-8", "replace")
    detail = f"{tool.title} ended with {error.exit_code}: {complaint}"
    if "no decode delegate" in complaint:
        return Unavailable(
            f"The server's {tool.title} cannot read this format. For HEIC, Debian and Ubuntu have the package"
            " libheif-plugin-libde265.",
            detail,
            retry_after=300,
        )
    if "password" in complaint.lower():
        return Unrenderable("The PDF is encrypted: it opens with a password only.", detail)
    if "limit" in complaint or "exceeds" in complaint or "cache resources" in complaint:
        return Unrenderable("The picture is larger than the server may draw.", detail)
    return Unrenderable("The file is damaged: the picture cannot be read.", detail)


def _has_bytes(path: str) -> bool:
    try:
        return os.path.getsize(path) > 0
    except FileNotFoundError:
        return False


def _png_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels from a PNG's first chunk (PNG specification, 11.2.1)."""
    with open(path, "rb") as file:
        head = file.read(24)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
