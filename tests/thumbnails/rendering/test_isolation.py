"""rendering.isolation: what an engine does in its own process costs its attempt only."""

import os
import signal
from pathlib import Path

import pytest

from assetstore.errors import OutOfSpace
from assetstore.thumbnails.rendering import isolation, refusals
from assetstore.thumbnails.rendering.job import Limits

LIMITS = Limits(30, 64)


def test_the_note_of_an_engine_comes_back() -> None:
    assert isolation.run(lambda: "drawn in part", LIMITS, 5) == "drawn in part"


def test_an_error_comes_back_as_it_was_raised() -> None:
    def work() -> str:
        raise OutOfSpace("The disk is full.", "detail", retry_after=7)

    with pytest.raises(OutOfSpace) as raised:
        isolation.run(work, LIMITS, 5)
    assert (raised.value.public, raised.value.detail, raised.value.retry_after) == ("The disk is full.", "detail", 7)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_library_that_crashes_says_that_the_file_is_damaged(number: signal.Signals) -> None:
    with pytest.raises(refusals.Damaged, match="damaged"):
        isolation.run(lambda: os.kill(os.getpid(), number) or "", LIMITS, 5)  # type: ignore[func-returns-value]


def test_an_engine_gets_no_more_memory_than_its_limit() -> None:
    with pytest.raises(refusals.Refused, match="too large"):
        isolation.run(lambda: str(len(bytearray(300 << 20))), LIMITS, 5)
    assert isolation.run(lambda: str(len(bytearray(30 << 20))), LIMITS, 5) == str(30 << 20)


def test_an_engine_that_never_ends_is_stopped_when_its_time_is_up() -> None:
    def work() -> str:
        while True:
            pass

    with pytest.raises(refusals.Refused, match="too long"):
        isolation.run(work, LIMITS, 1)


def test_an_engine_writes_no_file_longer_than_a_quarter_of_its_memory(tmp_path: Path) -> None:
    def work() -> str:
        (tmp_path / "large").write_bytes(bytes(17 << 20))
        return "written"

    with pytest.raises((refusals.Refused, refusals.Damaged)):
        isolation.run(work, LIMITS, 5)
    assert (tmp_path / "large").stat().st_size <= 16 << 20


def test_what_an_engine_prints_is_not_taken_for_an_answer(capfd: pytest.CaptureFixture[str]) -> None:
    assert isolation.run(lambda: os.write(1, b"{}") and "", LIMITS, 5) == ""
    assert capfd.readouterr().out == ""
