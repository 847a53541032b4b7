"""Without internet access: one sentence instead of the output of apt and pip."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support import PROJECT


def test_without_internet_the_installation_says_so_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "script").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("script/bootstrap", "requirements.lock"):
        shutil.copy(PROJECT / name, tmp_path / name)
    # In place of name resolution without a network.
    (tmp_path / "bin/getent").write_text("#!/bin/sh\nexit 2\n")
    (tmp_path / "bin/getent").chmod(0o755)
    environ = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "HOME": str(tmp_path)}
    run = subprocess.run(
        [tmp_path / "script/bootstrap"], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 1
    assert run.stderr.startswith("Without internet access, ")
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / ".venv").exists()
