"""rendering.isolation: what an engine does in its own process costs its attempt only."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assetstore.errors import OutOfSpace
from assetstore.thumbnails.rendering import isolation, refusals, tools
from assetstore.thumbnails.rendering.job import Limits

LIMITS = Limits(30, 64)


def test_the_note_of_an_engine_is_returned(tmp_path: Path) -> None:
    assert isolation.run(lambda: "drawn in part", LIMITS, 5, tmp_path) == "drawn in part"


def test_an_error_is_raised_again_unchanged(tmp_path: Path) -> None:
    def work() -> str:
        raise OutOfSpace("The disk is full.", "detail", retry_after=7)

    with pytest.raises(OutOfSpace) as raised:
        isolation.run(work, LIMITS, 5, tmp_path)
    assert (raised.value.public, raised.value.detail, raised.value.retry_after) == ("The disk is full.", "detail", 7)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_crash_of_a_library_marks_the_file_as_damaged(tmp_path: Path, number: signal.Signals) -> None:
    with pytest.raises(refusals.Damaged, match="damaged"):
        isolation.run(lambda: os.kill(os.getpid(), number) or "", LIMITS, 5, tmp_path)  # type: ignore[func-returns-value]


def test_the_memory_of_an_engine_is_limited(tmp_path: Path) -> None:
    with pytest.raises(refusals.Refused, match="too large"):
        isolation.run(lambda: str(len(bytearray(300 << 20))), LIMITS, 5, tmp_path)
    assert isolation.run(lambda: str(len(bytearray(30 << 20))), LIMITS, 5, tmp_path) == str(30 << 20)


def test_an_engine_is_stopped_at_its_time_limit(tmp_path: Path) -> None:
    def work() -> str:
        while True:
            pass

    with pytest.raises(refusals.Refused, match="too long"):
        isolation.run(work, LIMITS, 1, tmp_path)


def test_an_engine_cannot_write_a_file_larger_than_a_quarter_of_its_memory(tmp_path: Path) -> None:
    def work() -> str:
        (tmp_path / "large").write_bytes(bytes(17 << 20))
        return "written"

    with pytest.raises((refusals.Refused, refusals.Damaged)):
        isolation.run(work, LIMITS, 5, tmp_path)
    assert (tmp_path / "large").stat().st_size <= 16 << 20


@pytest.mark.parametrize("are_deleted", [False, True])
def test_the_temporary_files_of_an_engine_are_limited_together(tmp_path: Path, are_deleted: bool) -> None:
    opened = []

    def work() -> str:
        for number in range(30):
            path = tmp_path / str(number)
            opened.append(open(path, "wb"))  # noqa: SIM115 - stays open, so that it keeps its bytes
            opened[-1].write(bytes(8 << 20))
            opened[-1].flush()
            if are_deleted:
                path.unlink()
            time.sleep(0.2)
        return "written"

    with pytest.raises(refusals.Refused, match="too large"):
        isolation.run(work, LIMITS, 20, tmp_path)


def test_a_tool_ends_with_the_attempt_that_started_it(tmp_path: Path) -> None:
    sleeper = tools.Tool("sleep", ("sleep",), "coreutils")
    with pytest.raises(refusals.Refused, match="too long"), open(os.devnull, "rb") as nothing:
        isolation.run(lambda: tools.run(sleeper, ["77.7"], nothing.fileno(), tmp_path, 64), LIMITS, 1, tmp_path)
    while any(command == b"sleep\x0077.7\0" for command in command_lines()):
        time.sleep(0.05)


def command_lines() -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield (process / "cmdline").read_bytes()[-12:]


def test_the_output_of_an_engine_is_not_taken_for_its_result(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert isolation.run(lambda: os.write(1, b"{}") and "", LIMITS, 5, tmp_path) == ""
    assert capfd.readouterr().out == ""
