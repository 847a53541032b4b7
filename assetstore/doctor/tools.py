"""ImageMagick and Ghostscript: are they there, and do they draw? Each format is drawn as the server draws it."""

import re
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from assetstore import formats
from assetstore.config.loading import Settings
from assetstore.doctor import samples
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.errors import AssetError, Unavailable
from assetstore.monitoring.health import OK
from assetstore.thumbnails.rendering.job import Job, Limits
from assetstore.thumbnails.rendering.pool import RenderPool
from assetstore.thumbnails.rendering.tools import GHOSTSCRIPT, IMAGEMAGICK, Tool

_VERSION = re.compile(r"[0-9]+\.[0-9]+(?:\.[0-9]+(?:-[0-9]+)?)?")
_TIMEOUT_SECONDS = 30

#: Panoramas and scanned drawers are as wide as this; Debian's own policy ends at 16,000.
_WIDE = 20_000

_SIZE = 64


def examine(settings: Settings) -> Iterator[Finding]:
    """Yields what there is to say of the tools and of each format in CAN_THUMBNAIL."""
    found = [_version(IMAGEMAGICK, "-version"), _version(GHOSTSCRIPT, "--version")]
    yield from found
    if IMAGEMAGICK.find() is None:
        return  # then nothing can be drawn
    pool = RenderPool(1, Limits(settings.render_seconds, settings.render_memory))
    try:
        with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
            drawn = {}
            for sample in samples.ALL:
                if sample.media_type in settings.can_thumbnail:
                    drawn[sample.title] = _drawn(pool, sample, Path(folder))
                    yield drawn[sample.title]
            if "PNG" in drawn and drawn["PNG"].status == OK:
                yield _wide(pool, Path(folder))
    finally:
        pool.close()
    if "application/pdf" in settings.can_thumbnail and GHOSTSCRIPT.find() is not None:
        yield _fonts()


def _version(tool: Tool, option: str) -> Finding:
    path = tool.find()
    meaning = "No thumbnails appear." if tool is IMAGEMAGICK else "PDFs have no thumbnails."
    if path is None:
        remedy = f"apt-get install {tool.package}; no restart is needed."
        return error(tool.title, f"{tool.title} is not installed.", meaning, remedy)
    try:
        run = _run(path, option)
    except (OSError, subprocess.SubprocessError) as fault:
        return error(tool.title, f"{path} does not run: {fault}.", meaning, f"Install {tool.package} again.")
    version = _VERSION.search(run.stdout)
    if run.returncode or not version:
        said = (run.stderr or run.stdout).strip()[:200]
        return error(tool.title, f"{path} does not run: {said!r}.", meaning, f"Install {tool.package} again.")
    return ok(tool.title, f"{tool.title} {version[0]} is {path}.")


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own arguments
        command, capture_output=True, text=True, errors="replace", check=False, timeout=_TIMEOUT_SECONDS
    )


def _drawn(pool: RenderPool, sample: samples.Sample, folder: Path) -> Finding:
    name = f"sample{sample.extension}"
    encoder = formats.encoder(sample.media_type)
    try:
        _draw(pool, sample.path, encoder, folder)
    except AssetError as fault:
        return error(f"draws {sample.title}", *_explained(fault, sample.title, name))
    return ok(f"draws {sample.title}", f"Thumbnails of {sample.title} can be made.")


def _draw(pool: RenderPool, source: Path, encoder: formats.Format, folder: Path) -> None:
    """Makes a thumbnail. Raises AssetError if it cannot be made, or is no picture."""
    target = folder / f"{source.name}.thumbnail"
    decoder = formats.recognise(source.read_bytes()[: formats.HEAD_LENGTH])
    assert decoder is not None  # noqa: S101 - our own samples
    pool.render(Job(str(source), str(target), decoder.decoder, encoder.decoder, _SIZE))
    if formats.recognise(target.read_bytes()[: formats.HEAD_LENGTH]) != encoder:
        raise AssetError("The tool made something that is no picture.")


def _explained(fault: AssetError, title: str, name: str) -> tuple[str, str, str]:
    """What was found, what it means and what to do when a sound picture could not be drawn."""
    found = f"{fault.public} {fault.detail.partition(' @')[0][:200]}".strip()
    meaning = f"Attachments of type {title} have no thumbnails."
    if "policy" in fault.public.lower() or "not authorized" in fault.detail.lower():
        return found, meaning, "Allow this format in ImageMagick's policy.xml (convert -list policy names the file)."
    if "libheif" in fault.public:
        return found, meaning, "apt-get install libheif-plugin-libde265 (HEIC), libheif-plugin-dav1d (AVIF)."
    if isinstance(fault, Unavailable):
        return found, meaning, "Install what is named; no restart is needed."
    if "larger than" in fault.public:
        return found, meaning, "Raise RENDER_MEMORY, or the limits in ImageMagick's policy.xml."
    return found, meaning, f"Run script/bootstrap again. The picture {name} itself is sound; it comes with the server."


def _wide(pool: RenderPool, folder: Path) -> Finding:
    """Whether the system's own limits leave wide pictures alone."""
    wide = folder / "wide.png"
    wide.write_bytes(_png(_WIDE, 2))
    try:
        _draw(pool, wide, formats.PNG, folder)
    except AssetError as fault:
        return warning(
            "ImageMagick policy",
            f"Pictures {_WIDE} pixels wide cannot be drawn: {fault.public}",
            "Panoramas and scans of whole drawers have no thumbnails.",
            "Raise width, height and area in ImageMagick's policy.xml (convert -list policy names the file).",
        )
    return ok("ImageMagick policy", f"Pictures {_WIDE} pixels wide can be drawn.")


def _png(width: int, height: int) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _fonts() -> Finding:
    """Whether text whose fonts a PDF does not bring along is drawn at all: Ghostscript measures its ink."""
    path = GHOSTSCRIPT.find() or ""
    options = ("-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=bbox", "-f")
    meaning = "Thumbnails of PDFs lack their text, or there are none."
    remedy = "apt-get install --reinstall fonts-urw-base35 libgs-common (before Debian 13: libgs9-common)."
    try:
        run = _run(path, *options, str(samples.PDF.path))
    except (OSError, subprocess.SubprocessError) as fault:
        return error("fonts for PDF", f"Ghostscript does not run: {fault}.", meaning, remedy)
    box = re.search(r"%%BoundingBox: (\d+) (\d+) (\d+) (\d+)", run.stderr + run.stdout)
    if run.returncode or not box or box[1] == box[3]:
        return error("fonts for PDF", "Ghostscript has no fonts: the text of a PDF is not drawn.", meaning, remedy)
    return ok("fonts for PDF", "Ghostscript draws text in the standard fonts.")
