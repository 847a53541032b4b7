"""Checks the libraries and programs that render thumbnails, and renders a sample of each format as the server does."""

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
from assetstore.thumbnails.rendering import engines
from assetstore.thumbnails.rendering.job import Job, Limits
from assetstore.thumbnails.rendering.pool import RenderPool
from assetstore.thumbnails.rendering.tools import GHOSTSCRIPT, IMAGEMAGICK, Tool

_VERSION = re.compile(r"[0-9]+\.[0-9]+(?:\.[0-9]+(?:-[0-9]+)?)?")
_TIMEOUT_SECONDS = 30

#: The width of panoramas and scanned drawers, in pixels. Debian's default policy allows only 16,000.
_WIDE = 20_000

_SIZE = 64

#: In the place of a client's address: nothing else uses these workers.
_CLIENT = "doctor"


def examine(settings: Settings) -> Iterator[Finding]:
    """Yields findings about the tools and about each format in CAN_THUMBNAIL."""
    found = [_version(IMAGEMAGICK, "-version"), _version(GHOSTSCRIPT, "--version")]
    yield from found
    missing = engines.missing_libraries()
    yield from (_no_library(engine) for engine in missing)
    if IMAGEMAGICK.find() is None and missing:
        return  # little can be rendered without it
    pool = RenderPool(1, Limits(settings.limits.render_seconds, settings.render_memory))
    try:
        with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
            rendered = {}
            for sample in samples.ALL:
                if sample.media_type in settings.can_thumbnail:
                    rendered[sample.title] = _rendered(pool, sample, Path(folder))
                    yield rendered[sample.title]
            if "PNG" in rendered and rendered["PNG"].status == OK:
                yield _wide(pool, Path(folder))
    finally:
        pool.close()
    if "application/pdf" in settings.can_thumbnail and GHOSTSCRIPT.find() is not None:
        yield _fonts()


def _no_library(engine: engines.Engine) -> Finding:
    return warning(
        engine.title,
        f"{engine.title} is not installed.",
        "Thumbnails take longer, and some images have none.",
        f"pip install '{engine.package}' (script/bootstrap does so); then restart the server.",
    )


def _version(tool: Tool, option: str) -> Finding:
    path = tool.find()
    meaning = "No thumbnails appear." if tool is IMAGEMAGICK else "PDFs have no thumbnails."
    if engines.missing_libraries():
        report = error
    else:
        report, meaning = warning, "Files that the libraries cannot render have no thumbnails."
    if path is None:
        remedy = f"apt-get install {tool.package}. The server finds it without a restart."
        return report(tool.title, f"{tool.title} is not installed.", meaning, remedy)
    try:
        run = _run(path, option)
    except (OSError, subprocess.SubprocessError) as fault:
        return report(tool.title, f"{path} does not run: {fault}.", meaning, f"Reinstall {tool.package}.")
    version = _VERSION.search(run.stdout)
    if run.returncode or not version:
        said = (run.stderr or run.stdout).strip()[:200]
        return report(tool.title, f"{path} does not run: {said!r}.", meaning, f"Reinstall {tool.package}.")
    return ok(tool.title, f"{tool.title} {version[0]} is installed as {path}.")


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - our own arguments
        command, capture_output=True, text=True, errors="replace", check=False, timeout=_TIMEOUT_SECONDS
    )


def _rendered(pool: RenderPool, sample: samples.Sample, folder: Path) -> Finding:
    name = f"sample{sample.extension}"
    encoder = formats.encoder(sample.media_type)
    try:
        _render(pool, sample.path, encoder, folder)
    except AssetError as fault:
        return error(f"renders {sample.title}", *_explained(fault, sample.title, name))
    return ok(f"renders {sample.title}", f"Thumbnails of {sample.title} files can be generated.")


def _render(pool: RenderPool, source: Path, encoder: formats.Format, folder: Path) -> None:
    """Generates a thumbnail. Raises AssetError if that fails, or if the result is not an image."""
    target = folder / f"{source.name}.thumbnail"
    decoder = formats.recognise(source.read_bytes()[: formats.HEAD_LENGTH])
    assert decoder is not None  # noqa: S101 - our own samples
    pool.render(Job(str(source), str(target), decoder.decoder, encoder.decoder, _SIZE), _CLIENT)
    if formats.recognise(target.read_bytes()[: formats.HEAD_LENGTH]) != encoder:
        raise AssetError("The tool's output is not an image.")


def _explained(fault: AssetError, title: str, name: str) -> tuple[str, str, str]:
    """The found text, effect and remedy if a valid sample could not be rendered."""
    found = f"{fault.public} {fault.detail.partition(' @')[0][:200]}".strip()
    meaning = f"Attachments of type {title} have no thumbnails."
    if "policy" in fault.public.lower() or "not authorized" in fault.detail.lower():
        return found, meaning, "Allow this format in ImageMagick's policy.xml (convert -list policy names the file)."
    if "libheif" in fault.public:
        return found, meaning, "apt-get install libheif-plugin-libde265 (HEIC), libheif-plugin-dav1d (AVIF)."
    if isinstance(fault, Unavailable):
        return found, meaning, "Install the missing tool. The server finds it without a restart."
    if "larger than" in fault.public:
        return found, meaning, "Raise RENDER_MEMORY, or the limits in ImageMagick's policy.xml."
    return found, meaning, f"Run script/bootstrap again. The test file {name}, which is part of the server, is valid."


def _wide(pool: RenderPool, folder: Path) -> Finding:
    """Whether the system's own limits allow wide images."""
    wide = folder / "wide.png"
    wide.write_bytes(_png(_WIDE, 2))
    try:
        _render(pool, wide, formats.PNG, folder)
    except AssetError as fault:
        return warning(
            "ImageMagick policy",
            f"Images {_WIDE} pixels wide cannot be rendered: {fault.public}",
            "Panoramas and scans of whole drawers have no thumbnails.",
            "Raise width, height and area in ImageMagick's policy.xml (convert -list policy names the file).",
        )
    return ok("ImageMagick policy", f"Images {_WIDE} pixels wide can be rendered.")


def _png(width: int, height: int) -> bytes:
    """A gray image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _fonts() -> Finding:
    """Whether text without embedded fonts in a PDF is rendered, by the bounding box that Ghostscript computes."""
    path = GHOSTSCRIPT.find() or ""
    options = ("-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-sDEVICE=bbox", "-f")
    meaning = "Thumbnails of PDFs lack text, or are missing."
    remedy = "apt-get install --reinstall fonts-urw-base35 libgs-common (before Debian 13: libgs9-common)."
    try:
        run = _run(path, *options, str(samples.PDF.path))
    except (OSError, subprocess.SubprocessError) as fault:
        return error("fonts for PDF", f"Ghostscript does not run: {fault}.", meaning, remedy)
    box = re.search(r"%%BoundingBox: (\d+) (\d+) (\d+) (\d+)", run.stderr + run.stdout)
    if run.returncode or not box or box[1] == box[3]:
        return error("fonts for PDF", "Ghostscript has no fonts to render the text of PDFs.", meaning, remedy)
    return ok("fonts for PDF", "Ghostscript renders text in the standard fonts.")
