"""The installed package: what pip makes of this project runs without a checkout and without a settings file."""

import os
import re
import shutil
import signal
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from assetstore import __version__
from tests import pictures
from tests.support import KEY, PROJECT, Client
from tests.test_live import Program

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))

#: The libraries of the extras, as they are imported.
OPTIONAL = ("bagit", "granian", "obstore", "prometheus_client", "pymysql")


def run(*command: object, folder: Path = PROJECT, **environ: str) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Installation:
    """The package in a virtual environment of its own; *folder* is an empty one to work in."""

    programs: Path
    folder: Path

    def command(self, name: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        variables = {"PATH": os.environ["PATH"], "KEY": KEY, **environ}
        command = [str(self.programs / name), *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=variables, capture_output=True, text=True, check=False, timeout=60
        )

    def serve(self, **environ: str) -> Program:
        variables = {"PORT": "0", "BIND_ADDRESS": "127.0.0.1", "ATTACHMENT_KEY": KEY, **environ}
        return Program(variables, (str(self.programs / "asset-server"),), self.folder, str(self.programs / "python"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is not installed; script/bootstrap --dev does that")
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder)
    [archive] = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, as pip does, so the sdist has all that this needs."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [source] = folder.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder / "built", folder=source)
    [built] = (folder / "built").iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; the libraries are those of these tests, so that no network is needed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    install = ("-m", "pip", "--python", folder / "bin/python", "install", "--no-index", "--no-deps", wheel)
    run(sys.executable, *install)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()))
    return folder


@pytest.fixture
def installation(environment: Path, tmp_path: Path) -> Iterator[Installation]:
    folder = tmp_path / "somewhere"
    folder.mkdir()
    yield Installation(environment / "bin", folder)
    shutil.rmtree(folder)


def test_the_wheel_installs_one_package_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"assetstore", f"web_asset_server-{__version__}.dist-info"}
    assert "assetstore/settings.py" not in names
    assert {path.name for path in (PROJECT / "views").iterdir()} == {
        name.split("/")[2] for name in names if name.startswith("assetstore/views/")
    }


def test_the_sdist_has_every_file_of_the_repository(sdist: Path) -> None:
    if not (PROJECT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("only a clone by git knows what the repository has")
    tracked = set(run("git", "ls-files").splitlines())
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked <= packed


@pytest.mark.parametrize("server", ["paste", "granian"])
def test_the_installed_server_serves_from_an_empty_folder(installation: Installation, server: str) -> None:
    (installation.folder / "store").mkdir()
    program = installation.serve(BASE_DIR="store", SERVER=server)
    try:
        program.wait_for(f"relative paths are relative to {installation.folder}")
        client = Client(program.port())
        assert "fileupload" in client.get("/web_asset_store.xml").text
        assert __version__ in client.get("/").text
        [script] = re.findall(r'src="([^"]*main\.js)"', client.get("/status").text)
        assert client.get(f"/{script.lstrip('/')}").status == 200
        assert client.upload("a.jpg", pictures.jpeg()).text == "Ok."
        assert client.get("/fileget", filename="a.jpg").body == pictures.jpeg()
        assert client.thumbnail("a.jpg").status == 200
        program.process.send_signal(signal.SIGTERM)
        status, _ = program.ended()
    finally:
        program.process.kill()
        program.ended()
    assert status == 0
    assert (installation.folder / "store/originals/a.jpg").read_bytes() == pictures.jpeg()
    assert "1 file, " in installation.command("asset-admin", "verify", BASE_DIR="store").stdout


def test_an_installed_program_runs_no_settings_file_from_the_working_directory(installation: Installation) -> None:
    (installation.folder / "settings.py").write_text("raise SystemExit('this ran')")
    (installation.folder / "store/originals").mkdir(parents=True)
    done = installation.command("asset-admin", "usage", BASE_DIR="store")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("program", ["asset-server", "asset-admin"])
def test_an_installed_program_creates_no_attachment_folder_unless_configured(
    installation: Installation, program: str
) -> None:
    done = installation.command(program, *(["verify"] if program == "asset-admin" else []), PORT="0")
    assert done.returncode == 1
    assert f"there is no folder {installation.folder}/attachments" in done.stderr
    assert not list(installation.folder.iterdir())


def test_the_administrators_command_has_its_own_name_in_its_help(installation: Installation) -> None:
    done = installation.command("asset-admin", "--help")
    assert done.stdout.startswith("Usage: asset-admin [OPTIONS] COMMAND")
    assert "doctor" in done.stdout
    done = installation.command("asset-admin", "trash", "restore", "--help")
    assert done.stdout.startswith("Usage: asset-admin trash restore [OPTIONS]")
    assert "\n      asset-admin trash restore sp6847.att.jpg\n" in done.stdout


@pytest.mark.parametrize(("command", "arguments"), [("server", []), ("admin", ["verify"])])
def test_the_commands_start_from_a_checkout_as_in_an_editable_installation(
    command: str, arguments: list[str], tmp_path: Path
) -> None:
    code = f"import sys; from assetstore import programs; sys.exit(programs.{command}())"
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "ASSETSTORE_PORT": "none"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "ASSETSTORE_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_samples_of_the_doctor_are_in_the_package(installation: Installation) -> None:
    (installation.folder / "store").mkdir()
    done = installation.command("asset-admin", "doctor", "--only", "tools", BASE_DIR="store")
    assert "Traceback" not in done.stderr
    assert "JPEG" in done.stdout


def without_optional_libraries(*arguments: str, base: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs manage.py, or server.py, as if only the libraries without which nothing works were installed."""
    program = f"sys.modules.update(dict.fromkeys({OPTIONAL!r})); runpy.run_path(sys.argv[0], run_name='__main__')"
    code = f"import runpy, sys; sys.argv = {[str(PROJECT / arguments[0]), *arguments[1:]]!r}; {program}"
    variables = {"PATH": os.environ["PATH"], "BASE_DIR": str(base), "KEY": KEY, "PORT": "0", **environ}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=PROJECT, env=variables, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "environ", "library"),
    [
        (("manage.py", "export", "bag"), {}, "bagit"),
        (("manage.py", "import", "views"), {}, "bagit"),
        (("manage.py", "reconcile", "mysql://reader@127.0.0.1/specify"), {}, "PyMySQL"),
        (("manage.py", "verify"), {"STORAGE_URL": "s3://bucket"}, "obstore"),
        (("server.py",), {"METRICS_ADDRESS": "127.0.0.1:1"}, "prometheus_client"),
        (("server.py",), {"SERVER": "granian", "TLS_CERTIFICATE": "a", "TLS_KEY": "a"}, "Granian"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_missing_optional_library_is_named(
    arguments: tuple[str, ...], environ: dict[str, str], library: str, tmp_path: Path
) -> None:
    (tmp_path / "originals").mkdir()
    done = without_optional_libraries(*arguments, base=tmp_path, **environ)
    assert done.returncode == 1
    assert re.search(rf"{library}\b.*\bnot installed", done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_the_rest_works_without_the_optional_libraries(tmp_path: Path) -> None:
    (tmp_path / "originals").mkdir()
    done = without_optional_libraries("manage.py", "verify", base=tmp_path)
    assert (done.returncode, "0 files" in done.stdout) == (0, True), done.stderr


def test_the_changelog_starts_with_this_version() -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", changelog, re.M)[0] == __version__


def test_the_package_metadata_agrees_on_the_python_versions() -> None:
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PYPROJECT["project"]["classifiers"]))
    assert PYPROJECT["project"]["requires-python"] == f">={named[0]}"
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{named[0].replace('.', '')}"
    assert PYPROJECT["tool"]["mypy"]["python_version"] == named[0]
