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
from tests.file_operations import no_descriptor_left

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
    # 64 MB more than the limit are for small allocations; what the process had before does not count.
    assert isolation.run(lambda: str(len(bytearray(110 << 20))), LIMITS, 5, tmp_path) == str(110 << 20)


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


def test_no_attempt_leaves_a_file_open_whatever_its_end(tmp_path: Path) -> None:
    def fail() -> str:
        raise OutOfSpace("The disk is full.")

    ends = (lambda: "drawn", fail, lambda: str(os.kill(os.getpid(), signal.SIGKILL)), lambda: str(time.sleep(60)))
    with no_descriptor_left():
        for work in ends:
            with contextlib.suppress(OutOfSpace, refusals.Refused):
                isolation.run(work, LIMITS, 0.5, tmp_path)


def test_an_engine_gets_no_pipe_of_its_worker_but_that_for_its_result(tmp_path: Path) -> None:
    def pipes() -> set[str]:
        found = set()
        for descriptor in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:"):
                    found.add(descriptor)
        return found

    before = pipes()
    said = isolation.run(lambda: " ".join(pipes() - before), LIMITS, 5, tmp_path)
    assert len(said.split()) == 1


def test_a_tool_has_only_the_original_open(tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"x")
    (tmp_path / "other").write_bytes(b"y")
    shell = tools.Tool("sh", ("sh",), "dash")

    def work() -> str:
        with open(tmp_path / "other", "rb") as other, tools.open_source(str(tmp_path / "original")) as descriptor:
            os.set_inheritable(other.fileno(), True)
            # The error output is what `run` returns.
            return tools.run(shell, ["-c", "ls -l /proc/$$/fd >&2"], descriptor, tmp_path, 64)

    said = isolation.run(work, LIMITS, 20, tmp_path)
    files = {line.rpartition(" -> ")[2] for line in said.splitlines() if " -> " in line}
    assert f"{tmp_path}/original" in files
    assert {file for file in files if not file.startswith("pipe:")} <= {
        f"{tmp_path}/original",
        f"{tmp_path}/complaints",
        "/dev/null",
    }
