"""concurrency.fair_queue: threads get workers in turn, one client after the other, and no worker is lost."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assetstore.concurrency.fair_queue import FairQueue, NoneFree

#: As many threads as a test may have waiting.
THREADS = 64


class Bench:
    """A queue with one thread for each job; `served` has the clients in the order in which they got a worker."""

    def __init__(self, threads: ThreadPoolExecutor, workers: int) -> None:
        self.queue = FairQueue(range(workers))
        self.served: list[str] = []
        self._threads = threads
        self._entered = 0

    def enter(self, client: str, *, background: bool = False) -> Future[None]:
        """Starts a job and returns when it waits; no worker may be free for it."""
        job = self._threads.submit(self._work, client, background)
        self._entered += 1
        while self.queue.waiting + self.queue.waiting_in_background < self._entered:
            time.sleep(0.0005)
        return job

    def _work(self, client: str, background: bool) -> None:
        with self.queue.lend(client, 30, background=background):
            self.served.append(client)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Holds the only worker, so that all jobs that start meanwhile wait."""
        with self.queue.lend("first", 0):
            yield


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as executor:
        yield executor


def round_robin(clients: str) -> list[str]:
    """The order of a card game: in each round, every client that has one left plays one."""
    turns: Counter[str] = Counter()
    first = list(dict.fromkeys(clients))
    rounds = []
    for client in clients:
        turns[client] += 1
        rounds.append((turns[client], first.index(client), client))
    return [client for _, _, client in sorted(rounds)]


def test_a_client_with_one_job_is_next_but_one_however_many_another_has(threads: ThreadPoolExecutor) -> None:
    bench = Bench(threads, workers=1)
    with bench.busy():
        jobs = [bench.enter(client) for client in ["many"] * 40 + ["one"]]
    for job in jobs:
        job.result(30)
    assert bench.served[:3] == ["many", "one", "many"]
    assert len(bench.served) == 41


@given(st.text("abcde", max_size=20))
@settings(max_examples=60, deadline=None)
def test_clients_are_served_round_robin_and_each_in_its_own_order(clients: str) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        bench = Bench(threads, workers=1)
        with bench.busy():
            for client in clients:
                bench.enter(client)
    assert bench.served == round_robin(clients)


def test_the_background_waits_until_no_other_job_waits(threads: ThreadPoolExecutor) -> None:
    bench = Bench(threads, workers=1)
    with bench.busy():
        jobs = [
            bench.enter("background 1", background=True),
            bench.enter("background 2", background=True),
            bench.enter("a"),
            bench.enter("b"),
        ]
    for job in jobs:
        job.result(30)
    assert bench.served == ["a", "b", "background 1", "background 2"]


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (2, 1), (5, 4)])
def test_the_background_never_has_the_last_of_several_workers(workers: int, most: int) -> None:
    queue = FairQueue(range(workers))
    with ThreadPoolExecutor(THREADS) as threads:
        may_end, begun = threading.Event(), threading.Semaphore(0)

        def work() -> None:
            with queue.lend("any", 30, background=True):
                begun.release()
                may_end.wait(30)

        jobs = [threads.submit(work) for _ in range(workers + 3)]
        for _ in range(most):
            assert begun.acquire(timeout=30)
        while queue.waiting_in_background < workers + 3 - most:
            time.sleep(0.0005)
        assert queue.busy == most
        if most < workers:
            with queue.lend("a client", 0):
                assert queue.busy == workers
        may_end.set()
        for job in jobs:
            job.result(30)
    assert queue.busy == queue.waiting_in_background == 0


def test_a_free_worker_is_lent_without_waiting_and_the_warm_one_first() -> None:
    queue = FairQueue(range(3))
    with queue.lend("a", 0) as first, queue.lend("b", 0) as second:
        assert first != second
    with queue.lend("c", 0) as again:
        assert again == first


def test_a_thread_that_waited_too_long_leaves_the_queue() -> None:
    queue = FairQueue(["worker"])
    with queue.lend("a", 0):
        for background in (False, True):
            with pytest.raises(NoneFree), queue.lend("b", 0.01, background=background):
                pass
        assert queue.waiting == queue.waiting_in_background == 0
    with queue.lend("b", 0) as worker:
        assert worker == "worker"


def test_a_worker_comes_back_whatever_happens_to_its_thread() -> None:
    queue = FairQueue(["worker"])
    for background in (False, True):
        with pytest.raises(KeyError), queue.lend("a", 0, background=background):
            raise KeyError
    assert queue.busy == 0


def test_no_worker_is_lost_and_none_is_lent_twice_when_many_threads_wait_and_some_give_up() -> None:
    queue = FairQueue(range(3))
    used: Counter[int] = Counter()
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def work(index: int) -> None:
        # Some wait about as long as it takes until a worker becomes free, so both happen at the same time.
        seconds = 30 if index % 3 else index % 7 / 5000
        try:
            with queue.lend(f"client {index % 5}", seconds, background=index % 4 == 0) as worker:
                with lock:
                    used[worker] += 1
                    assert used[worker] == 1
                time.sleep(0.0003)
                with lock:
                    used[worker] -= 1
            outcome = "served"
        except NoneFree:
            outcome = "gave up"
        with lock:
            outcomes[outcome] += 1

    with ThreadPoolExecutor(40) as threads:
        for result in [threads.submit(work, index) for index in range(3000)]:
            result.result(60)
    assert outcomes.total() == 3000
    assert outcomes["served"] >= 2000, "nobody who can wait is forgotten"
    assert queue.busy == queue.waiting == queue.waiting_in_background == 0


def test_the_background_does_not_take_the_last_free_worker_while_others_are_lent() -> None:
    queue = FairQueue([1, 2, 3])
    with queue.lend("a", 30), queue.lend("b", 30), pytest.raises(NoneFree), queue.lend("c", 0.01, background=True):
        pass
