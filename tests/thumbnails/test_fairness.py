"""thumbnails: a client with many requests does not stop the others, nor does work in the background."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from assetstore.errors import Unavailable
from tests import pictures
from tests.support import RunningServer

SCAN = pictures.encoded(Image.new("RGB", (2400, 1800), "red"), "JPEG")
SMALL = pictures.encoded(Image.new("RGB", (300, 200), "blue"), "JPEG")


@pytest.fixture
def server(start: Callable[..., RunningServer]) -> RunningServer:
    """A server with one render worker, whose clients say their address as proxies do."""
    server = start(THREADS=256, TRUSTED_PROXIES=("127.0.0.1",), limits={"render_workers": 1})
    server.upload("scan.jpg", SCAN)
    server.upload("small.jpg", SMALL)
    return server


@pytest.fixture
def renders(server: RunningServer) -> list[str]:
    """The outcomes of all jobs of the workers."""
    outcomes: list[str] = []
    server.context.pool.on_render = lambda _format, outcome, _seconds: outcomes.append(outcome)
    return outcomes


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_many_unusual_sizes_of_a_scan_do_not_delay_other_clients(server: RunningServer) -> None:
    completed: list[tuple[str, int]] = []
    lock, pool = threading.Lock(), server.context.pool

    def request(client: str, name: str, scale: int) -> None:
        headers = {"X-Forwarded-For": client}
        status = server.get("/fileget", headers, type="T", filename=name, scale=scale).status
        with lock:
            completed.append((client, status))

    with ThreadPoolExecutor(141) as threads, pool.lend("holds the worker until all wait"):
        for scale in range(140):
            threads.submit(request, "192.0.2.1", "scan.jpg", 201 + scale)
        wait_until(lambda: pool.workers().waiting + len(completed) == 140)
        assert completed == [("192.0.2.1", 503)] * 28, "a client gets seven eighths of 128"
        threads.submit(request, "192.0.2.2", "small.jpg", 100)
        wait_until(lambda: pool.workers().waiting == 113)
    assert len(completed) == 141
    assert {status for _, status in completed[28:]} == {200}
    # Its job is the second; its response may be overtaken by a few others.
    assert completed.index(("192.0.2.2", 200)) - 28 <= 5


def test_thumbnails_can_be_made_in_the_background(server: RunningServer, renders: list[str]) -> None:
    thumbnails = server.context.thumbnails
    thumbnails.open("", "small.jpg", 100, client="", background=True).file.close()
    thumbnails.open("", "small.jpg", 100, client="", background=True).file.close()
    assert renders == ["made"]
    with server.context.pool.lend("a client"):
        assert server.thumbnail("small.jpg", 100).status == 200, "it is cached"


def test_a_request_does_not_wait_for_the_same_thumbnail_in_the_background(
    server: RunningServer, renders: list[str]
) -> None:
    pool, thumbnails = server.context.pool, server.context.thumbnails
    with ThreadPoolExecutor(3) as threads:
        with pool.lend("holds the worker until all wait"):
            scan = threads.submit(thumbnails.open, "", "scan.jpg", 100, client="", background=True)
            wait_until(lambda: pool.workers().in_background == 1)
            small = threads.submit(thumbnails.open, "", "small.jpg", 100, client="", background=True)
            wait_until(lambda: pool.workers().in_background == 2)
            request = threads.submit(server.thumbnail, "small.jpg", 100)
            wait_until(lambda: pool.workers().waiting == 1)
        assert request.result().status == 200
        scan.result().file.close()
        small.result().file.close()
    assert renders == ["made", "made"], "the second one in the background is cached already"


def test_the_background_does_not_wait_while_it_has_a_worker(server: RunningServer, renders: list[str]) -> None:
    thumbnails = server.context.thumbnails
    with thumbnails.store.locked("", "small_100.jpg"), pytest.raises(Unavailable) as given_up:
        thumbnails.open("", "small.jpg", 100, client="", background=True)
    assert given_up.value.retry_after
    assert (server.context.pool.workers().busy, renders) == (0, [])
    assert server.thumbnail("small.jpg", 100).status == 200
