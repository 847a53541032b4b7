"""Migrates 10,000 files to a bucket and back, each way with kill -9 in the middle, and compares all bytes.

The bucket is SeaweedFS on the same machine, so the figures tell what `manage.py migrate` itself costs, not what a
network does. Each way: a run that is killed after about half of the files, a run that goes on to the end, and a
run that finds nothing to do.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.object_store import BUCKETS, running
from tests.support import KEY, PROJECT

#: Sizes of files in bytes: most are small pictures, some are larger.
SMALLEST, LARGEST = 5_000, 100_000


@dataclass(frozen=True)
class Run:
    """One call of manage.py: seconds, processor seconds, peak memory in MiB, files by outcome."""

    seconds: float
    processor: float
    peak: float
    outcomes: dict[str, int]


def make_files(folder: Path, number: int) -> dict[str, str]:
    """Makes that many files; returns their SHA-256 by name."""
    chance = random.Random(1)
    folder.mkdir(parents=True)
    hashes = {}
    for count in range(number):
        content = chance.randbytes(chance.randint(SMALLEST, LARGEST))
        name = f"sp6{count:016}.att.jpg"
        (folder / name).write_bytes(content)
        hashes[name] = hashlib.sha256(content).hexdigest()
    return hashes


def hashes_of(folder: Path) -> dict[str, str]:
    return {
        entry.name: hashlib.sha256(Path(entry).read_bytes()).hexdigest()
        for entry in os.scandir(folder)
        if entry.is_file()
    }


def command(source: str, target: str, receipt: Path, options: list[str]) -> list[str]:
    program = [sys.executable, str(PROJECT / "manage.py"), "migrate", source, target, "--json"]
    return [*program, "--receipt", str(receipt), *options]


def killed(arguments: list[str], environ: dict[str, str], seconds: float) -> None:
    """Starts it and kills it after this many seconds."""
    process = subprocess.Popen(arguments, env=environ, stdout=subprocess.DEVNULL)
    time.sleep(seconds)
    if process.poll() is not None:
        sys.exit(f"it ended before it could be killed after {seconds:.1f} s, status {process.returncode}")
    process.kill()
    process.wait()


def finished(arguments: list[str], environ: dict[str, str], receipt: Path) -> Run:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(arguments, env=environ, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"status {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = receipt.read_text(encoding="utf-8").splitlines()
    return Run(seconds, processor, usage.ru_maxrss / 1024, json.loads(lines[-1])["summary"]["outcomes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20, help="after how many seconds it is killed")
    parser.add_argument("options", nargs="*", help="further options of manage.py migrate, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="migration-") as name:
        folder = Path(name)
        for part in ("weed", "base", "back"):
            (folder / part).mkdir()
        hashes = make_files(folder / "store" / "originals", given.files)
        size = sum(path.stat().st_size for path in (folder / "store" / "originals").iterdir())
        print(f"{given.files} files, {size / 1e6:.0f} MB")
        with running(folder / "weed") as service:
            environ = {"BASE_DIR": str(folder / "base"), "KEY": KEY, "PATH": os.environ["PATH"], **service.environ}
            environ["STORAGE_ENDPOINT"] = service.endpoint
            store, bucket, back = str(folder / "store"), f"s3://{BUCKETS[0]}/museum", str(folder / "back")
            for way, source, target in (("disk to S3", store, bucket), ("S3 to disk", bucket, back)):
                receipt = folder / "receipt.jsonl"
                arguments = command(source, target, receipt, given.options)
                killed(arguments, environ, given.seconds)
                for step in ("resumed", "nothing to do"):
                    run = finished(arguments, environ, receipt)
                    print(
                        f"{way}, {step}: {run.seconds:.1f} s, {run.processor:.1f} s of processor,"
                        f" peak {run.peak:.0f} MiB, {run.outcomes}",
                        flush=True,
                    )
        is_equal = hashes_of(folder / "back" / "originals") == hashes == hashes_of(folder / "store" / "originals")
        print("all hashes equal" if is_equal else "HASHES DIFFER")
        sys.exit(not is_equal)


if __name__ == "__main__":
    main()
