"""Compares the metadata that the server reads with that of exiftool, for all images in a folder.

    script/acceptance metadata FOLDER

It requires exiftool (Debian: libimage-exiftool-perl). For each tag, it prints in how many files both agree, and lists
the files in which they differ. The exit status is 1 if fewer than 99 % of the values of any tag agree.
"""

import argparse
import io
import json
import math
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from assetstore.metadata import reading

TAGS = ("DateTimeOriginal", "Make", "Model", "Orientation", "GPSLatitude", "GPSLongitude")
GOAL = 0.99

#: exiftool's directories that correspond to our groups; the EXIF of a preview is not that of the file.
_DIRECTORIES = {"DateTimeOriginal": "ExifIFD", "Make": "IFD0", "Model": "IFD0", "Orientation": "IFD0"}

#: Files that are not images, which exiftool also reads, and files for the tests of other tools.
_IGNORED = frozenset((".txt", ".md", ".py", ".cs", ".xmp", ".json", ".html", ".xml", ".fuzzed"))

_ORIENTATIONS = (
    "Horizontal (normal)",
    "Mirrored horizontal",
    "Rotated 180",
    "Mirrored vertical",
    "Mirrored horizontal then rotated 90 CCW",
    "Rotated 90 CW",
    "Mirrored horizontal then rotated 90 CW",
    "Rotated 90 CCW",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="script/acceptance metadata", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if shutil.which("exiftool") is None:
        print("exiftool is not installed (Debian and Ubuntu: libimage-exiftool-perl).", file=sys.stderr)
        return 2
    same: Counter[str] = Counter()
    differing: dict[str, list[str]] = {tag: [] for tag in TAGS}
    for path, expected in by_exiftool(folder):
        found = by_server(path)
        for tag in TAGS:
            theirs, ours = expected.get(tag), found.get(tag)
            if agrees(theirs, ours):
                same[tag] += theirs is not None
            else:
                differing[tag].append(f"{path.relative_to(folder)}: exiftool {theirs!r}, server {ours!r}")
    return report(same, differing)


def by_exiftool(folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    arguments = ["-r", "-j", "-n", "-G1", "-fast", "-charset", "exif=latin", "-ExifIFD:all", "-IFD0:all", "-GPS:all"]
    run = subprocess.run(["exiftool", "-q", "-q", *arguments, folder], capture_output=True, check=False)
    for entry in json.loads(run.stdout or b"[]"):
        path = Path(entry["SourceFile"])
        if path.suffix.lower() not in _IGNORED:
            yield path, {tag: text for tag in TAGS if (text := _of_exiftool(entry, tag)) is not None}


def _of_exiftool(entry: dict[str, object], tag: str) -> str | None:
    value = entry.get(f"{_DIRECTORIES.get(tag, 'GPS')}:{tag}")
    if value is None:
        return None
    if tag == "Orientation":
        return _ORIENTATIONS[value - 1] if isinstance(value, int) and 1 <= value <= 8 else str(value)
    return " ".join(str(value).split())


def by_server(path: Path) -> dict[str, str]:
    metadata = reading.read(io.BytesIO(path.read_bytes()))
    groups = {str(group["Name"]): dict(group["Fields"]) for group in metadata.groups}  # type: ignore[call-overload]
    image, gps, exif = groups.get("Image", {}), groups.get("GPS", {}), groups.get("EXIF", {})
    found = {tag: " ".join(image[tag].split()) for tag in ("Make", "Model", "Orientation") if tag in image}
    if "DateTimeOriginal" in exif:
        found["DateTimeOriginal"] = " ".join(exif["DateTimeOriginal"].split())
    return found | {tag: gps[tag] for tag in ("GPSLatitude", "GPSLongitude") if tag in gps}


def agrees(theirs: str | None, ours: str | None) -> bool:
    if theirs is None or ours is None or not ours.startswith("["):
        return (theirs or "") == (ours or "")
    try:  # exiftool says degrees, ExifRead lists degrees, minutes and seconds
        parts = [_number(part) for part in re.findall(r"[-\d./]+", ours)]
        degrees = sum(part / 60**place for place, part in enumerate(parts))
        return math.isclose(degrees, float(theirs), abs_tol=1e-4)
    except (ValueError, ZeroDivisionError):
        return theirs in ("", "undef")


def _number(text: str) -> float:
    numerator, _, denominator = text.partition("/")
    return float(numerator) / float(denominator or 1)


def report(same: Counter[str], differing: dict[str, list[str]]) -> int:
    is_good = True
    for tag in TAGS:
        total = same[tag] + len(differing[tag])
        share = same[tag] / total if total else 1.0
        is_good = is_good and share >= GOAL
        print(f"{tag:<17} {same[tag]:>5} of {total:>5} values agree ({share:.1%})")
    for tag in TAGS:
        for line in differing[tag]:
            print(f"{tag}: {line}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
