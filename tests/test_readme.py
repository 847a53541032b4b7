"""The README is true: its example runs, and it documents every setting as it is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from assetstore.config import loading
from assetstore.config.loading import SETTINGS
from tests import pictures
from tests.support import KEY, PROJECT, RunningServer

README = (PROJECT / "README.md").read_text(encoding="utf-8")
SECTIONS = dict(zip(re.findall(r"^## (.+)$", README, re.M), re.split(r"^## .+$", README, flags=re.M)[1:], strict=True))


TOKEN_FUNCTION = "A first upload"


def console(section: str) -> list[tuple[str, str]]:
    """The commands of a section's terminal example, each with what it printed."""
    block = re.search(r"```console\n(.*?)```", SECTIONS[section], re.S)
    assert block
    steps: list[tuple[str, str]] = []
    for line in block[1].splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], ""))
        elif line.startswith("> "):
            steps[-1] = (steps[-1][0] + "\n" + line[2:], "")
        else:
            steps[-1] = (steps[-1][0], steps[-1][1] + line + "\n")
    return steps


def test_the_first_upload_goes_as_the_readme_shows(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "specimen.jpg").write_bytes(pictures.jpeg())
    steps = console("A first upload")
    script = "set -e\n"
    for command, _ in steps:
        script += command.replace("localhost:8080", f"127.0.0.1:{server.port}") + "\n"
        script += "echo; echo ----\n"
    script = script.replace("the-key-that-the-server-printed", KEY)
    run = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    printed = [part.strip() for part in run.stdout.split("----\n")][: len(steps)]
    assert printed == [expected.strip() for _, expected in steps]
    assert len([expected for _, expected in steps if expected]) == 6


def test_the_restore_drill_goes_as_the_readme_shows(server: RunningServer, tmp_path: Path) -> None:
    number = "40"  # instead of the thousand: starting curl and openssl takes its time
    steps = console("Undo")
    preparation = "\n".join(command for command, _ in console(TOKEN_FUNCTION)[:3])
    manage = f'manage() {{ BASE_DIR={server.base} KEY={KEY} {sys.executable} {PROJECT}/manage.py "$@"; }}'
    script = "\n".join(["set -e", preparation, manage, *(f"{command}\necho; echo ----" for command, _ in steps)])
    script = script.replace("localhost:8080", f"127.0.0.1:{server.port}").replace("seq 1000", f"seq {number}")
    script = script.replace("the-key-that-the-server-printed", KEY)
    run = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    printed = [" ".join(part.split()) for part in run.stdout.split("----\n")][: len(steps)]
    assert printed == [" ".join(expected.split()).replace("1000", number) for _, expected in steps], run.stderr


def documented_settings() -> dict[str, tuple[str, str]]:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.+) \|$", SECTIONS["Settings"], re.M)
    return {name: (default, meaning) for name, default, meaning in rows}


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    assert set(documented_settings()) == set(SETTINGS)


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"CAN_THUMBNAIL"}))
def test_the_documented_default_is_the_default(name: str) -> None:
    default = SETTINGS[name].default
    shown = f'`"{default}"`' if isinstance(default, str) else f"`{default}`"
    assert documented_settings()[name][0] == shown


def test_every_variable_of_the_environment_is_documented() -> None:
    variables = {variable for setting in SETTINGS.values() for variable in setting.other_names}
    for variable in {*variables, loading.PREVIOUS_KEY_VARIABLE}:
        assert f"`{variable}`" in SECTIONS["Settings"]


def test_links_inside_the_readme_lead_somewhere() -> None:
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^##+ (.+)$", README, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif "://" not in target:
            path, _, anchor = target.partition("#")
            headings = re.findall(r"^##+ (.+)$", (PROJECT / path).read_text(encoding="utf-8"), re.M) if anchor else []
            assert (PROJECT / path).exists()
            assert not anchor or anchor in [heading.lower().replace(" ", "-") for heading in headings]


def test_the_compose_file_sets_the_documented_variables() -> None:
    compose = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
    variables = re.findall(r"^      - ([A-Z_]+)=", compose, re.M)
    assert variables == ["SERVER_NAME", "SERVER_PORT", "ATTACHMENT_KEY", "DEBUG_MODE", "SERVER"]
    assert all(f"| `{variable}` |" in SECTIONS["Docker"] for variable in variables)
