"""The administrator's documentation is true: its examples run and print what it shows, and its links lead somewhere."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore import commands
from tests import pictures
from tests.support import KEY, PROJECT, RunningServer

DOCS = {
    name: (PROJECT / "docs" / name).read_text(encoding="utf-8") for name in ("administration.md", "troubleshooting.md")
}
EXAMPLES = re.findall(r"^```console\n(.*?)^```", DOCS["administration.md"], re.M | re.S)

#: What differs from run to run: names that the server's clients make up, checksums, sizes.
VARYING = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "NAME"),
    (r"\b[0-9a-f]{64}\b", "SHA256"),
    (r"(?<=[\t,])[0-9]+(?=[\t,])", "SIZE"),
)


def steps(example: str) -> list[tuple[str, str]]:
    """The commands of an example, each with what it printed."""
    parts = re.split(r"^\$ (.*)\n", example, flags=re.M)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def masked(text: str) -> str:
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return text


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.splitlines()[0][2:])
def test_the_documented_examples_print_what_is_shown(
    start: Callable[..., RunningServer], tmp_path: Path, example: str
) -> None:
    own = {"COLLECTION_DIRS": {"KU Birds": "birds"}} if "collections" in example else {}
    server = start(**own)
    (tmp_path / "specimen.jpg").write_bytes(pictures.jpeg())
    (tmp_path / "photos").mkdir()
    for number in (1, 2):
        (tmp_path / f"photos/KU-{number}.tif").write_bytes(pictures.tiff())
    setting = 'export COLLECTION_DIRS=\'{"KU Birds": "birds"}\'\n' if own else ""
    preparation = (
        f"export BASE_DIR={server.base} KEY={KEY} PORT={server.port}\n{setting}"
        f'manage() {{ {sys.executable} {PROJECT}/manage.py "$@"; }}\n'
    )
    printed = ""
    for command, expected in steps(example):
        names = re.findall(VARYING[0][0] + r"\.jpg", printed)
        command = re.sub(VARYING[0][0] + r"\.jpg", names[0] if names else "none", command)
        script = preparation + command
        run = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
        printed += run.stdout
        assert masked(run.stdout).replace(str(server.port), "8080") == masked(expected), run.stderr


@pytest.mark.parametrize("name", DOCS)
def test_links_have_targets(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", DOCS[name]):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        text = (PROJECT / "docs" / path).read_text(encoding="utf-8") if path else DOCS[name]
        headings = [re.sub(r"[^a-z0-9 _-]", "", line.lower()) for line in re.findall(r"^##+ (.+)$", text, re.M)]
        assert not anchor or anchor in [heading.replace(" ", "-") for heading in headings], target


def test_every_command_is_in_the_documentation() -> None:
    pages = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    for command in commands.MODULES:
        assert re.search(rf"(?:manage|manage\.py) {command}\b", text), command
