"""commands.installation: commands find the store of the server, name it, and never create another one."""

import os
import pty
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support import KEY, PROJECT, RunningServer, run_manage
from tests.test_faults import AS_NOBODY

COMMANDS = [
    ("trash", "list"),
    ("journal",),
    ("verify",),
    ("usage",),
    ("thumbnails", "warm", "--size", "200"),
    ("as-of", "2026-11-24"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_makes_no_store_where_there_is_none(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run_manage(tmp_path, *arguments)
    assert done.returncode == 1
    assert f"there is no store at {tmp_path}. The settings come from " in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("collections", "add", "KU Fish", "fish"), ("token", "a.jpg")], ids=" ".join)
def test_without_the_attachment_folder_a_command_says_so(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run_manage(tmp_path / "missing", *arguments, KEY="")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"BASE_DIR: there is no folder {tmp_path}/missing." in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_only_adding_a_collection_makes_the_folder_of_the_program(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.mkdir()
    for name in ("manage.py", "server.py", "assetstore", "views"):
        (program / name).symlink_to(PROJECT / name)
    script = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r}); from pathlib import Path; from assetstore import commands; "
        f"folder = Path({str(program)!r}); "
        "print(commands.main(['trash', 'list'], folder), (folder / 'attachments').exists()); "
        "sys.exit(commands.main(['collections', 'add', 'KU Fish', 'fish'], folder))"
    )
    environ = {"PATH": os.environ["PATH"], "KEY": KEY}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (0, ["1 False", "KU Fish\tfish\tadded"])
    assert f"there is no folder {program}/attachments" in done.stderr
    assert "For a new store, create the folder and start the server." in done.stderr
    assert (program / "attachments/fish/originals").is_dir()


def test_on_a_terminal_a_command_says_which_store_it_works_on(server: RunningServer) -> None:
    ours, theirs = pty.openpty()
    environ = {"BASE_DIR": str(server.base), "KEY": KEY, "PATH": os.environ["PATH"]}
    command = [sys.executable, str(PROJECT / "manage.py"), "trash", "list"]
    subprocess.run(command, env=environ, stderr=theirs, stdout=subprocess.DEVNULL, check=True, timeout=60)
    os.close(theirs)
    printed = os.read(ours, 10_000).decode()
    os.close(ours)
    assert f"Store: {server.base} (settings: " in printed
    assert "environment variables BASE_DIR, KEY" in printed
    assert "Store:" not in run_manage(server.base, "trash", "list").stderr, "scripts do not read it"


def test_the_help_says_which_settings_and_store_commands_use(tmp_path: Path) -> None:
    printed = " ".join(run_manage(tmp_path, "--help").stdout.split())
    for part in ("ASSETSTORE_SETTINGS", "/etc/asset-server/settings.py", "`collections add` creates a store"):
        assert part in printed


@pytest.mark.skipif(os.geteuid() != 0, reason="requires root, to become a user without rights")
@pytest.mark.parametrize("closed", ["", "originals/.asset-server", ".asset-server"])
def test_without_rights_a_command_refuses_in_one_sentence(closed: str) -> None:
    with tempfile.TemporaryDirectory(prefix="assetserver-") as folder:
        os.chmod(folder, 0o755)
        base = Path(folder) / "store"
        for name in ("originals/.asset-server", "thumbnails", ".asset-server"):
            (base / name).mkdir(parents=True)
        (base / closed).chmod(0o700)
        environ = {"PATH": os.environ["PATH"], "KEY": KEY, "BASE_DIR": str(base)}
        command = [sys.executable, "-c", AS_NOBODY, "manage.py", "trash", "list"]
        done = subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, text=True, check=False)
    if "No module named" in done.stderr or "no mounts of its own" in done.stderr:
        pytest.skip("other users cannot run the program here")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    [line] = done.stderr.splitlines()
    assert "ermission denied" in line or "may not use" in line
