"""Many renders while workers are killed at random: no hang, nothing left over.

script/bench chaos [--renders 10000]
"""

import argparse
import collections
import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.thumbnails import TOOLS
from tests.pictures import jpeg
from tests.support import use_up_sizes
from tests.test_live import Client, children, running

CONNECTIONS = 16


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return found + [deeper for child in found for deeper in descendants(child)]


def main() -> None:
    """Prints the statuses, how many workers were killed, and what was left over."""
    parser = argparse.ArgumentParser(prog="script/bench chaos", description=__doc__)
    parser.add_argument("--renders", type=int, default=10_000)
    renders = parser.parse_args().renders
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "attachments"
        with running(base, PATH=TOOLS) as server:
            use_up_sizes(base, left=0)
            client = Client(server.port())
            for number in range(CONNECTIONS):
                (base / "originals" / f"{number}.jpg").write_bytes(jpeg())
            client.thumbnail("0.jpg", 50)
            pid = server.process.pid
            before, done, killed = descriptors(pid), threading.Event(), [0]

            def kill() -> None:
                while not done.wait(random.uniform(0.05, 0.5)):
                    victims = children(pid)
                    if victims:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(random.choice(victims), signal.SIGKILL)
                            killed[0] += 1

            killer = threading.Thread(target=kill)
            killer.start()
            began = time.monotonic()
            with ThreadPoolExecutor(CONNECTIONS) as connections:
                # No size is left to be cached, so each is a render; one picture for each connection.
                wishes = [(f"{turn % CONNECTIONS}.jpg", 20 + turn // CONNECTIONS % 80) for turn in range(renders)]
                statuses = collections.Counter(connections.map(lambda wish: client.thumbnail(*wish).status, wishes))
            seconds = time.monotonic() - began
            done.set()
            killer.join()
            print(f"{renders} renders over {CONNECTIONS} connections in {seconds:.0f} s, {killed[0]} workers killed")
            print(f"statuses: {dict(statuses)}")
            time.sleep(1)
            print(f"open files before and after: {before}, {descriptors(pid)}")
            print(f"temporary files: {len(list(base.rglob('thumbnail-*')))}, locks: {len(list(base.rglob('lock-*')))}")
            print(f"processes below the server: {len(descendants(pid))}")
            below = descendants(pid)
            server.process.send_signal(signal.SIGTERM)
            status, _ = server.ended()
            alive = [one for one in below if Path(f"/proc/{one}").exists()]
            print(f"exit status {status}, processes left: {len(alive)}")


if __name__ == "__main__":
    main()
