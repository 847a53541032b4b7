"""Without internet access: one sentence instead of the output of apt and pip."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import PROJECT


def write_program(path: Path, lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)


def run_bootstrap(folder: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Runs script/bootstrap in a folder of its own, in which no name of a host can be resolved."""
    (folder / "script").mkdir()
    for name in ("script/bootstrap", "requirements.lock"):
        shutil.copy(PROJECT / name, folder / name)
    write_program(folder / "bin/getent", "exit 2")
    variables = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "HOME": str(folder), **environ}
    command = [folder / "script/bootstrap"]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=60)


def test_without_internet_the_installation_says_so_in_one_sentence(tmp_path: Path) -> None:
    run = run_bootstrap(tmp_path, PIP_CONFIG_FILE="/dev/null")
    assert run.returncode == 1
    assert run.stderr.startswith("Without internet access, ")
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("where", ["pip.conf", ".config/pip/pip.conf", "variable"])
def test_an_index_of_their_own_needs_no_internet(tmp_path: Path, where: str) -> None:
    write_program(tmp_path / ".venv/bin/python", 'echo "$*" >>called')
    environ = {"PIP_INDEX_URL": "https://index.museum.org/simple"}
    if where != "variable":
        (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / where).write_text("[global]\ntimeout = 60\nindex-url = https://index.museum.org/simple\n")
        environ = {"PIP_CONFIG_FILE": str(tmp_path / where)} if where == "pip.conf" else {}
    run = run_bootstrap(tmp_path, **environ)
    assert run.returncode == 0, run.stderr
    assert "--requirement requirements.lock" in (tmp_path / "called").read_text()
