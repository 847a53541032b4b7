"""Makes location-safe copies of all pictures in a folder, and examines them with exiftool and decoders.

    script/acceptance location_safe FOLDER [--verbose]

It requires exiftool (Debian: libimage-exiftool-perl). No copy may have GPS or another location, or a serial number; its
pixels must be those of the original; and the original must be unchanged. It prints how many copies were examined, and
each file that was refused, with the reason. The exit status is 1 if a copy is not as it should be.
"""

import argparse
import contextlib
import functools
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pillow_heif
from PIL import Image, ImageFile

from assetstore import formats
from assetstore.location_safe import cleaning
from assetstore.location_safe.recipe import CannotClean
from assetstore.location_safe.recipe_file import RecipeFile

#: Names of tags, without their groups, that tell where or with which camera a picture was taken.
FORBIDDEN = re.compile(
    r"GPS|serial|latitude|longitude|altitude|^(sub-?)?location|^city$|^state$|^country|province|geotag|maker.?note"
    r"|^offsettime|timezone",
    re.IGNORECASE,
)
#: What exiftool says about its own run and the file system.
_IGNORED = ("SourceFile", "ExifTool", "System")

_AT_ONCE = 100
_CLEANED = (formats.JPEG, formats.TIFF, formats.HEIC, formats.AVIF, formats.PNG, formats.WEBP)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="script/acceptance location_safe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--verbose", action="store_true", help="list refused files")
    arguments = parser.parse_args()
    if shutil.which("exiftool") is None:
        print("exiftool is not installed (Debian and Ubuntu: libimage-exiftool-perl).", file=sys.stderr)
        return 2
    Image.MAX_IMAGE_PIXELS = None
    pillow_heif.register_heif_opener()
    counts: Counter[str] = Counter()
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        originals = [path for path in sorted(arguments.folder.rglob("*")) if path.is_file()]
        for start in range(0, len(originals), _AT_ONCE):
            copies = {}
            for number, path in enumerate(originals[start : start + _AT_ONCE]):
                copy = Path(folder) / f"{number}{path.suffix}"
                if _copy(path, copy, counts, arguments.verbose, problems):
                    copies[copy] = path
            problems += _examined(copies, counts)
            for copy in copies:
                copy.unlink()
    for what, number in sorted(counts.items()):
        print(f"{number:>5} {what}")
    print(*problems, sep="\n")
    return 1 if problems else 0


def _copy(path: Path, copy: Path, counts: Counter[str], verbose: bool, problems: list[str]) -> bool:
    """Writes the copy of a picture; returns whether there is one."""
    data = path.read_bytes()
    format = formats.recognise(data[: formats.HEAD_LENGTH])
    if format not in _CLEANED:
        return False
    try:
        recipe = cleaning.recipe(io.BytesIO(data), len(data))
    except CannotClean as error:
        counts[f"{format.title}: refused"] += 1
        if verbose:
            print(f"refused: {path}: {error}")
        return False
    copy.write_bytes(RecipeFile(recipe, lambda offset, length: data[offset : offset + length]).read())
    counts[f"{format.title}: cleaned"] += 1
    before, after = pixels(path, format), pixels(copy, format)
    if before is None:
        counts[f"{format.title}: no decoder reads the original"] += 1
    elif before != after and before == pixels(path, format):  # some decoders show bytes of their memory instead
        problems.append(f"{path}: the pixels differ")
    if path.read_bytes() != data:
        problems.append(f"{path}: the original has changed")
    return True


def pixels(path: Path, format: formats.Format) -> str | None:
    """The hash of the decoded pixels of all images in a file, of a JPEG only the first; None if it is damaged."""
    digest = hashlib.sha256()
    try:
        with _truncated_too(), Image.open(path) as image:
            frames = 1 if format is formats.JPEG else getattr(image, "n_frames", 1)
            for number in range(frames):
                image.seek(number)
                digest.update(f"{image.mode} {image.size}".encode() + image.tobytes())
    except Exception:  # noqa: BLE001 - files for the tests of decoders make them raise anything
        return None
    return digest.hexdigest()


@contextlib.contextmanager
def _truncated_too() -> Iterator[None]:
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def _examined(copies: dict[Path, Path], counts: Counter[str]) -> Iterator[str]:
    """Yields what exiftool finds in copies and should not."""
    if not copies:
        return
    had = _tags(list(copies.values()))
    for copy, tags in _tags(list(copies)).items():
        original = copies[copy]
        counts["originals with forbidden tags"] += bool(forbidden(had.get(original, {})))
        for tag in forbidden(tags):
            yield f"{original}: the copy has {tag}"


def forbidden(tags: dict[str, object]) -> list[str]:
    """Returns the tags that a copy must not have."""
    return [tag for tag in tags if not tag.startswith(_IGNORED) and FORBIDDEN.search(tag.rpartition(":")[2])]


@functools.cache
def _command() -> list[str]:
    return ["exiftool", "-q", "-q", "-json", "-a", "-G1", "-u", "-ee"]


def _tags(paths: list[Path]) -> dict[Path, dict[str, object]]:
    """The tags of files by exiftool, by their names with groups; embedded files and unknown tags, too."""
    run = subprocess.run([*_command(), *paths], capture_output=True, check=False)
    return {Path(entry["SourceFile"]): entry for entry in json.loads(run.stdout or b"[]")}


if __name__ == "__main__":
    sys.exit(main())
