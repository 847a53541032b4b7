"""rendering.versions: the versions that the installed tools say they have."""

from pathlib import Path

import pytest

from assetstore.thumbnails.rendering import versions


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(folder: Path, name: str, said: str) -> None:
    (folder / name).write_text(f'#!/bin/sh\n[ "$1" = -version ] && echo "{said}"\n')
    (folder / name).chmod(0o755)


def test_versions_are_those_that_the_tools_print(folder: Path) -> None:
    install(folder, "magick", "Version: ImageMagick 7.1.1-43 Q16 x86_64 https://imagemagick.org")
    install(folder, "gs", "10.05.1")
    assert versions.installed() == {"ImageMagick": "7.1.1-43", "Ghostscript": "10.05.1"}


def test_a_tool_that_is_missing_has_no_version_and_that_of_a_strange_one_is_unknown(folder: Path) -> None:
    install(folder, "gs", "a strange program")
    assert versions.installed() == {"ImageMagick": None, "Ghostscript": ""}
