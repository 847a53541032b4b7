"""What the commands say: headings and empty results, questions that are declined, numbers, progress bars, help."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.commands import output
from tests.support import KEY, PROJECT, RunningServer, run_manage

Manage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def manage(server: RunningServer) -> Manage:
    """Runs manage.py on the store of the running server."""

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return run_manage(server.base, *arguments, **{"TZ": "Europe/Berlin", "PORT": str(server.port), **environ})

    return run


def on_a_terminal(base: Path, *arguments: str, keys: str = "", **environ: str) -> tuple[int, str]:
    """Runs manage.py on a terminal, where a person types *keys*; returns its exit status and what is shown."""
    child, terminal = pty.fork()
    if child == 0:
        variables = {"BASE_DIR": str(base), "KEY": KEY, "PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "80"}
        os.execve(sys.executable, [sys.executable, str(PROJECT / "manage.py"), *arguments], {**variables, **environ})
    os.write(terminal, keys.encode())
    shown = b""
    try:
        while block := os.read(terminal, 65536):
            shown += block
    except OSError:  # the way in which Linux reports the end
        pass
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    return status, shown.decode().replace("\r\n", "\n")


# --- Results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["restore", "purge"])
def test_a_name_that_is_not_in_the_trash_is_an_error_that_names_it(
    server: RunningServer, manage: Manage, command: str
) -> None:
    server.upload("a", b"x")
    server.delete("a")
    run = manage("trash", command, "a", "nosuch", *(["--yes"] if command == "purge" else []))
    assert run.returncode == 1
    assert "nosuch is not in the trash.\n" in run.stderr
    assert run.stdout.endswith("1 file restored.\n" if command == "restore" else "1 file permanently deleted.\n")


def test_a_restore_that_finds_nothing_is_an_error(manage: Manage) -> None:
    for arguments in (["nosuch*"], ["--since", "1h"]):
        run = manage("trash", "restore", *arguments)
        assert (run.returncode, run.stdout) == (1, "")
        assert "matches" in run.stderr or "match" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("trash", "list"), "The trash is empty."),
        (("trash", "list", "x*"), "No files in the trash match."),
        (("journal",), "The journal is empty."),
        (("journal", "nosuch"), "No entries of the journal match."),
        (("as-of", "2020-01-01"), "No originals existed at that time."),
        (("as-of", "2020-01-01", "x*"), "No originals that match existed at that time."),
    ],
    ids=str,
)
def test_an_empty_result_says_so_beside_the_output(manage: Manage, arguments: tuple[str, ...], sentence: str) -> None:
    run = manage(*arguments)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", sentence + "\n")
    assert manage(*arguments, "--json").stderr == "", "scripts get nothing else"


def test_lists_have_headings_on_a_terminal_and_state_that_times_are_local(
    server: RunningServer, manage: Manage
) -> None:
    server.upload("a.txt", b"12345")
    server.delete("a.txt")
    for arguments, titles in (
        (("trash", "list"), ("removed (local time)", "reason", "bytes", "folder", "name")),
        (("journal",), ("time (local time)", "operation", "bytes", "SHA-256", "folder", "name")),
    ):
        shown = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(server.base, *arguments)[1])
        listing = shown[re.search(f"^{re.escape(titles[0])}", shown, re.M).start() :]  # type: ignore[union-attr]
        heading, *lines = listing.splitlines()
        assert all(title in heading for title in titles)
        assert all("a.txt" in line for line in lines)
        assert all(line.index("a.txt") == heading.index("name") for line in lines), "they are aligned"
    assert manage("trash", "list").stdout.count("\n") == 1, "programs that read the output get no heading"
    assert re.search(r"\+0[12]:00\tdeleted\t5\t-\ta\.txt\n", manage("trash", "list").stdout)


def test_numbers_and_nouns_agree(server: RunningServer, manage: Manage) -> None:
    assert output.counted(1, "error") == "1 error"
    assert [output.counted(number, "file") for number in (0, 2)] == ["0 files", "2 files"]
    assert output.counted(1, "match", "matches") == "1 match"
    server.upload("a.txt", b"x")
    assert manage("verify").stdout == "1 file, 1 byte: no problems found; 0 added to the journal.\n"
    server.delete("a.txt")
    assert manage("trash", "restore", "a.txt").stdout.endswith("\n1 file restored.\n")


def test_messages_name_a_file_once(server: RunningServer, manage: Manage, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x")
    missing, folder = tmp_path / "missing.txt", tmp_path
    run = manage("put", str(missing), str(folder))
    assert run.stderr == f"{missing}: No such file or directory\n{folder}: Is a directory\n"
    server.upload("a.txt", b"y")
    run = manage("put", "--local-names", str(tmp_path / "a.txt"))
    assert run.stderr.count("a.txt") == 1
    run = manage("get", "a.txt", "--output", str(tmp_path / "nowhere/a.txt"))
    assert run.stdout.count("nowhere") == 1


def test_a_command_that_stops_early_says_how_many_files_it_did_not_try(
    server: RunningServer, manage: Manage, tmp_path: Path
) -> None:
    local = [str(tmp_path / name) for name in ("a.txt", "b.txt", "c.txt")]
    for path in local:
        Path(path).write_bytes(b"x")
    stopped = "Stopped: 2 other files were not tried, because they would fail for the same reason.\n"
    wrong = {"ASSET_SERVER_KEY": "wrong", "ASSET_SERVER_URL": f"http://127.0.0.1:{server.port}"}
    run = manage("put", *local, **wrong)
    assert (run.returncode, run.stderr.endswith(stopped)) == (1, True)
    run = manage("delete", "--yes", "a.txt", "b.txt", "c.txt", **wrong)
    assert (run.returncode, run.stderr) == (1, stopped)
    server.upload("a.txt", b"x")
    run = manage("get", "--folder", "/proc", "a.txt", "b.txt", "c.txt")  # where no files can be created
    assert (run.returncode, run.stderr) == (1, stopped)
    run = manage("put", local[0], **wrong)
    assert "Stopped" not in run.stderr, "there is no other file"


# --- Questions -------------------------------------------------------------------------------------------------------


def test_a_declined_question_deletes_nothing_and_exits_1(server: RunningServer) -> None:
    server.upload("a.txt", b"x")
    arguments = ("delete", "a.txt", "--url", f"http://127.0.0.1:{server.port}")
    status, shown = on_a_terminal(server.base, *arguments, keys="n\n", ASSET_SERVER_KEY=KEY)
    assert "Delete 1 file on http" in shown
    assert shown.endswith("Nothing was deleted.\n")
    assert status == 1
    assert server.get("/fileget", filename="a.txt").status == 200
    server.delete("a.txt")
    status, shown = on_a_terminal(server.base, "trash", "purge", "a.txt", keys="n\n")
    assert "Permanently delete 1 file with 1 byte?" in shown
    assert (status, shown.endswith("Nothing was deleted.\n")) == (1, True)


def test_a_question_without_a_terminal_names_the_option_for_scripts(server: RunningServer, manage: Manage) -> None:
    server.upload("a.txt", b"x")
    server.delete("a.txt")
    run = manage("trash", "purge", "a.txt")
    assert run.returncode == 1
    assert run.stderr.endswith("Nothing was deleted. In a script, use --yes.\n")
    assert manage("trash", "list").stdout.count("\n") == 1


# --- The progress bar ------------------------------------------------------------------------------------------------


def test_lines_are_printed_above_the_progress_bar() -> None:
    child, terminal = pty.fork()
    if child == 0:
        program = (
            "import click\nfrom assetstore.commands import output, progress\nprogress._QUICK_SECONDS = 0.0\n"
            "with progress.Progress('Verifying', 3) as bar:\n"
            "    for number in range(3):\n        bar.update(1)\n        output.echo(f'finding {number}')\n"
        )
        environ = {"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "80", "PYTHONPATH": str(PROJECT)}
        os.execve(sys.executable, [sys.executable, "-c", program], environ)
    shown = b""
    try:
        while block := os.read(terminal, 65536):
            shown += block
    except OSError:
        pass
    os.waitpid(child, 0)
    os.close(terminal)
    lines = [line.rsplit("\x1b[2K", 1)[-1] for line in shown.decode().split("\r\n")]
    assert [line for line in lines if "finding" in line] == ["finding 0", "finding 1", "finding 2"]
    assert "Verifying" in shown.decode().rsplit("finding 2", 1)[1], "the bar is shown again below"


# --- Help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["", "trash", "collections", "thumbnails", "names", "visibility", "pyramids"])
def test_the_summaries_in_the_help_fit(manage: Manage, group: str) -> None:
    shown = manage(*group.split(), "--help", COLUMNS="80").stdout
    summaries = shown.split("Commands:\n")[1].splitlines()
    assert summaries
    assert [line for line in summaries if "..." in line] == []
    assert max(map(len, shown.splitlines())) <= 80


def test_the_help_of_times_says_that_they_are_local(manage: Manage) -> None:
    assert "local time" in " ".join(manage("trash", "list", "--help").stdout.split())
