"""Mutation testing: tries a random sample of the changes (mutants) that Cosmic Ray can make to the code.

A mutant is *killed* if a test of its module fails, or if these tests do not end; `tests_of` says which tests belong to
a module. The code is changed in a copy of the project. Type annotations are not mutated, because they do nothing. Of
each place in the code, the sample has one mutant at most, because some operators have a dozen replacements. It depends
only on the code, the packages and the seed.

With `--folder`, the copy, the sample and the results are stored there, so that a run can be interrupted, or divided by
`--seconds`, and continued by the same command.
"""

import ast
import contextlib
import difflib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from cosmic_ray.commands import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db

PROJECT = Path(__file__).resolve().parents[1]

KILLED, TIMED_OUT, SURVIVED = "killed", "timed out", "survived"

#: A mutant may run this many times as long as the tests without mutants, and this many seconds more.
_TIMES, _SECONDS = 4, 30

#: How long tests that are interrupted may take to end the programs that they started, in seconds.
_ENDING_SECONDS = 30

#: Tests of a package or a module besides those in the folder that mirrors it.
_TESTS_BESIDES = {
    "server.py": ("test_server.py", "test_clients.py"),
    "app": ("test_server.py", "test_processes.py"),
    "client": ("commands/test_client_commands.py",),
    "commands/bags.py": ("bags/test_bags.py",),
    "commands/doctor.py": ("doctor/test_doctor.py",),
    "commands/migrate.py": ("migration/test_migrate.py",),
    "commands/names.py": ("originals/test_renaming.py",),
    "commands/reconcile.py": ("specify/test_reconcile.py",),
    "concurrency/retry_budget.py": ("storage/s3/test_faults.py",),
    "concurrency/worker_process.py": ("metadata/test_service.py",),
    "config/credentials.py": ("storage/s3/test_s3.py",),
    "errors.py": ("test_server.py",),
    "http": ("test_server.py",),
    "monitoring": ("routes/test_status.py",),
    "monitoring/readiness.py": ("serving/test_tls.py",),
    "originals/trash_selection.py": ("routes/test_status.py",),
    "programs.py": ("test_package.py",),
    "routes": ("test_server.py", "test_status_page.py"),
    "serving": ("test_live.py",),
    "thumbnails": ("test_zoo.py", "commands/test_thumbnails.py"),
    "thumbnails/prune.py": ("commands/test_thumbnails.py",),
    "thumbnails/rendering/full_pages.py": ("routes/test_iiif.py", "iiif/test_pyramids.py"),
    "thumbnails/rendering/pages.py": ("routes/test_iiif.py", "iiif/test_pyramids.py"),
    "thumbnails/rendering/pyramids.py": ("routes/test_iiif.py", "iiif/test_pyramids.py"),
    "thumbnails/rendering/regions.py": ("routes/test_iiif.py",),
    "thumbnails/rendering/zooming.py": ("routes/test_iiif.py", "iiif/test_pyramids.py"),
    "thumbnails/trashed.py": ("routes/test_status.py",),
    "thumbnails/warm.py": ("commands/test_thumbnails.py",),
}

Position = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """A change: the operator of Cosmic Ray, its arguments, and which of its occurrences in the module."""

    module: str
    line: int
    column: int
    operator: str
    arguments: dict[str, object]
    occurrence: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line}:{self.column} {self.operator.partition('/')[2]} {self.occurrence}"


@click.command()
@click.argument("packages", nargs=-1)
@click.option("--number", type=click.IntRange(1), default=30, show_default=True, help="Number of mutants to try.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed gives another sample.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep copy and results here, and continue from them.")
@click.option("--seconds", type=int, help="Begin no mutant after this many seconds.")
@click.option("--files", type=int, help="Run at most this many files of tests, those that are most likely to notice.")
@click.option("--again", is_flag=True, help="First forget the survivors in the folder, and take the tests of now.")
def main(  # noqa: PLR0917 - click calls a command with all its options
    packages: tuple[str, ...],
    number: int,
    seed: int,
    folder: Path | None,
    seconds: int | None,
    files: int | None,
    again: bool,
) -> None:
    """Changes the code in one random place at a time, and shows the changes that no test notices.

    PACKAGES are names such as `auth`, `storage/s3` or `server.py`; without any, all code is changed.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutation-")))
        run = Run(folder.resolve(), packages, number, seed, files)
        run.prepare(again)
        run.go_on(time.monotonic() + seconds if seconds is not None else None)
        run.report()


class Run:
    """A sample, and the results so far."""

    def __init__(self, folder: Path, packages: tuple[str, ...], number: int, seed: int, files: int | None) -> None:
        self._folder, self._files = folder, files
        self._packages, self._number, self._seed = packages, number, seed
        self._code, self._copy = folder / "code", folder / "copy"
        self._results = folder / "results.jsonl"
        self._durations = folder / "durations.json"

    def prepare(self, again: bool) -> None:
        """Makes the copy that is changed; its code stays that of the first run, to which the sample belongs."""
        if not self._code.exists():
            _copy_project(self._folder / "incomplete")
            (self._folder / "incomplete").rename(self._code)
        if again:
            kept = [line for line in self._lines() if line["outcome"] != SURVIVED]
            self._results.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            shutil.rmtree(self._code / "tests")
            shutil.copytree(PROJECT / "tests", self._code / "tests", ignore=shutil.ignore_patterns("__pycache__"))
            self._durations.unlink(missing_ok=True)
        shutil.rmtree(
            self._copy, ignore_errors=True
        )  # the last run may have been interrupted in the middle of a change
        shutil.copytree(self._code, self._copy)
        os.chdir(self._copy)

    def go_on(self, end: float | None) -> None:
        """Tries the mutants without a result, until *end* of the monotonic clock. Raises click.ClickException."""
        done = {line["mutant"] for line in self._lines()}
        sample = self._sample()
        for count, mutant in enumerate(sample, 1):
            if str(mutant) in done:
                continue
            if end is not None and time.monotonic() > end:
                return
            outcome, reason, diff = self._try(mutant)
            click.echo(f"{count}/{len(sample)} {outcome} {mutant}")
            line = {"mutant": str(mutant), "module": mutant.module, "outcome": outcome, "reason": reason, "diff": diff}
            with self._results.open("a", encoding="utf-8") as results:
                results.write(json.dumps(line) + "\n")

    def report(self) -> None:
        """Prints the survivors and the figures."""
        lines = list(self._lines())
        for line in lines:
            if line["outcome"] == SURVIVED:
                click.echo(f"\n{line['diff']}")
        figures: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for line in lines:
            figures[_package(line["module"])][line["outcome"]] += 1
        click.echo(f"\n| Package | {KILLED} | {TIMED_OUT} | {SURVIVED} |\n|---|---|---|---|")
        for package, counts in sorted(figures.items()):
            click.echo(f"| {package} | {' | '.join(str(counts[name]) for name in (KILLED, TIMED_OUT, SURVIVED))} |")
        noticed = sum(line["outcome"] != SURVIVED for line in lines)
        share = f" ({noticed / len(lines):.0%})" if lines else ""
        click.echo(f"\n{noticed} of {len(lines)} mutants killed{share}; the sample has {len(self._sample())}.")

    def _lines(self) -> Iterator[dict[str, str]]:
        if self._results.exists():
            for line in self._results.read_text(encoding="utf-8").splitlines():
                yield json.loads(line)

    def _sample(self) -> list[Mutant]:
        path = self._folder / "sample.json"
        if not path.exists():
            places = _places(self._packages)
            chance = random.Random(self._seed)  # noqa: S311 - no secret
            chosen = [chance.choice(mutants) for mutants in chance.sample(places, min(self._number, len(places)))]
            path.write_text(json.dumps([asdict(mutant) for mutant in chosen]), encoding="utf-8")
        return [Mutant(**fields) for fields in json.loads(path.read_text(encoding="utf-8"))]

    def _try(self, mutant: Mutant) -> tuple[str, str, str]:
        """Returns the outcome, the test that failed, and the change."""
        tests = tests_of(mutant.module)
        limit = _TIMES * self._usual_seconds(_package(mutant.module), tests) + _SECONDS
        tests = tests[: self._files]
        with use_mutation(
            Path(mutant.module), get_operator(mutant.operator)(**mutant.arguments), mutant.occurrence
        ) as (before, after):
            if after is None:
                raise click.ClickException(f"{mutant} does not exist.")
            outcome, output = _run(tests, limit)
        names = (f"a/{mutant.module}", f"b/{mutant.module}")
        diff = "\n".join(difflib.unified_diff(before.split("\n"), after.split("\n"), *names, lineterm=""))
        reason = re.search(r"^(?:FAILED|ERROR) .*", output, re.MULTILINE)
        return outcome, reason[0] if reason else output[-300:] if outcome == KILLED else "", diff

    def _usual_seconds(self, package: str, tests: list[str]) -> float:
        """Returns the duration of the tests of a package without mutants. Raises click.ClickException if they fail."""
        known = json.loads(self._durations.read_text(encoding="utf-8")) if self._durations.exists() else {}
        if package not in known:
            began = time.monotonic()
            outcome, output = _run(tests, None)
            if outcome != SURVIVED:
                raise click.ClickException(f"The tests of {package} fail without mutants:\n{output[-2000:]}")
            known[package] = time.monotonic() - began
            self._durations.write_text(json.dumps(known), encoding="utf-8")
        return float(known[package])


def tests_of(module: str) -> list[str]:
    """Returns the tests of a module, the most likely to notice a change first.

    These are the tests in the folder that mirrors its folder, and in the folders above; first the file of its name and
    those that mention it. Then come tests of whole programs.
    """
    path, package, below = Path(module), _package(module), module.removeprefix("assetstore/")
    name = re.compile(rf"\b{re.escape(path.stem)}\b")

    def likely(test: Path) -> tuple[bool, bool, int]:
        words = test.read_text(encoding="utf-8")
        return test.stem != f"test_{path.stem}", test.parent.name != path.parent.name, -len(name.findall(words))

    mirrors = [Path("tests", *parent.parts[1:]) for parent in path.parents if len(parent.parts) > 1]
    found = sorted(mirrors[0].rglob("test_*.py")) if mirrors else []
    found += [test for mirror in mirrors[1:] for test in sorted(mirror.glob("test_*.py"))]
    found = sorted(found or sorted(Path("tests", package).rglob("test_*.py")), key=likely)
    found += [test for test in [Path("tests", f"test_{path.stem}.py")] if package == path.name and test.exists()]
    own, shared = ([Path("tests", test) for test in _TESTS_BESIDES.get(key, ())] for key in (below, package))
    found = [*found, *shared] if below == package else [*own, *found, *shared]
    if not found:
        raise click.ClickException(f"There are no tests of {module}.")
    return [str(test) for test in dict.fromkeys(found)]


def _package(module: str) -> str:
    """The package of a module below assetstore/; its own name if it is in none."""
    return module.removeprefix("assetstore/").partition("/")[0]


def _run(tests: list[str], seconds: float | None) -> tuple[str, str]:
    """Runs tests until one fails; returns the outcome and what they print."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-rfE", "--tb=no", "-p", "no:cacheprovider", *tests]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(  # noqa: S603 - only our own tests
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=seconds)
        return KILLED if process.returncode else SURVIVED, output
    except subprocess.TimeoutExpired:
        return TIMED_OUT, ""
    finally:
        _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    """Ends tests and the programs that they started."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_ENDING_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _copy_project(folder: Path) -> None:
    """Copies the project as it is now, without what git ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True).stdout  # noqa: S603 - constants
    for name in os.fsdecode(listed).split("\0"):
        if name and (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)


def _places(packages: tuple[str, ...]) -> list[list[Mutant]]:
    """Returns the mutants of each place in some packages, in a fixed order, except those of type annotations."""
    roots = [Path("server.py" if name == "server.py" else f"assetstore/{name}") for name in packages]
    roots = roots or [Path("assetstore"), Path("server.py")]
    paths = sorted({path for root in roots for path in ([root] if root.is_file() else root.rglob("*.py"))})
    annotations = {str(path): _annotations(path) for path in paths}
    with use_db(":memory:", WorkDB.Mode.create) as database:
        init(paths, database, {})
        specs = [item.mutations[0] for item in database.work_items]
    places: defaultdict[tuple[str, Position], list[Mutant]] = defaultdict(list)
    for spec in specs:
        module, begin, end = str(spec.module_path), spec.start_pos, spec.end_pos
        if not any(first <= begin and end <= last for first, last in annotations[module]):
            mutant = Mutant(module, *begin, spec.operator_name, dict(spec.operator_args), spec.occurrence)
            places[module, begin].append(mutant)
    return [sorted(places[place], key=str) for place in sorted(places)]


def _annotations(path: Path) -> list[tuple[Position, Position]]:
    """The begin and end of each type annotation in a module, as lines and columns."""
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(returns=annotation) | ast.arg(annotation=annotation):
                found.append(annotation)
            case ast.AnnAssign(annotation=annotation):
                found.append(annotation)
    return [
        ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)) for node in found if node
    ]


if __name__ == "__main__":
    main()
