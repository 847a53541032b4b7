"""Zooming by IIIF: the first tile of a scan, further tiles, and many at a time, against libvips alone.

For each original, the floor of the first tile is a plain pyvips script in a process of its own: it makes a pyramid of
the same kind, where the server makes one, and one tile from it. The floor of further tiles is the same script with that
pyramid. `dzsave` is libvips' command for a whole pyramid as files. A first tile is cold because the original's time of
change is new. Server and baselines run in turn.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyvips

from benchmarks.thumbnails import peak_memory, scene, seconds
from tests.support import free_port
from tests.test_live import Client, running

#: Original -> whether the server makes a pyramid of it.
ORIGINALS = {
    "t108.tif": True,
    "t108-tiled.tif": True,
    "t108-levels.tif": False,
    "j108.jpg": True,
    "j320.jpg": True,
    "p24.png": True,
}

_FLOOR = """
import sys, time
import pyvips
source, target, makes, number = sys.argv[1], sys.argv[2], sys.argv[3] == "True", int(sys.argv[4])
pyvips.cache_set_max(0)
began = time.perf_counter()
if makes:
    page = pyvips.Image.new_from_file(source, access="sequential")
    page.tiffsave(target, tile=True, tile_width=512, tile_height=512, pyramid=True, compression="jpeg", Q=90,
                  depth="onetile", bigtiff=True, keep="none")
def tile(index):
    picture = pyvips.Image.new_from_file(target if makes else source)
    return picture.crop(512 * (index % 8), 512 * (1 + index // 8), 512, 512).jpegsave_buffer(
        Q=90, optimize_coding=True, keep="none")
tile(0)
print(time.perf_counter() - began)
for index in range(1, number):
    began = time.perf_counter()
    tile(index)
    print(time.perf_counter() - began)
"""


def make_original(name: str, folder: Path) -> None:
    """Makes one original. Each scan has the same content."""
    path = folder / name
    if name == "p24.png":
        scene(6000, 4000).save(path, compress_level=1)
        return
    picture = pyvips.Image.new_from_array(scene(*((20_000, 16_000) if "320" in name else (12_000, 9_000))))
    picture = picture.copy(interpretation="srgb")
    if name.endswith(".jpg"):
        picture.jpegsave(str(path), Q=90)
    elif name == "t108.tif":
        picture.tiffsave(str(path))
    else:
        picture.tiffsave(str(path), tile=True, pyramid="levels" in name, compression="jpeg", Q=90)


def address(name: str, index: int) -> str:
    """The path of a tile at full resolution."""
    return f"/iiif/3/{name}/{512 * (index % 8)},{512 * (1 + index // 8)},512,512/512,512/0/default.jpg"


def ask(client: Client, path: str) -> None:
    answer = client.get(path)
    if answer.status != 200:
        sys.exit(f"{path}: {answer.status} {answer.text}")


def floor(original: Path, makes: bool, number: int) -> tuple[float, list[float]]:
    """The times of the plain script: of the first tile, and of further ones."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-c", _FLOOR, original, f"{scratch}/pyramid.tif", str(makes), str(number)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        first, *later = map(float, done.stdout.split())
        return first, later


def dzsave(original: Path) -> float:
    """The time of `vips dzsave`, in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        code = (
            "import sys, time, pyvips; began = time.perf_counter();"
            " pyvips.Image.new_from_file(sys.argv[1], access='sequential').dzsave(sys.argv[2], suffix='.jpg[Q=90]',"
            " tile_size=512, overlap=0); print(time.perf_counter() - began)"
        )
        command = [sys.executable, "-c", code, original, f"{scratch}/tiles"]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def cached_bytes(base: Path) -> int:
    return sum(path.stat().st_size for path in base.glob("thumbnails/.asset-server/pyramids/*/*.tif"))


def measure(client: Client, base: Path, name: str, runs: int) -> dict[str, float]:
    """Times the server and the baselines in turn."""
    original, makes = base / "originals" / name, ORIGINALS[name]
    first, first_floor, later, later_floor = [], [], [], []
    for _ in range(runs):
        os.utime(original, ns=(time.time_ns(), time.time_ns()))
        client.get(f"/iiif/3/{name}/info.json")
        first.append(seconds(lambda: ask(client, address(name, 0))))
        later += [seconds(_asking(client, name, index)) for index in range(1, 48)]
        one, others = floor(original, makes, 48)
        first_floor.append(one)
        later_floor += others
    number = 256
    with ThreadPoolExecutor(16) as threads:
        # Further formats and sizes, so that no tile comes from memory.
        paths = [
            address(name, index % 48).replace("512,512/0", f"{511 - index // 48},511/0") for index in range(number)
        ]
        took = seconds(lambda: list(threads.map(lambda path: ask(client, path), paths)))
    return {
        "first": statistics.median(first),
        "first_floor": statistics.median(first_floor),
        "later": statistics.median(later),
        "later_95": statistics.quantiles(later, n=20)[-1],
        "later_floor": statistics.median(later_floor),
        "per_second": number / took,
        "cached": cached_bytes(base),
        "dzsave": dzsave(original),
    }


def _asking(client: Client, name: str, index: int) -> Callable[[], None]:
    return lambda: ask(client, address(name, index))


def _row(name: str, one: dict[str, float], memory: int) -> str:
    cells = [
        *(name, f"{one['first']:.2f} s", f"{one['first_floor']:.2f} s", f"{one['first'] / one['first_floor']:.2f}"),
        *(f"{1000 * one[key]:.0f} ms" for key in ("later", "later_95", "later_floor")),
        *(f"{one['later'] / one['later_floor']:.2f}", f"{one['per_second']:.0f}", f"{memory >> 20} MiB"),
        *(f"{one['cached'] / 1e6:.0f} MB", f"{one['dzsave']:.2f} s"),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(prog="script/bench zoom", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each (default: 3)")
    parser.add_argument("--only", action="append", choices=ORIGINALS, help="only this original; repeatable")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "attachments"
        with running(
            base, PYRAMID_UPLOAD_BYTES="None", PYRAMID_BYTES=str(10**10), SERVER_PORT=str(free_port())
        ) as server:
            client = Client(server.port())
            heads = ("Original", "first tile", "floor", "ratio", "further tiles", "95 %", "floor", "ratio", "tiles/s")
            print("|", " | ".join((*heads, "memory", "pyramid", "dzsave")), "|")
            print("|---" * 12 + "|", flush=True)
            for name in options.only or ORIGINALS:
                make_original(name, base / "originals")
                with peak_memory(server) as peak:
                    one = found[name] = measure(client, base, name, options.runs)
                print(_row(name, one, peak[0]), flush=True)
                with contextlib.suppress(FileNotFoundError):
                    (base / "originals" / name).unlink()
                for path in base.glob("thumbnails/.asset-server/pyramids/*/*.tif"):
                    path.unlink()
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
