"""Renders all images in a folder like the server, and compares the thumbnails with those of independent programs.

    script/acceptance pictures FOLDER [--engine libvips] [--server http://localhost:8080 --key KEY] [--sheet FILE]

The references do not use the engine that the server tries first: Pillow for images, Poppler's pdftoppm for PDFs, or
Ghostscript if that is not installed. A reference can also be wrong, so a contact sheet shows the differences side by
side for a person to judge, with the server's thumbnail on the left. Without --server, only the engines run. --engine
tries a single engine, which shows its place in the table.

Exit status 0: every file that the reference can render has a thumbnail, and none looks different.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pillow_heif
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageOps, ImageStat

from assetstore import formats
from assetstore.errors import AssetError
from assetstore.thumbnails.rendering import engines
from assetstore.thumbnails.rendering.job import Job, Limits
from tests.support import Client

pillow_heif.register_heif_opener()

SIZE = 200

#: Mean difference of all pixels, of 255, and of the sides, in pixels, that still count as the same image.
_CLOSE, _SAME_SIDES = 12, 3

#: The verdicts, in the order of the table.
VERDICTS = ("right", "wrong", "refused", "no reference", "refused by both")

#: Extensions of a store name for a decoder's files, so that the server makes a PNG of them.
_NAMES = {"heic": "heic", "avif": "avif", "webp": "webp", "bmp": "bmp", "pdf": "pdf", "tiff": "tif"}

Draw = Callable[[Path, formats.Format], "Image.Image | str"]


@dataclass(frozen=True)
class Case:
    """A file with our thumbnail and the reference; instead of a missing image, the reason as text."""

    path: Path
    format: str
    ours: Image.Image | str
    reference: Image.Image | str

    @property
    def verdict(self) -> str:
        if isinstance(self.reference, str):
            return "refused by both" if isinstance(self.ours, str) else "no reference"
        if isinstance(self.ours, str):
            return "refused"
        return "right" if alike(self.ours, self.reference) else "wrong"


def alike(ours: Image.Image, reference: Image.Image) -> bool:
    """Whether two pictures look the same on white."""
    if any(abs(one - other) > _SAME_SIDES for one, other in zip(ours.size, reference.size, strict=True)):
        return False
    one, other = (on_white(picture).resize(reference.size) for picture in (ours, reference))
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3 < _CLOSE


def on_white(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def by_engines(chosen: list[engines.Engine] | None) -> Draw:
    """Renders in child processes, with the engines of the table or with these."""

    def draw(path: Path, format: formats.Format) -> Image.Image | str:
        with tempfile.TemporaryDirectory() as folder:
            job = Job(str(path), f"{folder}/thumbnail", format.decoder, "png", SIZE)
            try:
                engines.render(job, Limits(60, 1024), chosen)
            except AssetError as error:
                return f"{error.public} {error.detail}"
            return opened(Path(job.target).read_bytes())

    return draw


def by_server(url: str, key: str) -> Draw:
    """Uploads, asks for the thumbnail and deletes."""
    client = Client(urlsplit(url).port or 80, key)

    def draw(path: Path, format: formats.Format) -> Image.Image | str:
        name = f"acceptance.{_NAMES.get(format.decoder, format.decoder)}"
        client.upload(name, path.read_bytes())
        answer = client.thumbnail(name, SIZE)
        client.delete(name)
        return opened(answer.body) if answer.status == 200 else f"{answer.status} {answer.text}"

    return draw


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def reference(path: Path, format: formats.Format) -> Image.Image | str:
    """What another program makes of the file."""
    try:
        return by_poppler(path) if format is formats.PDF else by_pillow(path)
    except Exception as error:  # noqa: BLE001 - whatever a reference fails with, it is none
        return repr(error)[:200]


def by_poppler(path: Path) -> Image.Image:
    with tempfile.TemporaryDirectory() as folder:
        page = f"{folder}/page"
        if shutil.which("pdftoppm"):
            command = ["pdftoppm", "-png", "-singlefile", "-cropbox", "-scale-to", str(SIZE), str(path), page]
        else:
            quiet = ["-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-dUseCropBox", "-dLastPage=1", "-sDEVICE=png16m", "-r60"]
            smooth = ["-dTextAlphaBits=4", "-dGraphicsAlphaBits=4"]
            command = ["gs", *quiet, *smooth, f"-sOutputFile={page}.png", str(path)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        picture = opened(Path(f"{page}.png").read_bytes()).convert("RGB")
    factor = SIZE / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def by_pillow(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        while path.suffix.lower().startswith(".tif") and picture.tag_v2.get(254, 0) & 1:  # type: ignore[attr-defined]
            picture.seek(picture.tell() + 1)
        profile = picture.info.get("icc_profile")
        upright = ImageOps.exif_transpose(picture)
    if upright.mode in ("I", "F", "I;16", "I;16B", "I;16L"):
        numbers = upright.convert("F")
        _, high = numbers.getextrema()
        most = 65535 if upright.mode.startswith("I;16") else next((m for m in (1, 255, 65535) if high <= m), high)
        upright = numbers.point(lambda value: value * 255 / (most or 1)).convert("L")
    if profile and upright.mode in ("RGB", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            upright = ImageCms.profileToProfile(upright, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (OSError, ImageCms.PyCMSError):
            pass  # a profile that does not fit counts for nothing
    small = on_white(upright)
    small.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS)
    return small


def cases(folder: Path, draw: Draw) -> Iterator[Case]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                format = formats.recognise(file.read(formats.HEAD_LENGTH))
            if format is not None:
                yield Case(path, format.title, draw(path, format), reference(path, format))


def write_sheet(disputed: list[Case], file: Path) -> None:
    """Shows the differences, ours left and the reference right, with the name below."""
    columns, width, height = 4, 2 * SIZE + 20, SIZE + 40
    rows = -(-len(disputed) // columns)
    sheet = Image.new("RGB", (columns * width, max(1, rows) * height), "lightgrey")
    write = ImageDraw.Draw(sheet)
    for index, case in enumerate(disputed):
        x, y = index % columns * width, index // columns * height
        for offset, side in ((0, case.ours), (SIZE + 5, case.reference)):
            if isinstance(side, str):
                write.text((x + offset, y + 20), "\n".join(side[at : at + 32] for at in range(0, 200, 32)), "black")
            else:
                sheet.paste(on_white(side), (x + offset, y))
        write.text((x, y + SIZE + 5), f"{case.verdict} {case.format}\n{case.path.name[-60:]}", "black")
    sheet.save(file)


def main() -> None:
    """Prints the counts by format, the disagreements, and writes the contact sheet."""
    parser = argparse.ArgumentParser(prog="script/acceptance pictures", description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    known = {engine.title.lower(): engine for row in engines.TABLE.values() for engine in row}
    parser.add_argument("--engine", choices=sorted(known), help="only this one")
    parser.add_argument("--server", help="its URL; without it, the engines are called directly")
    parser.add_argument("--key", default="", help="of the server")
    parser.add_argument("--sheet", type=Path, default=Path("disagreements.png"))
    chosen = parser.parse_args()
    only = [known[chosen.engine]] if chosen.engine else None
    draw = by_server(chosen.server, chosen.key) if chosen.server else by_engines(only)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    disputed = []
    for case in cases(chosen.folder, draw):
        counts[case.format][case.verdict] += 1
        if case.verdict in ("wrong", "refused"):
            disputed.append(case)
            print(f"{case.verdict}: {case.path}: {case.ours if isinstance(case.ours, str) else ''}"[:300], flush=True)
    print("| Format |", " | ".join(VERDICTS), "|")
    print("|---" * (len(VERDICTS) + 1) + "|")
    for format in sorted(counts):
        print(f"| {format} |", " | ".join(str(counts[format][verdict]) for verdict in VERDICTS), "|")
    write_sheet(disputed, chosen.sheet)
    sys.exit(bool(disputed))


if __name__ == "__main__":
    main()
