"""Cold thumbnails of 200 pixels through HTTP, against the plain command and libvips in this process.

Every run of a format measures the server and the baselines in turn, so that their ratio holds even if the
machine's speed drifts. A thumbnail is cold because the original's time of change is new.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pillow_heif
import pyvips
from PIL import Image

from tests.test_live import Client, Program, running

pillow_heif.register_heif_opener()

#: Kind -> (name, how many times as fast as the plain command it must be).
AIMS = {
    "JPEG, 24 megapixels": ("j24.jpg", 15.0),
    "JPEG, 24 megapixels, few details": ("s24.jpg", 15.0),
    "JPEG, 108 megapixels": ("j108.jpg", 20.0),
    "JPEG, 108 megapixels, few details": ("s108.jpg", 20.0),
    "TIFF, 24 megapixels": ("t24.tif", 8.0),
    "TIFF, 108 megapixels": ("t108.tif", 12.0),
    "PNG, 6 megapixels": ("p6.png", 1.6),
    "HEIC, 12 megapixels, preview of 512": ("h12.heic", 13.0),
    "PDF, A4": ("a4.pdf", 5.0),
}


#: Where Debian's tools are; server and baselines use the same.
TOOLS = "/usr/bin"


def scene(width: int, height: int, grain: int = 8) -> Image.Image:
    """A picture with details and gradients, so that coders have real work; *grain* is the size of details in pixels."""
    detail = Image.effect_noise((width // grain, height // grain), 80).resize((width, height), Image.Resampling.BICUBIC)
    radial = Image.radial_gradient("L").resize((width, height))
    return Image.merge("RGB", (detail, radial, Image.linear_gradient("L").resize((width, height))))


def make_originals(folder: Path) -> None:
    """Makes one original of each kind."""
    small, large = scene(6000, 4000), scene(12000, 9000)
    small.save(folder / "j24.jpg", quality=90)
    small.save(folder / "t24.tif")
    scene(6000, 4000, grain=48).save(folder / "s24.jpg", quality=90)
    scene(12000, 9000, grain=48).save(folder / "s108.jpg", quality=90)
    large.save(folder / "j108.jpg", quality=90)
    large.save(folder / "t108.tif")
    scene(3000, 2000).save(folder / "p6.png")
    scene(4000, 3000).save(folder / "h12.heic", quality=80, thumbnails=[512])
    text = " ".join(f"({'Herbarium specimen ' * 4}) show 0 -14 rmoveto -500 0 rmoveto" for _ in range(45))
    source = folder / "a4.ps"
    source.write_text(f"%!PS\n/Times-Roman findfont 12 scalefont setfont 40 800 moveto {text} showpage\n")
    options = ["-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite", "-sPAPERSIZE=a4", f"-sOutputFile={folder}/a4.pdf"]
    subprocess.run(["gs", *options, source], check=True)


def plain(original: Path, folder: Path) -> None:
    """What one would type: ImageMagick alone, or Ghostscript at 150 dpi and a resize for PDF."""
    convert = shutil.which("magick", path=TOOLS) or f"{TOOLS}/convert"
    target = str(folder / ("plain.jpg" if original.suffix == ".jpg" else "plain.png"))
    if original.suffix == ".pdf":
        page = str(folder / "page.png")
        options = ["-q", "-dBATCH", "-dNOPAUSE", "-dFirstPage=1", "-dLastPage=1", "-r150", "-sDEVICE=png16m"]
        subprocess.run(["gs", *options, f"-sOutputFile={page}", str(original)], check=True)
        subprocess.run([convert, page, "-resize", "200x200>", target], check=True, stderr=subprocess.DEVNULL)
    else:
        command = [convert, f"{original}[0]", "-resize", "200x200>", target]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def by_vips(original: Path, folder: Path) -> None:
    """The floor: libvips in this process, where it reads the format; no HTTP, no worker, no start of a program."""
    pyvips.Image.thumbnail(str(original), 200, height=200, size="down").write_to_file(str(folder / "vips.png"))


@contextlib.contextmanager
def peak_memory(server: Program) -> Iterator[list[int]]:
    """Watches the processes below the server; gives the largest resident size of one, in bytes."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.003):
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    group = int((process / "stat").read_text().rpartition(")")[2].split()[2])
                    parent = int(Path(f"/proc/{group}/stat").read_text().rpartition(")")[2].split()[1])
                    if parent == server.process.pid:
                        status = (process / "status").read_text()
                        peak[0] = max(peak[0], int(status.split("VmHWM:")[1].split()[0]) * 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(client: Client, base: Path, name: str, runs: int) -> tuple[list[float], list[float], list[float]]:
    """Times server, plain command and vips in turn, after one turn that does not count."""
    original = base / "originals" / name
    server, command, vips = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def ask() -> None:
            answer = client.thumbnail(name, 200)
            if answer.status != 200:
                sys.exit(f"{name}: {answer.status} {answer.text}")

        for turn in range(runs + 1):
            os.utime(original, ns=(time.time_ns(), time.time_ns()))
            times = [seconds(ask), seconds(lambda: plain(original, folder))]
            with contextlib.suppress(pyvips.Error):
                times.append(seconds(lambda: by_vips(original, folder)))
            if turn:
                for kept, one in zip((server, command, vips), times, strict=False):
                    kept.append(one)
    return server, command, vips


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(prog="script/bench thumbnails", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each (default: 5)")
    runs = parser.parse_args().runs
    pyvips.cache_set_max(0)
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "attachments"
        with running(base, PATH=TOOLS) as server:
            client = Client(server.port())
            make_originals(base / "originals")
            print("| Original | server | plain command | times as fast | aim | to libvips alone | peak memory |")
            print("|---|---|---|---|---|---|---|")
            for kind, (name, aim) in AIMS.items():
                ours, command, vips = measure(client, base, name, runs)
                os.utime(base / "originals" / name, ns=(time.time_ns(), time.time_ns()))
                with peak_memory(server) as peak:
                    client.thumbnail(name, 200)
                ratio = statistics.median(b / a for a, b in zip(ours, command, strict=True))
                to_vips = f"{statistics.median(a / b for a, b in zip(ours, vips, strict=True)):.2f}" if vips else "-"
                print(
                    f"| {kind} | {statistics.median(ours):.3f} s | {statistics.median(command):.3f} s"
                    f" | {ratio:.1f} | {aim} | {to_vips} | {peak[0] >> 20} MiB |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
