"""Renders all images in a folder like the server, and compares the thumbnails with those of independent programs.

    script/acceptance pictures FOLDER [--engine libvips] [--server http://localhost:8080 --key KEY] [--sheet FILE]

The references are independent programs: Pillow and ImageMagick for images, Poppler's pdftoppm and Ghostscript for PDFs.
A thumbnail counts as right if it looks like one of them, as wrong if it looks like none. Since references have faults
too, a contact sheet shows the differences side by side for a person to judge, with the server's thumbnail on the left.
acceptance/exceptions.tsv lists the files that a person has judged (`acceptance.judgements`). Without --server, only the
engines run. --engine tries a single engine, which shows its place in the table.

The last line is the share of right thumbnails (right, judged right) among the files that can be decoded (these, wrong,
refused).

Exit status 0: each file that looks like no reference, or is refused although a reference renders it, is in the list.
"""

import argparse
import io
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pillow_heif
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageFilter, ImageOps, ImageStat

from acceptance import judgements
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
RIGHT = ("right", "judged right")
DECODABLE = (*RIGHT, "wrong", "refused")
VERDICTS = (*DECODABLE, "nothing to see", "no reference", "refused by both")

#: Pictures are compared after this blur, in pixels, because programs smooth thin lines and small letters differently.
_BLUR = 1.5

#: Extensions of a store name for a decoder's files, so that the server makes a PNG of them.
_NAMES = {"heic": "heic", "avif": "avif", "webp": "webp", "bmp": "bmp", "pdf": "pdf", "tiff": "tif"}

Draw = Callable[[Path, formats.Format], "Image.Image | str"]


@dataclass(frozen=True)
class Case:
    """A file with our thumbnail and the references; instead of a missing image, the reason as text."""

    path: Path
    format: str
    ours: Image.Image | str
    references: list[Image.Image | str]

    @property
    def reference(self) -> Image.Image | str:
        """The first reference that is an image, else the first reason."""
        return next((one for one in self.references if not isinstance(one, str)), self.references[0])

    @property
    def verdict(self) -> str:
        ours = self.ours
        if not isinstance(ours, str) and any(alike(ours, one) for one in self.references if not isinstance(one, str)):
            return "right"
        if self.judgement:
            return "judged right" if self.judgement.verdict == judgements.RIGHT else self.judgement.verdict
        if isinstance(self.reference, str):
            return "refused by both" if isinstance(ours, str) else "no reference"
        return "refused" if isinstance(ours, str) else "wrong"

    @property
    def judgement(self) -> judgements.Judgement | None:
        """What a person said about such a result for this file, if anything."""
        found = judgements.judgement(self.path)
        return found if found and found.applies(has_thumbnail=not isinstance(self.ours, str)) else None


def alike(ours: Image.Image, reference: Image.Image) -> bool:
    """Whether two pictures look the same on white."""
    if any(abs(one - other) > _SAME_SIDES for one, other in zip(ours.size, reference.size, strict=True)):
        return False
    one, other = (blurred(on_white(picture).resize(reference.size)) for picture in (ours, reference))
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3 < _CLOSE


def blurred(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(_BLUR))


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


def references(path: Path, format: formats.Format) -> list[Image.Image | str]:
    """What other programs make of the file."""
    programs = (by_poppler, by_ghostscript) if format is formats.PDF else (by_pillow, by_imagemagick)
    return [_tried(program, path) for program in programs]


def _tried(program: Callable[[Path], Image.Image], path: Path) -> Image.Image | str:
    try:
        return program(path)
    except Exception as error:  # noqa: BLE001 - whatever a reference fails with, it is none
        return repr(error)[:200]


def by_poppler(path: Path) -> Image.Image:
    # Larger, so that small letters are as dark as they should be.
    return _by_program("pdftoppm", "-png", "-singlefile", "-cropbox", "-scale-to", str(4 * SIZE), path, "picture")


def by_ghostscript(path: Path) -> Image.Image:
    quiet = ["-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", "-dUseCropBox", "-dLastPage=1", "-sDEVICE=png16m", "-r100"]
    smooth = ["-dTextAlphaBits=4", "-dGraphicsAlphaBits=4"]
    return _by_program("gs", *quiet, *smooth, "-sOutputFile=picture.png", path)


def by_imagemagick(path: Path) -> Image.Image:
    options = ["-auto-orient", "-colorspace", "sRGB", "-background", "white", "-alpha", "remove", "-depth", "8"]
    return _by_program("convert", f"{path}[0]", *options, "-resize", f"{SIZE}x{SIZE}>", "picture.png")


def _by_program(*command: str | Path) -> Image.Image:
    with tempfile.TemporaryDirectory() as folder:
        # Programs may fail after they have written the picture.
        run = subprocess.run(command, check=False, capture_output=True, timeout=60, cwd=folder)
        written = Path(folder, "picture.png")
        if not written.exists():
            raise OSError(run.stderr[-200:].decode("utf-8", "replace"))
        picture = on_white(opened(written.read_bytes()))
    if command[0] == "convert":
        return picture
    factor = SIZE / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def by_pillow(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        while path.suffix.lower().startswith(".tif") and picture.tag_v2.get(254, 0) & 1:  # type: ignore[attr-defined]
            picture.seek(picture.tell() + 1)
        profile, resolution = picture.info.get("icc_profile"), picture.info.get("dpi", (1, 1))
        upright = ImageOps.exif_transpose(picture)
        if profile and upright.mode == "P" and "transparency" not in upright.info:
            upright = upright.convert("RGB")
        if picture.format == "TIFF" and all(resolution):  # faxes
            upright = _with_square_pixels(upright, *map(float, resolution))
    if upright.mode in ("I", "F", "I;16", "I;16B", "I;16L"):
        upright = _in_bytes(upright)
    if profile and upright.mode in ("L", "RGB", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            upright = ImageCms.profileToProfile(upright, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (OSError, ImageCms.PyCMSError):
            pass  # a profile that does not fit counts for nothing
    small = on_white(upright)
    small.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS)
    return small


def _with_square_pixels(picture: Image.Image, across: float, down: float) -> Image.Image:
    if not 1.02 < max(across, down) / min(across, down) < 5:
        return picture
    least = min(across, down)
    return picture.resize((round(picture.width * least / across), round(picture.height * least / down)))


def _in_bytes(picture: Image.Image) -> Image.Image:
    """Scales samples of more than 8 bits like the server: 12 bits in 16 to 12 bits, others to their usual range."""
    numbers = picture.convert("F")
    low, high = (float(number) for number in numbers.getextrema())  # type: ignore[arg-type]
    if low >= 0:
        usual = (4095, 65535) if picture.mode.startswith("I;16") else (1, 255, 4095, 65535)
        low, high = 0, next((most for most in usual if high <= most), high)
    factor = 255 / ((high - low) or 1)
    return numbers.point(lambda value: value * factor - low * factor).convert("L")


def cases(folder: Path, draw: Draw) -> Iterator[Case]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                format = formats.recognise(file.read(formats.HEAD_LENGTH))
            if format is not None:
                yield Case(path, format.title, draw(path, format), references(path, format))


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
        if case.verdict in ("wrong", "refused") and not case.judgement:
            disputed.append(case)
            print(f"{case.verdict}: {case.path}: {case.ours if isinstance(case.ours, str) else ''}"[:300], flush=True)
    print("| Format |", " | ".join(VERDICTS), "|")
    print("|---" * (len(VERDICTS) + 1) + "|")
    for format in sorted(counts):
        print(f"| {format} |", " | ".join(str(counts[format][verdict]) for verdict in VERDICTS), "|")
    totals = sum(counts.values(), Counter())
    right, decodable = (sum(totals[verdict] for verdict in kinds) for kinds in (RIGHT, DECODABLE))
    print(f"{right} of {decodable} decodable files are right: {100 * right / max(decodable, 1):.2f} %")
    write_sheet(disputed, chosen.sheet)
    sys.exit(bool(disputed))


if __name__ == "__main__":
    main()
