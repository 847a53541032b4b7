"""The turnstile: quick requests pass one by one, slow ones stop nobody."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from assetstore import turnstile as turnstile_module
from assetstore.turnstile import Turnstile


def test_quick_requests_pass_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile_module, "PATIENCE_SECONDS", 60)  # on a busy machine none may look slow
    turnstile, inside, most = Turnstile(), 0, 0

    def pass_through(_number: int) -> None:
        nonlocal inside, most
        with turnstile.passage():
            inside += 1
            most = max(most, inside)
            time.sleep(0.0001)
            inside -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(pass_through, range(200)))
    assert most == 1


def test_slow_requests_stop_nobody() -> None:
    turnstile, end, passed = Turnstile(), threading.Event(), threading.Semaphore(0)

    def be_slow() -> None:
        with turnstile.passage():
            passed.release()
            assert end.wait(20)

    with ThreadPoolExecutor(30) as threads:
        slow = [threads.submit(be_slow) for _ in range(20)]
        for _ in slow:
            assert passed.acquire(timeout=20)  # all of them are inside at the same time
        with turnstile.passage():
            pass
        end.set()
        for request in slow:
            request.result()
    with turnstile.passage():
        pass


def test_requests_pass_while_a_slow_one_is_inside_and_when_it_has_left() -> None:
    turnstile, end, passed = Turnstile(), threading.Event(), []

    def be_slow() -> None:
        with turnstile.passage():
            end.wait(20)

    def pass_through(number: int) -> None:
        with turnstile.passage():
            passed.append(number)

    with ThreadPoolExecutor(20) as threads:
        slow = threads.submit(be_slow)
        quick = [threads.submit(pass_through, number) for number in range(200)]
        quick[100].result(timeout=20)
        end.set()
        slow.result(timeout=20)
    assert sorted(passed) == list(range(200))


def test_a_request_that_fails_gives_its_turn_on() -> None:
    turnstile = Turnstile()
    with pytest.raises(ValueError, match="x"), turnstile.passage():
        raise ValueError("x")
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: turnstile.passage().__enter__()).result(timeout=20)
