"""config.settings_file: which file has the settings, and what is wrong with it."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from assetstore.config import settings_file
from assetstore.config.loading import SettingsError
from assetstore.monitoring import logs
from tests.support import PROJECT, run_manage


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The places of the file, all below a folder of the test; the program is in the container."""
    places = {
        "named": tmp_path / "named.py",
        "system": tmp_path / "etc/settings.py",
        "container": tmp_path / "home/settings.py",
        "beside": tmp_path / "home/server/settings.py",
    }
    for path in places.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(settings_file, "SYSTEM_FILE", places["system"])
    monkeypatch.setattr(settings_file, "CONTAINER_FOLDER", places["beside"].parent)
    monkeypatch.setattr(settings_file, "CONTAINER_FILE", places["container"])
    return places


def test_the_first_of_the_files_is_read_and_no_other(places: dict[str, Path]) -> None:
    folder, environ = places["beside"].parent, {"ASSETSTORE_SETTINGS": str(places["named"])}
    for path in places.values():
        path.write_text(f"NAME = {path.name!r}")
    assert settings_file.find(folder, False, environ) == places["named"]
    for name in ("system", "container", "beside"):
        assert settings_file.find(folder, False, {}) == places[name]
        places[name].unlink()
    assert settings_file.find(folder, False, {}) is None
    assert settings_file.read(None) == {}


def test_only_in_the_container_a_file_in_the_home_of_specify_counts(places: dict[str, Path], tmp_path: Path) -> None:
    places["container"].write_text("PORT = 1")
    assert settings_file.find(tmp_path / "elsewhere", False, {}) is None
    assert settings_file.find(places["beside"].parent, False, {}) == places["container"]


def test_an_installed_program_has_no_file_beside_it(places: dict[str, Path]) -> None:
    places["beside"].write_text("PORT = 1")
    assert settings_file.find(places["beside"].parent, True, {}) is None
    places["system"].write_text("PORT = 2")
    assert settings_file.find(places["beside"].parent, True, {}) == places["system"]


def test_a_file_that_is_named_but_missing_stops_the_start(places: dict[str, Path]) -> None:
    places["beside"].write_text("PORT = 1")
    with pytest.raises(SettingsError, match=r"ASSETSTORE_SETTINGS is '/nowhere\.py'; there is no such file"):
        settings_file.find(places["beside"].parent, False, {"ASSETSTORE_SETTINGS": "/nowhere.py"})


def test_a_folder_in_the_place_of_the_file_is_named(places: dict[str, Path]) -> None:
    places["container"].mkdir()
    with pytest.raises(SettingsError, match="is a folder; expected a file"):
        settings_file.find(places["beside"].parent, False, {})


def test_a_syntax_error_shows_file_line_and_caret(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text('PORT = 8080\nKEY = "unfinished\nHOST = "x"\n')
    with pytest.raises(SettingsError) as error:
        settings_file.read(tmp_path / "settings.py")
    lines = str(error.value).splitlines()
    assert lines[0] == f"{tmp_path}/settings.py is not valid Python."
    assert lines[1].strip() == f'File "{tmp_path}/settings.py", line 2'
    assert lines[2].strip() == 'KEY = "unfinished'
    assert lines[3].strip() == "^"
    assert "unterminated string" in lines[4]


@pytest.mark.parametrize("text", ["PORT = 1\nHOST = PROT\n", "import os\nos.environ['NO_SUCH_NAME']\n", "\nexit(1)\n"])
def test_an_error_of_the_file_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.py").write_text(text)
    with pytest.raises(SettingsError, match=r"settings.py cannot be used \(line 2\): "):
        settings_file.read(tmp_path / "settings.py")


def test_server_and_commands_read_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    named = tmp_path / "my settings.py"
    named.write_text(f"BASE_DIR = {str(tmp_path / 'store')!r}\nport = 1\n")
    environ = {"ASSETSTORE_SETTINGS": str(named), "PATH": os.environ["PATH"]}
    command = [sys.executable, str(PROJECT / "manage.py"), "doctor", "--only", "settings"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert f"Store: {tmp_path / 'store'} (settings: {named})" in done.stderr
    assert "port (did you mean PORT?)" in done.stdout
    variables = {**environ, "PORT": "nonsense"}
    done = subprocess.run(
        [sys.executable, str(PROJECT / "server.py")], env=variables, capture_output=True, text=True, check=False
    )
    assert "The environment variable PORT is 'nonsense'" in done.stderr


def test_the_doctor_says_where_the_settings_come_from(tmp_path: Path) -> None:
    found = run_manage(tmp_path, "doctor", "--only", "settings").stderr
    assert found == f"Store: {tmp_path} (settings: {PROJECT}/settings.py and the environment variables BASE_DIR, KEY)\n"


def test_debug_shows_the_lines_of_this_program_and_not_those_of_libraries(capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.root.handlers[:], logging.root.level
    try:
        logs.set_up(logs.PLAIN, True)
        logging.getLogger("assetstore.thumbnails.service").debug("made a thumbnail")
        logging.getLogger("PIL.PngImagePlugin").debug("STREAM b'IHDR' 16 13")
        logging.getLogger("asyncio").debug("Using selector")
        printed = capfd.readouterr().out
    finally:
        logs.set_up(logs.PLAIN, False)
        logging.root.handlers[:], logging.root.level = before
    assert "made a thumbnail" in printed
    assert "STREAM" not in printed
    assert "selector" not in printed
