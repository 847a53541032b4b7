"""concurrency.worker_process: each request gets its own response, and nothing of a failed process remains."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetstore.concurrency.worker_process import WorkerProcess
from assetstore.errors import StorageFault, Unavailable
from tests.file_operations import no_descriptor_left

MODULE = "tests.concurrency.worker"


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    worker = WorkerProcess(MODULE, ("a", "b c"))
    yield worker
    worker.close()


def is_running(process: int) -> bool:
    """Whether a process runs; a zombie has no command line any more."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes_of_sleep(seconds: str) -> list[int]:
    """The processes `sleep SECONDS`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_one_process_answers_many_requests(worker: WorkerProcess) -> None:
    assert not worker.is_running
    answer = worker.ask({"number": 1}, 30)
    assert (answer["number"], answer["arguments"]) == (1, ["a", "b c"])
    process = worker._process
    assert worker.ask({"number": 2}, 30)["number"] == 2
    assert worker.is_running
    assert worker._process is process


def test_the_answer_to_a_request_that_took_too_long_is_not_taken_for_that_to_the_next(worker: WorkerProcess) -> None:
    worker.ask({"number": 0}, 30)
    with pytest.raises(TimeoutError):
        worker.ask({"number": 1, "sleeps": 0.3}, 0.01)
    assert worker.ask({"number": 2, "sleeps": 0.5}, 30)["number"] == 2


def test_a_process_that_took_too_long_ends_with_its_children_and_leaves_nothing_open(worker: WorkerProcess) -> None:
    with no_descriptor_left():
        with pytest.raises(TimeoutError):
            worker.ask({"number": 1, "child": "654.32", "sleeps": 600}, 1)
        assert not worker.is_running
    while processes_of_sleep("654.32"):  # the kernel may take a moment to end it
        time.sleep(0.01)


def test_a_process_that_dies_is_started_again_for_the_next_request(worker: WorkerProcess) -> None:
    with no_descriptor_left(), pytest.raises(OSError, match="closed its output"):
        worker.ask({"number": 1, "dies": True}, 30)
    assert worker.ask({"number": 2}, 30)["number"] == 2
    assert worker._process
    os.killpg(worker._process.pid, signal.SIGKILL)
    while worker.is_running:
        time.sleep(0.01)
    assert worker.ask({"number": 3}, 30)["number"] == 3


def test_a_process_can_be_killed_with_its_children_and_its_niceness_counts_beside_the_server(
    worker: WorkerProcess,
) -> None:
    worker.ask({"number": 1}, 30)
    assert worker._process
    process = worker._process.pid
    assert os.getpgid(process) == process
    assert os.getsid(process) == os.getsid(0), "Linux compares niceness only within a session (sched(7), autogroup)"


def unreadable(_offset: int, _length: int) -> bytes:
    raise StorageFault("The disk is broken.")


def test_a_process_survives_parts_that_cannot_be_read_and_the_error_is_passed_on(worker: WorkerProcess) -> None:
    worker.ask({"number": 1}, 30)
    process = worker._process
    with pytest.raises(StorageFault, match="broken"):
        worker.ask({"number": 2, "reads": 2}, 30, unreadable)
    assert worker.ask({"number": 3, "reads": 1}, 30, lambda _offset, _length: b"x")["number"] == 3
    assert worker._process is process


def test_bytes_for_a_child_that_was_killed_are_not_taken_for_a_request(worker: WorkerProcess) -> None:
    line = json.dumps({"number": 99}).encode() + b"\n"
    assert worker.ask({"number": 1, "requests": True}, 30, lambda _offset, _length: 2 * line + b"rest")["number"] == 1
    process = worker._process
    assert worker.ask({"number": 2}, 30)["number"] == 2
    with pytest.raises(StorageFault, match="broken"):
        worker.ask({"number": 3, "requests": True}, 30, unreadable)
    assert worker.ask({"number": 4}, 30)["number"] == 4
    assert worker._process is process


def test_a_process_has_no_file_of_the_server_open(worker: WorkerProcess, tmp_path: Path) -> None:
    with open(tmp_path / "inherited", "wb") as file:
        os.set_inheritable(file.fileno(), True)
        assert str(tmp_path / "inherited") not in worker.ask({"number": 1}, 30)["files"]


def test_a_closed_worker_starts_no_process(worker: WorkerProcess) -> None:
    worker.ask({"number": 1}, 30)
    assert worker._process
    process = worker._process.pid
    worker.close()
    assert not is_running(process)
    with pytest.raises(Unavailable, match="about to stop"):
        worker.ask({"number": 2}, 30)
