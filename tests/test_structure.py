"""The house keeps its order: imports flow one way, importing opens nothing, modules stay small."""

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.support import PROJECT

MODULES = sorted((PROJECT / "assetstore").rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_a_module_of_assetstore_knows_neither_the_routes_nor_the_settings_file(path: Path) -> None:
    forbidden = (
        {"server", "settings", "manage"} if path.parent.name == "routes" else {"bottle", "server", "settings", "manage"}
    )
    assert not imported(path) & forbidden


@pytest.mark.parametrize("name", ["errors", "names"])
def test_the_leaves_import_only_each_other(name: str) -> None:
    inside = {module for module in imported(PROJECT / f"assetstore/{name}.py") if module.startswith("assetstore")}
    assert inside <= {"assetstore.errors"}


@pytest.mark.parametrize("path", [PROJECT / "server.py", *MODULES], ids=lambda path: str(path.relative_to(PROJECT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 40, node.name


def test_importing_opens_no_file_no_tool_and_no_connection(tmp_path: Path) -> None:
    watcher = (
        "import importlib.util, sys\n"
        "def watch(event, arguments):\n"
        "    if event.startswith(('socket.', 'subprocess.', 'os.fork', 'os.mkdir', 'os.remove')):\n"
        "        sys.exit(f'{event} {arguments}')\n"
        "    if event == 'open' and not str(arguments[0]).endswith(('.py', '.pyc', '.so', '.pth', '.zip')):\n"
        "        opened.append(str(arguments[0]))\n"
        "import bottle, exifread, multipart, sh, paste.httpserver\n"
        "has_s3 = importlib.util.find_spec('obstore') and importlib.import_module('obstore.store')\n"
        "opened = []\n"
        "sys.addaudithook(watch)\n"
        "import server, assetstore.storage.disk.disk, assetstore.thumbnails.rendering.worker\n"
        "has_s3 and importlib.import_module('assetstore.app.object_storage')\n"
        "print([path for path in opened if not path.isdigit()])\n"
    )
    run = subprocess.run(
        [sys.executable, "-B", "-c", watcher], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout.strip()) == (0, "[]"), run.stderr


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_each_library_runs_under_every_python_for_which_it_is_asked(name: str) -> None:
    lines = [line.split("#")[0] for line in (PROJECT / name).read_text(encoding="utf-8").splitlines()]
    asked = [Requirement(line) for line in lines if line.strip() and not line.startswith("-r")]
    for library in asked:
        if library.marker is None or library.marker.evaluate():  # it is installed, so its needs are known
            needs = SpecifierSet(importlib.metadata.metadata(library.name).get("Requires-Python", ""))
            for minor in range(11, 14):
                python = {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.9"}
                served = library.marker is None or library.marker.evaluate(python)
                assert not served or needs.contains(f"3.{minor}.9"), f"{library} needs Python {needs}"
