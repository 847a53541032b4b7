"""The tests themselves: which variables reach them, and what script/test leaves behind."""

import os
import subprocess
from pathlib import Path

from tests.isolation import remove_settings
from tests.support import PROJECT


def test_exported_settings_do_not_reach_the_tests() -> None:
    exported = ["BASE_DIR", "KEY", "ATTACHMENT_KEY", "ASSETSTORE_PORT", "ASSETSTORE_SETTINGS", "AWS_SECRET_ACCESS_KEY"]
    environ = {"PATH": "/usr/bin", "TMPDIR": "/tmp", **dict.fromkeys([*exported, "ASSET_SERVER_URL"], "x")}
    remove_settings(environ)
    assert environ == {"PATH": "/usr/bin", "TMPDIR": "/tmp"}
    assert "ASSET_SERVER_URL" not in os.environ


def copy_with_fake_programs(folder: Path, status: int) -> subprocess.CompletedProcess[str]:
    """Runs script/test in a folder with programs that only leave a file where temporary files belong."""
    (folder / "script").mkdir(parents=True)
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / "script/test").write_text((PROJECT / "script/test").read_text())
    (folder / "script/bootstrap").write_text("#!/bin/sh\n")
    (folder / ".venv/bin/python").write_text(f'#!/bin/sh\necho x >"$TMPDIR/left"\nexit {status}\n')
    for program in ("script/test", "script/bootstrap", ".venv/bin/python"):
        (folder / program).chmod(0o755)
    environ = {"PATH": os.environ["PATH"], "TMPDIR": str(folder)}
    return subprocess.run([folder / "script/test"], env=environ, capture_output=True, text=True, check=False)


def test_script_test_removes_its_temporary_files(tmp_path: Path) -> None:
    run = copy_with_fake_programs(tmp_path / "copy", status=0)
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == [".venv", "script"]


def test_script_test_keeps_the_files_of_failed_tests_and_says_where(tmp_path: Path) -> None:
    run = copy_with_fake_programs(tmp_path / "copy", status=1)
    assert run.returncode == 1
    (left,) = (tmp_path / "copy").glob("*/left")
    assert str(left.parent) in run.stderr
