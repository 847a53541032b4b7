"""Mutation testing: tries a random sample of the changes (mutants) that Cosmic Ray can make to some packages.

A mutant is *killed* if a test of its package fails: the tests of `assetstore/auth` are those in `tests/auth`. The code
is changed in a temporary copy of the project. Type annotations are not mutated, because they do nothing. Of each place
in the code, the sample has one mutant at most, because some operators have a dozen replacements. It depends only on the
code, the packages and the seed.
"""

import ast
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import click
from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome

PROJECT = Path(__file__).resolve().parents[1]

#: A mutant may run this many times as long as the tests without mutants, and this many seconds more.
_TIMES, _SECONDS = 4, 30

Position = tuple[int, int]


@click.command()
@click.argument("packages", nargs=-1, required=True)
@click.option("--number", type=click.IntRange(1), default=30, show_default=True, help="Number of mutants to try.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed gives another sample.")
def main(packages: tuple[str, ...], number: int, seed: int) -> int:
    """Changes the code of PACKAGES in one random place at a time, and shows the changes that no test notices.

    PACKAGES are names such as `auth` or `storage`.
    """
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        _copy_project(Path(folder))
        os.chdir(folder)
        seconds = {package: _seconds_of_tests(package) for package in packages}
        places = [place for package in packages for place in _places(package)]
        chance = random.Random(seed)  # noqa: S311 - no secret
        sample = [chance.choice(mutants) for mutants in chance.sample(places, min(number, len(places)))]
        survivors = []
        for count, mutant in enumerate(sample, 1):
            package = Path(mutant.module_path).parts[1]
            result = mutate_and_test([mutant], _test_command(package), _TIMES * seconds[package] + _SECONDS)
            if result.worker_outcome != WorkerOutcome.NORMAL:
                raise click.ClickException(f"{_where(mutant)} could not be tried:\n{result.output}")
            is_killed = result.test_outcome != TestOutcome.SURVIVED
            if not is_killed:
                survivors.append(result.diff)
            click.echo(f"{count}/{len(sample)} {'killed' if is_killed else 'SURVIVED'} {_where(mutant)}")
    for diff in survivors:
        click.echo(f"\n{diff}")
    killed = len(sample) - len(survivors)
    click.echo(f"\n{killed} of {len(sample)} mutants killed ({killed / len(sample):.0%}), in {len(places)} places.")
    return 0


def _copy_project(folder: Path) -> None:
    """Copies the project as it is now, without what git ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True).stdout  # noqa: S603 - constants
    for name in os.fsdecode(listed).split("\0"):
        if name and (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)


def _places(package: str) -> list[list[MutationSpec]]:
    """Returns the mutants of each place in a package, in a fixed order, except those of type annotations."""
    paths = sorted(Path("assetstore", package).rglob("*.py"))
    annotations = {path: _annotations(path) for path in paths}
    with use_db(":memory:", WorkDB.Mode.create) as database:
        init(paths, database, {})
        mutants = [item.mutations[0] for item in database.work_items]
    places: defaultdict[tuple[str, Position], list[MutationSpec]] = defaultdict(list)
    for mutant in sorted(mutants, key=_where):
        begin, end = mutant.start_pos, mutant.end_pos
        if not any(first <= begin and end <= last for first, last in annotations[Path(mutant.module_path)]):
            places[str(mutant.module_path), begin].append(mutant)
    return list(places.values())


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


def _where(mutant: MutationSpec) -> str:
    line, column = mutant.start_pos
    return f"{mutant.module_path}:{line}:{column} {mutant.operator_name.partition('/')[2]} {mutant.occurrence}"


def _test_command(package: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{package}"]
    return shlex.join(command)


def _seconds_of_tests(package: str) -> float:
    """Runs the tests of a package without mutants; returns their duration in seconds. Raises click.ClickException."""
    if not Path("tests", package).is_dir():
        raise click.ClickException(f"There are no tests in tests/{package}.")
    began = time.monotonic()
    command = shlex.split(_test_command(package))
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - only our own tests
    if done.returncode:
        raise click.ClickException(f"The tests of {package} fail without mutants:\n{done.stdout[-2000:]}")
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
