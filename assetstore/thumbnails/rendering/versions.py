"""Versions of the installed tools, determined once for each program file."""

import functools
import os
import re
import subprocess

from assetstore.thumbnails.rendering.tools import GHOSTSCRIPT, IMAGEMAGICK, Tool

_VERSION = re.compile(r"(?:Version: ImageMagick )?([0-9]+(?:\.[0-9]+)+(?:-[0-9]+)?)", re.ASCII)

_SECONDS = 5


def installed() -> dict[str, str | None]:
    """Returns the version of each tool by its title; None if it is not installed, empty if it is unknown."""
    return {tool.title: _version(tool) for tool in (IMAGEMAGICK, GHOSTSCRIPT)}


def _version(tool: Tool) -> str | None:
    path = tool.find()
    try:
        return None if path is None else _asked(path, os.stat(path).st_mtime_ns)
    except OSError:
        return None


@functools.lru_cache(maxsize=16)
def _asked(path: str, _changed_ns: int) -> str:
    # Ghostscript and ImageMagick 6 and 7 all support this option.
    try:
        # Popen is safe in a threaded process: between fork and exec it runs no Python.
        run = subprocess.run(  # noqa: S603 - fixed arguments
            [path, "-version"], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = _VERSION.search(run.stdout)
    return found[1] if found else ""
