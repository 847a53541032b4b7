"""README, docs/recovery.md and docs/settings.md are true: their examples run, and every setting is described."""

import re
import subprocess
import sys
from pathlib import Path

from assetstore.config import loading
from assetstore.config.loading import SETTINGS
from assetstore.fixity.verification import MEANINGS
from script import settings_doc
from tests.support import KEY, PROJECT, RunningServer

README = (PROJECT / "README.md").read_text(encoding="utf-8")
RECOVERY = (PROJECT / "docs/recovery.md").read_text(encoding="utf-8")
INSTALL = (PROJECT / "docs/install.md").read_text(encoding="utf-8")
SETTINGS_PAGE = (PROJECT / "docs/settings.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def console(text: str) -> list[tuple[str, str]]:
    """The commands of a section's terminal example, each with what it printed."""
    block = re.search(r"```console\n(.*?)```", text, re.S)
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


def blocks(text: str, language: str) -> list[str]:
    """The contents of the blocks of a section."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


(FIRST_UPLOAD,) = blocks(section(README, "First upload"), "sh")
(FIRST_UPLOAD_PRINTS,) = blocks(section(README, "First upload"), "text")


def test_the_readme_is_short() -> None:
    assert README.count("\n") <= 150


def with_server(commands: str, server: RunningServer) -> str:
    commands = commands.replace("localhost:8080", f"127.0.0.1:{server.port}")
    return commands.replace("$(cat attachments/.asset-server/key)", KEY)


def test_the_first_upload_works_as_the_readme_shows(server: RunningServer) -> None:
    script = "set -e\n" + with_server(FIRST_UPLOAD, server)
    run = subprocess.run(["bash", "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stdout == FIRST_UPLOAD_PRINTS


def test_the_blocks_of_the_readme_can_be_pasted() -> None:
    for block in blocks(README, "sh"):
        assert not re.search(r"^[$>#] ", block, re.M), "no prompts"
        assert not re.search(r"<[a-z ]+>", block), "nothing to replace"
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    assert "```console" not in README


def test_the_restore_drill_works_as_documented(server: RunningServer, tmp_path: Path) -> None:
    number = "40"  # instead of the thousand: starting curl and openssl takes its time
    steps = console(section(RECOVERY, "Restore drill"))
    preparation = with_server(FIRST_UPLOAD.split("sample=")[0], server)
    manage = f'manage() {{ BASE_DIR={server.base} KEY={KEY} {sys.executable} {PROJECT}/manage.py "$@"; }}'
    script = "\n".join(["set -e", preparation, manage, *(f"{command}\necho; echo ----" for command, _ in steps)])
    script = with_server(script, server).replace("seq 1000", f"seq {number}")
    run = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    printed = [" ".join(part.split()) for part in run.stdout.split("----\n")][: len(steps)]
    assert printed == [" ".join(expected.split()).replace("1000", number) for _, expected in steps], run.stderr


def test_every_finding_of_verify_is_described() -> None:
    assert re.findall(r"^\| (\w+) \|", section(RECOVERY, "Checksums"), re.M)[1:] == list(MEANINGS)


def test_the_settings_page_is_up_to_date() -> None:
    assert settings_doc.page() == SETTINGS_PAGE, "run: .venv/bin/python -m script.settings_doc"


def test_every_setting_is_described_once() -> None:
    headings = re.findall(r"^### (.+)$", SETTINGS_PAGE, re.M)
    described = [name for heading in headings for name in heading.split(", ")]
    assert sorted(described) == sorted(SETTINGS)


def test_every_environment_variable_is_described() -> None:
    variables = {variable for setting in SETTINGS.values() for variable in setting.other_names}
    for variable in {*variables, loading.PREVIOUS_KEY_VARIABLE}:
        assert f"`{variable}`" in SETTINGS_PAGE


def test_links_in_the_readme_have_targets() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = PROJECT / (path or "README.md")
        assert file.exists(), target
        headings = re.findall(r"^##+ (.+)$", file.read_text(encoding="utf-8"), re.M) if anchor else []
        assert not anchor or anchor in [heading.lower().replace(" ", "-") for heading in headings], target


def test_the_readme_names_every_document() -> None:
    assert [path.name for path in (PROJECT / "docs").glob("*.md") if f"](docs/{path.name})" not in README] == []


def test_the_compose_file_sets_the_documented_variables() -> None:
    compose = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
    variables = re.findall(r"^      - ([A-Z_]+)=", compose, re.M)
    assert variables == ["SERVER_NAME", "SERVER_PORT", "ATTACHMENT_KEY", "DEBUG_MODE", "SERVER"]
    assert all(f"| `{variable}` |" in section(README, "Docker") for variable in variables[:4])
    passed_on = re.findall(r"^      - ([A-Z_]+)$", compose, re.M)
    assert all(f"`{variable}`" in section(INSTALL, "Docker") for variable in [variables[4], *passed_on])
