"""concurrency.periodic_task: one process at a time does the work, again and again, whatever errors occur."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.concurrency.periodic_task import PeriodicTask


def done(tmp_path: Path, work: Callable[[threading.Event], object]) -> None:
    """Runs a task until its work ends it."""
    task = PeriodicTask("tidying", tmp_path, 0.001, work)
    task.start()
    assert task._ending.wait(60)
    task.close()


@pytest.mark.parametrize("fault", [BlockingIOError("a pipe is full"), ValueError("a mistake"), OSError("a disk")])
def test_a_failed_task_is_logged_and_runs_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    rounds = []

    def work(ending: threading.Event) -> None:
        rounds.append(1)
        if len(rounds) == 2:
            ending.set()
        raise fault

    done(tmp_path, work)
    assert len(rounds) == 2
    assert caplog.text.count("tidying failed") == 2
    assert caplog.text.count(str(fault)) >= 2


def test_a_task_of_another_process_is_taken_over_when_that_process_ends(tmp_path: Path) -> None:
    at_work, may_end = threading.Event(), threading.Event()
    first = PeriodicTask("tidying", tmp_path, 3600, lambda _: (at_work.set(), may_end.wait(60)))
    first.start()
    assert at_work.wait(60)
    turns = []
    second = PeriodicTask("tidying", tmp_path, 3600, lambda _: turns.append("second"))
    second._do_exclusively()
    assert turns == []
    may_end.set()
    first.close()
    second._do_exclusively()
    assert turns == ["second"]
