"""Galleries of new thumbnails, and how quickly the XML and /testkey answer meanwhile, under Paste and Granian.

Specify asks for both before anything else, so they must not wait for thumbnails.
"""

import argparse
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.thumbnails import TOOLS, scene
from tests.pictures import encoded, opened
from tests.test_live import Client, running

#: Pictures, connections, width and height.
GALLERIES = [(200, 50, 4000, 3000), (120, 40, 1600, 1200)]

#: Server -> the largest median of the XML and /testkey, in milliseconds.
AIMS = {"granian": 10, "paste": 50}

#: Pause between two requests for the XML or /testkey, in seconds.
PAUSE = 0.01


def quantiles(seconds: list[float]) -> str:
    """Median, 95 % and worst, as cells of a table, in milliseconds."""
    seconds.sort()
    shown = (statistics.median(seconds), seconds[int(len(seconds) * 0.95)], seconds[-1])
    return " | ".join(f"{one * 1000:.0f} ms" for one in shown)


def show(server: str, number: int, connections: int, size: tuple[int, int]) -> None:
    """Runs one gallery on one server and prints a line for each route."""
    with tempfile.TemporaryDirectory() as scratch, running(Path(scratch) / "a", PATH=TOOLS, SERVER=server) as program:
        client = Client(program.port())
        data = encoded(scene(*size), "JPEG", quality=85)
        for one in range(number):
            (Path(scratch) / "a/originals" / f"{one}.jpg").write_bytes(data)
        waits: dict[str, list[float]] = {"/web_asset_store.xml": [], "/testkey": []}
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                for path, seconds in waits.items():
                    query = {"random": "1", "token": client.token("1")} if path == "/testkey" else {}
                    began = time.perf_counter()
                    assert client.get(path, **query).status == 200
                    seconds.append(time.perf_counter() - began)
                    done.wait(PAUSE)

        asker = threading.Thread(target=ask)
        asker.start()
        began = time.perf_counter()
        with ThreadPoolExecutor(connections) as pool:
            answers = list(pool.map(lambda one: client.thumbnail(f"{one}.jpg", 200), range(number)))
        total = time.perf_counter() - began
        done.set()
        asker.join()
    whole = sum(answer.status == 200 and opened(answer.body).size == (200, 150) for answer in answers)
    for path, seconds in waits.items():
        what = f"{server} | {whole} of {number}, {connections} at a time | {total:.1f} s"
        print(f"| {what} | {path} | {quantiles(seconds)} | {AIMS[server]} ms |", flush=True)


def main() -> None:
    """Prints a table in Markdown."""
    argparse.ArgumentParser(prog="script/bench gallery", description=__doc__).parse_args()
    print("| Server | whole pictures | time | meanwhile | median | 95 % | worst | median at most |")
    print("|---|---|---|---|---|---|---|---|")
    for number, connections, width, height in GALLERIES:
        for server in AIMS:
            show(server, number, connections, (width, height))


if __name__ == "__main__":
    main()
