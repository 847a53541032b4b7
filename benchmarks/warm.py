"""Cached thumbnails served while `manage.py thumbnails warm` makes 1,000 others: how much longer do requests take?

Quiet and warming turns alternate in one run against one server, so that their ratio holds even if the machine's
speed drifts. Each warming turn makes another size of the same pictures and lasts until they are all made; a quiet one
lasts as long as the last warming one.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.thumbnails import TOOLS, scene
from tests.pictures import encoded
from tests.support import PROJECT
from tests.test_live import Client, running

#: So many cached thumbnails are served, to so many clients, each of which looks at one for so many seconds.
SERVED, CLIENTS, PAUSE = 100, 4, 0.02

FIRST_QUIET_SECONDS = 15.0


def main() -> None:
    """Prints the times of the served requests, quiet and beside the warming, and their ratio."""
    parser = argparse.ArgumentParser(prog="script/bench warm", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--pictures", type=int, default=1000, help="originals to warm (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of each kind (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="as for the command (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="warm-") as scratch:
        base = Path(scratch) / "attachments"
        with running(base, PATH=TOOLS) as server:
            client = Client(server.port())
            data = encoded(scene(4000, 3000), "JPEG", quality=85)
            for number in range(max(SERVED, arguments.pictures)):
                (base / "originals" / f"{number}.jpg").write_bytes(data)
            for number in range(SERVED):
                assert client.thumbnail(f"{number}.jpg", 200).status == 200
            measure(client, base, arguments)


def measure(client: Client, base: Path, arguments: argparse.Namespace) -> None:
    """Takes turns, and prints what came of them."""
    times: dict[str, list[float]] = {"quiet": [], "warming": []}
    made, seconds = 0, FIRST_QUIET_SECONDS
    for turn in range(arguments.turns):
        pause = seconds
        times["quiet"] += served(client, lambda pause=pause: time.sleep(pause))
        began = time.perf_counter()
        times["warming"] += served(client, lambda turn=turn: warm(base, 100 + turn, arguments.workers))
        seconds = time.perf_counter() - began
        made += len(list((base / "thumbnails").glob(f"*_{100 + turn}.jpg")))
        print(f"turn {turn + 1}: {made} thumbnails made so far, {seconds:.0f} s", file=sys.stderr)
    print(f"{made} thumbnails made of originals of 12 megapixels, the last {arguments.pictures} in {seconds:.0f} s")
    for kind, found in times.items():
        ordered = sorted(found)
        shown = (statistics.median(ordered), ordered[int(len(ordered) * 0.95)], ordered[int(len(ordered) * 0.99)])
        texts = ", ".join(
            f"{part} {value * 1000:.2f} ms" for part, value in zip(("median", "95 %", "99 %"), shown, strict=True)
        )
        print(f"{kind}: {len(ordered)} kept thumbnails served, {texts}")
    print(f"warming to quiet, medians: {statistics.median(times['warming']) / statistics.median(times['quiet']):.2f}")


def served(client: Client, meanwhile: Callable[[], None]) -> list[float]:
    """Asks for cached thumbnails as long as something lasts; returns how many seconds each took."""
    found: list[float] = []
    done = threading.Event()

    def look(first: int) -> None:
        number = first
        while not done.wait(PAUSE):
            began = time.perf_counter()
            assert client.thumbnail(f"{number % SERVED}.jpg", 200).status == 200
            found.append(time.perf_counter() - began)
            number += CLIENTS

    threads = [threading.Thread(target=look, args=(first,)) for first in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        meanwhile()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    return found


def warm(base: Path, size: int, workers: int) -> None:
    """Runs the command."""
    command = [sys.executable, str(PROJECT / "manage.py"), "thumbnails", "warm", "--size", str(size)]
    environ = {**os.environ, "BASE_DIR": str(base), "PATH": TOOLS}
    subprocess.run([*command, "--workers", str(workers)], env=environ, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
