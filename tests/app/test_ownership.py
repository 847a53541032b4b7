"""A store that belongs to another user, as a new volume of a container often does."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import PROJECT

AS_NOBODY = """
import encodings.idna, os, pathlib, sys  # while all of Python can still be read
sys.path.insert(0, sys.argv[1])
from assetstore.app import bootstrap
from assetstore.config import loading
folder = pathlib.Path(sys.argv[1])
settings = loading.load({"BASE_DIR": sys.argv[2]}, {}, folder, 1)
os.setgroups([])
os.setgid(12345)
os.setuid(12345)
try:
    bootstrap.open_originals(settings, folder)
except loading.SettingsError as error:
    print(error)
"""


def test_a_store_of_another_user_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    if subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout != "0\n":
        pytest.skip("only root can become another user")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/") and folder.name.startswith(("pytest", "test", "popen")):
            folder.chmod(0o755)
    store = tmp_path / "store"
    store.mkdir()
    command = [sys.executable, "-c", AS_NOBODY, str(PROJECT), str(store)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("BASE_DIR: the server cannot write there: ")
    assert f"{store} belongs to the user 0, and the server runs as 12345: chown -R 12345:12345" in run.stdout


def test_the_image_lets_other_users_into_its_folder() -> None:
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    assert "chmod 755 /home/specify" in text, "useradd makes it 0700"


def test_the_compose_file_publishes_the_port_that_the_readme_names() -> None:
    assert '"${PUBLISHED_PORT:-8080}:8080"' in (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
    assert "`asset-server` on port 8080" in (PROJECT / "README.md").read_text(encoding="utf-8")
