"""A gallery of cold pictures: 200 originals, 50 connections, and how quickly /testkey answers meanwhile."""

import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.thumbnails import TOOLS, scene
from tests.pictures import encoded, opened
from tests.test_live import Client, running

PICTURES, CONNECTIONS = 200, 50


def main() -> None:
    """Prints what happened, and the times of /testkey."""
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "attachments"
        with running(base, PATH=TOOLS) as server:
            client = Client(server.port())
            data = encoded(scene(4000, 3000), "JPEG", quality=85)
            for number in range(PICTURES):
                (base / "originals" / f"{number}.jpg").write_bytes(data)
            waits: list[float] = []
            done = threading.Event()

            def knock() -> None:
                while not done.wait(0.02):
                    began = time.perf_counter()
                    assert client.get("/testkey", random="1", token=client.token("1")).status == 200
                    waits.append(time.perf_counter() - began)

            knocker = threading.Thread(target=knock)
            knocker.start()
            began = time.perf_counter()
            with ThreadPoolExecutor(CONNECTIONS) as connections:
                answers = list(connections.map(lambda number: client.thumbnail(f"{number}.jpg", 200), range(PICTURES)))
            total = time.perf_counter() - began
            done.set()
            knocker.join()
            whole = sum(answer.status == 200 and opened(answer.body).size == (200, 150) for answer in answers)
            print(f"{PICTURES} cold pictures of 12 megapixels over {CONNECTIONS} connections: {total:.1f} s")
            print(f"whole pictures with status 200: {whole}")
            print(
                f"/testkey meanwhile, {len(waits)} times: median {statistics.median(waits) * 1000:.0f} ms,"
                f" slowest {max(waits) * 1000:.0f} ms"
            )


if __name__ == "__main__":
    main()
