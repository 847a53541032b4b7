"""Tests the Image API of IIIF: the validator, hostile addresses, and many viewers at once.

    script/acceptance iiif [--python python3.12] [--addresses 10000] [--viewers 50]

1. `iiif-validator-ng`, the validator of the Image API, in a virtual environment of its own, which requires Python 3.12
   and internet access the first time: all tests of compliance level 2, of versions 3.0 and 2.1. EXCEPTIONS has the ones
   that fail, with the reasons.
2. Random addresses: no response may have a status of 500 or more except 503, or content from outside the store, and no
   render worker may die.
3. Many viewers, each with an address of its own, open a large scan for the first time, while another client requests
   thumbnails: each of them must come within 2 seconds, and the memory of all processes is measured.

Exit status 0: everything is as it must be.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pyvips

from tests import pictures
from tests.support import Client, Response, free_port
from tests.test_live import running

#: What the validator calls its image; the server requires an extension.
_IMAGE = "67352ccc-d1b0-11e1-89ae-279075081939.png"

#: The folder of the validator's environment, and its package.
_ENVIRONMENT = Path.home() / ".cache" / "asset-server" / "iiif-validator"
_PACKAGE = "iiif-validator-ng==0.1.0"

#: Tests of the validator that fail: version and title of the test, text of the failure, and why the server is right.
EXCEPTIONS = (
    (
        "3",
        "Size greater than 100% should only work with the ^ notation",
        "!2000,3000",
        "Image API 3.0, 4.2: for !w,h the result is as large as possible, but not larger than the region",
    ),
)

#: Names in random addresses: those that exist, and others.
_NAMES = ("a.jpg", "big.tif", "bomb.png", "a.pdf;page=2") * 8
_NAMES += ("missing.jpg", "../../etc/passwd", "..%2F..%2Fetc%2Fpasswd", "%2e%2e/key", ".asset-server/key", "a.jpg%00")
_NAMES += ("a.pdf;page=99999", "a.jpg;page=-1", "", "/", "\\", "☃")

#: Pieces of segments that make no sense.
_PIECES = (
    *("full", "max", "square", "0", "-1", "1", "512", "99999999999999999999", "NaN", "inf", "1e308", "pct:", "^", "!"),
    *(",", ",,,", "0,0,0,0", "0,0,512,512", "pct:50,50,50,50", "512,", ",512", "!200,200", "..", "%2F", "%", "%00"),
    *("90", "!270", "361", "45", "default.jpg", "gray.png", "bitonal.webp", "color.tif", "x" * 3000, "٣"),
)

_RUN = """
import json, sys
from iiif_validator.validate import run_tests
from iiif_validator.tests.test import IIIFVersion, TargetServer, ValidationFailure
version = IIIFVersion.V2 if sys.argv[2] == "2" else IIIFVersion.V3
server = TargetServer(sys.argv[1], validation_id=sys.argv[3], version=version)
for test, results in run_tests(server):
    results = results if isinstance(results, list) else [results]
    print(json.dumps([test.name, [list(one) for one in results if isinstance(one, ValidationFailure)], len(results)]))
"""

#: The share of the segments of random addresses that are composed of random pieces.
_SHARE_OF_NONSENSE = 0.15

#: The slowest thumbnail while scans are opened, in seconds.
_SLOWEST = 2.0


def validator(python: str) -> Path:
    """Returns the Python of an environment with the validator, which is created if necessary."""
    interpreter = _ENVIRONMENT / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", _ENVIRONMENT], check=True)
    subprocess.run([interpreter, "-m", "pip", "install", "--quiet", _PACKAGE, "pyvips[binary]"], check=True)
    return interpreter


def validate(client: Client, interpreter: Path) -> bool:
    """Runs the validator for both versions; returns whether only the exceptions fail."""
    code = "import importlib.resources as r; print(r.files('iiif_validator') / 'validation_image.png')"
    image = subprocess.run([interpreter, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    client.upload(_IMAGE, Path(image).read_bytes())
    is_good = True
    for version in ("3", "2"):
        address = f"http://localhost:{client.port}/iiif/{version}"
        done = subprocess.run(
            [interpreter, "-c", _RUN, address, version, _IMAGE], check=True, capture_output=True, text=True
        )
        tests = [json.loads(line) for line in done.stdout.splitlines()]
        failed = [(name, failure) for name, failures, _ in tests for failure in failures]
        unexpected = [one for one in failed if not _is_exception(version, *one)]
        print(f"validator {version}: {len(tests)} tests, {sum(one[2] for one in tests)} checks, {len(failed)} failures")
        for name, failure in failed:
            print(f"  {'UNEXPECTED' if (name, failure) in unexpected else 'exception'}: {name}: {failure}")
        is_good = is_good and not unexpected and len(tests) > 20
    return is_good


def _is_exception(version: str, name: str, failure: list[object]) -> bool:
    return any(
        version == known and name == title and text in str(failure) for known, title, text, _reason in EXCEPTIONS
    )


def hostile_addresses(client: Client, number: int, seed: int) -> bool:
    """Requests random addresses; returns whether each had a right response."""
    numbers, statuses = random.Random(seed), Counter[int]()

    def number_text() -> str:
        return str(numbers.choice((0, 1, 100, 512, numbers.randrange(50_000), numbers.randrange(10**12), -1)))

    def plausible() -> list[str]:
        region = numbers.choice(("full", "square", ",".join(number_text() for _ in range(4)), "pct:0,0,5,5"))
        size = numbers.choice(("max", f"{number_text()},", f",{number_text()}", "!300,300", f"{number_text()},300"))
        return [region, size, numbers.choice(("0", "90", "!180", "45")), numbers.choice(("default.jpg", "gray.png"))]

    def segments() -> list[str]:
        found = plausible()
        for index in range(4):
            if numbers.random() < _SHARE_OF_NONSENSE:
                found[index] = "".join(numbers.choice(_PIECES) for _ in range(numbers.choice((1, 1, 2, 3))))
        return found[: numbers.choice((0, 1, 3, 4, 4, 4, 4, 4, 4, 4))]

    def address() -> str:
        name = numbers.choice(_NAMES)
        name = name if "%" in name else quote(name, safe=";=/")
        rest = "/".join(segments())
        ending = numbers.choice(("",) * 12 + ("/info.json",))
        raw = f"/iiif/{numbers.choice(('2', '3', '3', '3', '3', '3', '4', 'state'))}/{name}/{rest}{ending}"
        return "".join(letter if " " < letter < "\x7f" else quote(letter) for letter in raw)

    addresses = [address() for _ in range(number)]

    def ask(path: str) -> str:
        answer = client.get(path, {"X-Forwarded-For": f"192.0.2.{len(path) % 250}"})
        statuses[answer.status] += 1
        is_fault = answer.status >= 500 and answer.status != 503
        return f"{answer.status} {path[:200]}" if is_fault or b"root:" in answer.body or not _has_reason(answer) else ""

    def _has_reason(answer: Response) -> bool:
        return answer.status < 400 or answer.text.strip().endswith((".", "?", ")"))

    with ThreadPoolExecutor(16) as threads:
        wrong = [text for text in threads.map(ask, addresses) if text]
    print(f"{number} random addresses (seed {seed}): {dict(sorted(statuses.items()))}, {len(wrong)} wrong")
    for text in wrong[:20]:
        print("  WRONG:", text)
    return not wrong


def many_viewers(client: Client, originals: Path, number: int) -> bool:
    """Opens scans for the first time, all at once; returns whether thumbnails of another client were quick."""
    scan = pyvips.Image.gaussnoise(6000, 4500, mean=128, sigma=40).cast("uchar").bandjoin([100, 150])
    scan.copy(interpretation="srgb").tiffsave(str(originals / "scan-0.tif"))
    for index in range(1, number):
        os.link(originals / "scan-0.tif", originals / f"scan-{index}.tif")
    for index in range(60):
        client.upload(f"small-{index}.jpg", pictures.jpeg())
    ended, slowest, statuses = threading.Event(), [0.0], Counter[int]()

    def view(index: int) -> None:
        headers = {"X-Forwarded-For": f"198.51.100.{index + 1}"}
        for tile in range(8):
            for _ in range(200):
                path = f"/iiif/3/scan-{index}.tif/{512 * tile},512,512,512/512,512/0/default.jpg"
                answer = client.get(path, headers)
                statuses[answer.status] += 1
                if answer.status != 503:
                    break
                time.sleep(float(answer.headers["retry-after"]))

    def ask() -> None:
        for index in range(100_000):
            if ended.is_set():
                return
            began = time.monotonic()
            headers = {"X-Forwarded-For": "203.0.113.5"}
            query = {"type": "T", "filename": f"small-{index % 60}.jpg", "scale": 60 + index // 60}
            assert client.get("/fileget", headers, **query).status == 200
            slowest[0] = max(slowest[0], time.monotonic() - began)
            time.sleep(0.05)

    began = time.monotonic()
    with _peak_memory() as peak, ThreadPoolExecutor(number + 1) as threads:
        asking = threads.submit(ask)
        for viewing in [threads.submit(view, index) for index in range(number)]:
            viewing.result()
        ended.set()
        asking.result()
    print(
        f"{number} viewers: all tiles after {time.monotonic() - began:.1f} s, {dict(statuses)}; slowest thumbnail of"
        f" another client {slowest[0]:.2f} s; at most {peak[0] >> 20} MiB in all processes"
    )
    return slowest[0] < _SLOWEST and set(statuses) <= {200, 503} and statuses[200] == 8 * number


@contextlib.contextmanager
def _peak_memory() -> Iterator[list[int]]:
    """Watches this process and those below it; yields the largest sum of their private memory, in bytes."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            total = 0
            for process in _descendants(os.getpid()):
                with contextlib.suppress(OSError, IndexError):
                    text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
                    total += int(text.split("\nPss:")[1].split()[0]) * 1024
            peak[0] = max(peak[0], total)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _descendants(process: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                yield int(child)
                yield from _descendants(int(child))


def main() -> None:
    """Runs all three; exits with 1 if something is not as it must be."""
    parser = argparse.ArgumentParser(prog="script/acceptance iiif", description=__doc__)
    parser.add_argument("--python", default="python3.12", help="Python 3.12 or later, for the validator")
    parser.add_argument("--addresses", type=int, default=10_000, help="number of random addresses")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--only", choices=("validator", "addresses", "viewers"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        base, port = Path(scratch) / "attachments", free_port()
        settings = {"PORT": str(port), "SERVER_PORT": str(port), "TRUSTED_PROXIES": "127.0.0.1"}
        with running(base, **settings) as server:
            client, good = Client(server.port()), []
            if options.only in (None, "validator"):
                good.append(validate(client, validator(options.python)))
            if options.only in (None, "addresses"):
                client.upload("a.jpg", pictures.jpeg(6))
                client.upload("a.pdf", pictures.pdf())
                pyvips.Image.black(40_000, 40_000).tiffsave(str(base / "originals/big.tif"), compression="deflate")
                pyvips.Image.black(20_000, 20_000, bands=3).pngsave(str(base / "originals/bomb.png"), interlace=True)
                good.append(hostile_addresses(client, options.addresses, options.seed))
            if options.only in (None, "viewers"):
                good.append(many_viewers(client, base / "originals", options.viewers))
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
