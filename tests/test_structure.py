"""The structure of the program: imports go one way, importing opens nothing, modules stay small.

`docs/architecture.md` shows the packages by level of import. To print what it has to show after a change:

    python -m tests.test_structure
"""

import ast
import functools
import importlib
import importlib.metadata
import itertools
import re
import subprocess
import sys
import tokenize
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.support import PROJECT

PACKAGE = PROJECT / "assetstore"
MODULES = sorted(PACKAGE.rglob("*.py"))
PROGRAMS = [PROJECT / "server.py", PROJECT / "manage.py"]
TESTS = PROJECT / "tests"

#: The only modules directly in assetstore/. They import nothing of ours but each other.
LEAVES = frozenset(("csv_io", "errors", "formats", "media_types", "names", "programs"))

#: Words that were replaced, as parts of names: the vocabulary has one word for one thing.
REPLACED_WORDS = {
    *("alone", "anew", "ballast", "duties", "duty", "exchange", "exchanged", "exchanges", "figures", "fuse", "moment"),
    *("farewell", "foretold", "moments", "notebook", "overhears", "pace", "paced", "patience", "places", "story"),
    *("surprise", "told", "turnstile", "unnoted", "vanished", "visit", "workplace"),
}
REPLACED_PAIRS = (("waiting", "room"), ("handler", "arrivals"))

#: What comments, docstrings, sentences and pages do not contain.
REPLACED_IN_TEXTS = re.compile(
    r"\b(anew|anybody|ballast|duty|duties|everybody|fuse|kept|moments?|nobody|somebody|story|whoever"
    r"|so (?:few|long|many|much|often)|of late|notebook|overhear\w*|hung up|speaks no|under our hands|in the making"
    r"|by then|serving server|beforehand|cannot be asked|never heard|last word)\b",
    re.IGNORECASE,
)

#: What the commands write for programs stays as it is.
STORED_VALUES = ("no longer kept",)

#: The operation of the kernel (renameat2, RENAME_EXCHANGE) has this name.
EXCHANGES_FILES = ("storage/disk/files.py", "storage/disk/trash.py")


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def imported_modules(path: Path) -> frozenset[str]:
    """The modules of assetstore that a file imports, anywhere in it."""
    known = {module_name(module) for module in MODULES}
    found: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & known) or {node.module}
    return frozenset(found & known - {"assetstore", module_name(path)})


def package_of(path: Path) -> str:
    """A package or leaf of assetstore, or a program."""
    return path.name if path in PROGRAMS else path.relative_to(PACKAGE).with_suffix("").parts[0]


@functools.cache
def package_imports() -> dict[str, set[str]]:
    """The packages and leaves that each package, leaf and program imports."""
    graph: dict[str, set[str]] = {}
    for path in [*PROGRAMS, *MODULES]:
        if path != PACKAGE / "__init__.py":
            names = {module.split(".")[1] for module in imported_modules(path)}
            graph.setdefault(package_of(path), set()).update(names - {package_of(path)})
    return graph


def drawing() -> str:
    """The packages by level: each imports only from the levels below its own."""
    graph = package_imports()
    level = dict.fromkeys(LEAVES, 0)
    for package in TopologicalSorter(graph).static_order():
        if package not in LEAVES:
            level[package] = 1 + max((level[other] for other in graph[package]), default=0)
    rows = [[name for name in sorted(level) if level[name] == row] for row in range(max(level.values()) + 1)]
    return "".join(f"{number:>2}  {'  '.join(names)}\n" for number, names in reversed(list(enumerate(rows))))


def architecture() -> str:
    return (PROJECT / "docs/architecture.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    section = re.split(r"^## ", architecture(), flags=re.M)
    [text] = [part for part in section if part.startswith(f"{heading}\n")]
    rows = re.findall(r"^\| (.+?) ?\|$", text, re.M)
    return [[cell.strip() for cell in row.split(" |")] for row in rows[1:]]


def test_imports_have_no_cycle() -> None:
    TopologicalSorter(package_imports()).prepare()  # raises CycleError
    TopologicalSorter({module_name(path): imported_modules(path) for path in MODULES}).prepare()


def test_only_leaves_are_directly_in_assetstore() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", *LEAVES}


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_the_leaves_import_only_each_other(name: str) -> None:
    assert package_imports()[name] <= LEAVES


def test_the_architecture_page_shows_the_current_import_levels() -> None:
    [shown] = re.findall(r"```text\n( ?\d+  .*?)```", architecture(), re.S)
    assert shown == drawing()


def test_the_architecture_page_has_a_line_for_each_package_with_its_imports() -> None:
    shown = {row[0].strip("`"): set(re.findall(r"\w+", row[2])) for row in table("Packages")}
    graph = {name: names - LEAVES for name, names in package_imports().items()}
    assert shown == {name: names for name, names in graph.items() if name not in LEAVES}


@pytest.mark.parametrize("row", table("To change X, go to Y"), ids=lambda row: row[0])
def test_the_architecture_page_names_files_and_functions_that_exist(row: list[str]) -> None:
    for file in re.findall(r"`([\w./-]+(?:/|\.\w+))`", " ".join(row[1:])):
        assert (PROJECT / file).exists() or (PACKAGE / file).exists(), file


def test_the_functions_on_the_architecture_page_exist() -> None:
    defined = set()
    for path in [*PROGRAMS, *MODULES]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        owners = [(path.stem, tree), *((node.name, node) for node in tree.body if isinstance(node, ast.ClassDef))]
        for owner, node in owners:
            defined |= {f"{owner}.{child.name}" for child in node.body if isinstance(child, ast.FunctionDef)}
    named = re.findall(r"`(\w+\.\w+)\(\)`", architecture())
    assert len(named) > 20
    assert set(named) <= defined


def test_the_architecture_page_stays_short() -> None:
    assert architecture().count("\n") <= 220


def identifiers(path: Path) -> set[str]:
    """All names that a module gives or uses, its own included."""
    found = {path.stem}
    for node in nodes(path):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                found.add(name)
    return found


def words(identifier: str) -> list[str]:
    return re.findall(r"[a-z]+|[0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", identifier).lower())


@pytest.mark.parametrize("path", [*PROGRAMS, *MODULES], ids=lambda path: str(path.relative_to(PROJECT)))
def test_names_contain_no_replaced_words(path: Path) -> None:
    replaced = REPLACED_WORDS - ({"exchange"} if str(path).endswith(EXCHANGES_FILES) else set())
    for identifier in identifiers(path):
        parts = words(identifier)
        assert not replaced.intersection(parts), identifier
        assert not set(REPLACED_PAIRS).intersection(itertools.pairwise(parts)), identifier


def sentences(path: Path) -> list[str]:
    """The comments and string literals of a module, except single words, such as keys and stored values."""
    with tokenize.open(path) as file:
        tokens = list(tokenize.generate_tokens(file.readline))
    found = [token.string for token in tokens if token.type == tokenize.COMMENT]
    found += [node.value for node in nodes(path) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [text for text in found if " " in text.strip() and text not in STORED_VALUES]


@pytest.mark.parametrize(
    "path",
    [
        *PROGRAMS,
        PROJECT / "settings.py",
        *MODULES,
    ],
    ids=lambda path: str(path.relative_to(PROJECT)),
)
def test_sentences_contain_no_replaced_words(path: Path) -> None:
    for text in sentences(path):
        assert not REPLACED_IN_TEXTS.search(text), text


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_names_and_docstrings_of_tests_contain_no_replaced_words(path: Path) -> None:
    replaced = REPLACED_WORDS - {"alone"}  # "is left alone" is plain English
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert not replaced.intersection(words(node.name)), node.name
            assert not REPLACED_IN_TEXTS.search(node.name.replace("_", " ")), node.name
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node) or ""
            assert not REPLACED_IN_TEXTS.search(text), text


def test_pages_contain_no_replaced_words() -> None:
    pages = [*PROJECT.glob("docs/*.md"), PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "SECURITY.md"]
    pages += [path for path in PROJECT.rglob("views/**/*") if path.suffix in {".js", ".tpl", ".css"}]
    pages += [path for path in PROJECT.glob("deploy/*") if path.is_file() and path.suffix != ".json"]
    for path in pages:
        if path.name != "openseadragon.js":
            text = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            assert not REPLACED_IN_TEXTS.search(text), (path, REPLACED_IN_TEXTS.search(text))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_modules_of_assetstore_import_neither_the_programs_nor_the_settings_file(path: Path) -> None:
    forbidden = (
        {"server", "settings", "manage"} if path.parent.name == "routes" else {"bottle", "server", "settings", "manage"}
    )
    assert not imported(path) & forbidden


@pytest.mark.parametrize("path", [PROJECT / "server.py", *MODULES], ids=lambda path: str(path.relative_to(PROJECT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 40, node.name


@pytest.mark.parametrize(
    "path",
    [path for folder in ("acceptance", "benchmarks", "script") for path in sorted(PROJECT.glob(f"{folder}/*.py"))],
    ids=lambda path: str(path.relative_to(PROJECT)),
)
def test_benchmarks_and_acceptance_programs_import_only_what_exists(path: Path) -> None:
    # No other test runs them, and the type checker does not read them.
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in (
            "tests",
            "benchmarks",
            "assetstore",
        ):
            module = importlib.import_module(str(node.module))
            for name in [alias.name for alias in node.names if not hasattr(module, alias.name)]:
                importlib.import_module(f"{node.module}.{name}")


def test_each_protocol_of_a_store_has_few_methods() -> None:
    for node in nodes(PACKAGE / "storage/protocols.py"):
        if isinstance(node, ast.ClassDef):
            assert sum(isinstance(child, ast.FunctionDef) for child in node.body) <= 8, node.name


def test_importing_opens_no_files_processes_or_connections(tmp_path: Path) -> None:
    watcher = (
        "import importlib.util, sys\n"
        "def watch(event, arguments):\n"
        "    if event.startswith(('socket.', 'subprocess.', 'os.fork', 'os.mkdir', 'os.remove')):\n"
        "        sys.exit(f'{event} {arguments}')\n"
        "    if event == 'open' and not str(arguments[0]).endswith(('.py', '.pyc', '.so', '.pth', '.zip')):\n"
        "        opened.append(str(arguments[0]))\n"
        "import bottle, defusedxml.ElementTree, exifread, multipart, sh, paste.httpserver\n"
        "has_s3 = importlib.util.find_spec('obstore') and importlib.import_module('obstore.store')\n"
        "opened = []\n"
        "sys.addaudithook(watch)\n"
        "import server, assetstore.storage.disk.store, assetstore.thumbnails.rendering.worker\n"
        "import assetstore.metadata.worker\n"
        "has_s3 and importlib.import_module('assetstore.app.object_storage')\n"
        "print([path for path in opened if not path.isdigit()])\n"
    )
    run = subprocess.run(
        [sys.executable, "-B", "-c", watcher], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout.strip()) == (0, "[]"), run.stderr


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_each_required_library_supports_every_supported_python(name: str) -> None:
    lines = [line.split("#")[0] for line in (PROJECT / name).read_text(encoding="utf-8").splitlines()]
    asked = [Requirement(line) for line in lines if line.strip() and not line.startswith("-r")]
    for library in asked:
        if library.marker is None or library.marker.evaluate():  # it is installed, so its needs are known
            needs = SpecifierSet(importlib.metadata.metadata(library.name).get("Requires-Python", ""))
            for minor in range(11, 14):
                python = {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.9"}
                served = library.marker is None or library.marker.evaluate(python)
                assert not served or needs.contains(f"3.{minor}.9"), f"{library} needs Python {needs}"


if __name__ == "__main__":
    print(drawing())
    for package, others in sorted(package_imports().items()):
        if package not in LEAVES:
            print(f"{package:<12} {', '.join(sorted(others - LEAVES))}")
