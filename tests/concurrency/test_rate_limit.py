"""concurrency.rate_limit: reading takes as long as the limit requires, and can be interrupted."""

import threading
import time

import pytest

from assetstore.concurrency.rate_limit import RateLimit


def test_a_rate_limit_spreads_reads_and_stops_immediately_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)  # however long it takes to come here
    ending = threading.Event()
    slept: list[float] = []
    ending.wait = slept.append  # type: ignore[method-assign,assignment]
    rate_limit = RateLimit(1000, ending)
    for _ in range(4):
        rate_limit.spend(500)
    assert slept == [0.5, 1.0, 1.5, 2.0]
