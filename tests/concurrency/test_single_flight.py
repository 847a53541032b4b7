"""concurrency.single_flight: one thread does the work, and the others get its result."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from assetstore.concurrency import single_flight
from assetstore.concurrency.single_flight import SingleFlight


def test_one_caller_does_the_work_and_all_get_its_result_or_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Semaphore(0)

    class Watched(Future[str]):
        def result(self, timeout: float | None = None) -> str:
            waiting.release()
            return super().result(timeout)

    monkeypatch.setattr(single_flight, "Future", Watched)
    for outcome in ("result", "failure", "end"):
        flight: SingleFlight[str] = SingleFlight()
        calls: list[int] = []
        everybody, gate = threading.Barrier(9), threading.Event()

        def work(outcome: str = outcome, calls: list[int] = calls, gate: threading.Event = gate) -> str:
            calls.append(1)
            gate.wait(30)
            if outcome == "failure":
                raise KeyError(outcome)
            if outcome == "end":
                raise SystemExit(outcome)
            return outcome

        def want(_: int, flight: SingleFlight[str] = flight, everybody: threading.Barrier = everybody) -> str:
            everybody.wait(30)
            return flight.do("key", work, 30)

        with ThreadPoolExecutor(8) as threads:
            futures = [threads.submit(want, index) for index in range(8)]
            everybody.wait(30)
            for _ in range(7):
                assert waiting.acquire(timeout=30)
            gate.set()
            errors = [future.exception() for future in futures]
        assert waiting.acquire(timeout=30), "who works takes the result in the end, too"
        assert {type(error) for error in errors} == {{"failure": KeyError, "end": SystemExit}.get(outcome, type(None))}
        assert len(calls) == 1


def test_different_keys_do_not_wait_for_each_other() -> None:
    flight: SingleFlight[str] = SingleFlight()
    assert flight.do("a", lambda: flight.do("b", lambda: "inner", 1), 1) == "inner"


def test_finished_work_is_repeated_for_the_next_caller() -> None:
    flight: SingleFlight[int] = SingleFlight()
    numbers = iter(range(9))
    assert [flight.do("key", lambda: next(numbers), 1) for _ in range(3)] == [0, 1, 2]


def test_waiting_ends_at_the_timeout() -> None:
    flight: SingleFlight[None] = SingleFlight()
    gate, begun = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait(30)

    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(flight.do, "key", work, 30)
        begun.wait(30)
        with pytest.raises(TimeoutError):
            flight.do("key", work, 0.01)
        gate.set()
        other.result(30)
