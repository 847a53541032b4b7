"""pace: reading takes the time that it is given, and ends when told."""

import threading

from assetstore.pace import Pace


def test_a_pace_spreads_the_reading_and_ends_at_once_when_told() -> None:
    ending = threading.Event()
    slept: list[float] = []
    ending.wait = slept.append  # type: ignore[method-assign,assignment]
    pace = Pace(1000, ending)
    for _ in range(4):
        pace.spend(500)
    assert 1.9 < slept[-1] <= 2.0
