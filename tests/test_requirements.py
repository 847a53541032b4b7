"""requirements.txt, requirements.lock and pyproject.toml name the same libraries."""

import itertools
import re
import tomllib
from collections.abc import Iterable

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import PROJECT

LOCK = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64", "armv7l")


def requirements(lines: Iterable[str]) -> dict[str, Requirement]:
    found = [Requirement(line.split(" #")[0].strip()) for line in lines if re.match(r"\w", line)]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


DIRECT = requirements((PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines())
LOCKED = requirements(line.removesuffix("\\") for line in LOCK.splitlines())


def installed(chosen: dict[str, Requirement], python: str, machine: str) -> dict[str, str]:
    """The libraries that pip installs there, with their versions."""
    there = {"python_version": python, "python_full_version": f"{python}.5", "platform_machine": machine}
    return {
        name: str(requirement.specifier)
        for name, requirement in chosen.items()
        if requirement.marker is None or requirement.marker.evaluate(there)
    }


@pytest.mark.parametrize(("python", "machine"), [*itertools.product(PYTHONS, MACHINES)])
def test_the_lock_installs_what_requirements_txt_pins(python: str, machine: str) -> None:
    direct, locked = installed(DIRECT, python, machine), installed(LOCKED, python, machine)
    assert {name: locked.get(name) for name in direct} == direct, "run: script/lock"


def test_the_lock_contains_only_required_libraries() -> None:
    entries = re.split(r"^(?=\w)", LOCK, flags=re.M)[1:]
    reasons = {canonicalize_name(Requirement(entry.split("\\")[0]).name): entry.split("# via")[1] for entry in entries}
    for name, reason in reasons.items():
        asking = {canonicalize_name(word) for word in re.findall(r"^\s*#?\s+(\w[\w.-]*)$", reason, re.M)}
        assert ("-r requirements.txt" in reason) == (name in DIRECT), f"{name}; run: script/lock"
        assert asking <= set(LOCKED), f"{name}; run: script/lock"
        assert asking or name in DIRECT, name


def test_every_library_in_the_lock_has_one_version_and_its_hashes() -> None:
    for entry in re.split(r"^(?=\w)", LOCK, flags=re.M)[1:]:
        assert re.match(r"[\w.-]+==[\w.]+ ", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry


def test_the_package_depends_on_exactly_what_requirements_txt_pins() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: asked for name, asked in project["optional-dependencies"].items() if name != "all"}
    asked = requirements([*project["dependencies"], *itertools.chain(*extras.values())])
    assert set(asked) == set(DIRECT)
    for name, requirement in DIRECT.items():
        [pin] = requirement.specifier
        assert asked[name].specifier.contains(pin.version), f"{asked[name]} in pyproject.toml"
    assert project["optional-dependencies"]["all"] == [f"{project['name']}[{','.join(extras)}]"]
