"""Runs the tools of the operating system through `sh`, so that a hostile file finds nothing to hold on to.

The original is handed over as an open file (`/dev/fd/N`), never by its name: ImageMagick reads
names as patterns, formats and even options. A tool gets a folder of its own for temporary files
and an environment of our making. It has no time limit here: the pool kills the worker with all
its children when the time is up (`sh` would look at the clock only every tenth of a second).
"""

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sh

from assetstore.errors import AssetError, Unavailable, Unrenderable

_STANDARD_PATH = "/usr/local/bin:/usr/bin:/bin"

#: Holds ImageMagick's policy.xml and the profile of sRGB.
POLICY_FOLDER = Path(__file__).resolve().parent / "policy"

#: Of a tool's complaints, so much is kept.
_LONGEST_COMPLAINT = 4000


@dataclass(frozen=True)
class Tool:
    """A program that the operating system provides.

    Fields:
        title: for people.
        commands: names that it is known by, best first.
        package: of Debian and Ubuntu.
    """

    title: str
    commands: tuple[str, ...]
    package: str

    def find(self) -> str | None:
        """Returns the path of the program, None if it is not installed."""
        for command in self.commands:
            path = shutil.which(command, path=os.environ.get("PATH", _STANDARD_PATH))
            if path:
                return path
        return None


#: `magick` is version 7, `convert` version 6.
IMAGEMAGICK = Tool("ImageMagick", ("magick", "convert"), "imagemagick")
GHOSTSCRIPT = Tool("Ghostscript", ("gs",), "ghostscript")
VIPS = Tool("libvips", ("vipsthumbnail",), "libvips-tools")


@contextmanager
def open_source(path: str) -> Iterator[int]:
    """Opens a file for a tool; gives the number to call it `/dev/fd/NUMBER` by."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.set_inheritable(descriptor, True)
        yield descriptor
    finally:
        os.close(descriptor)


def run(tool: Tool, arguments: Sequence[str], descriptor: int, folder: Path) -> str:
    """Runs a tool and returns what it complained of.

    Parameters:
        tool: which one.
        arguments: of its command line.
        descriptor: the open file that it may read.
        folder: for its temporary files, and its working directory.

    Raises:
        Unavailable: the tool, or its support for the format, is not installed.
        Unrenderable: it failed.
    """
    path = tool.find()
    if path is None:
        raise Unavailable(
            f"The server cannot make this thumbnail: {tool.title} is not installed"
            f" (Debian and Ubuntu package {tool.package}).",
            retry_after=300,
        )
    try:
        finished = sh.Command(path)(
            *arguments,
            _env=_environment(folder),
            _cwd=str(folder),
            _in="",
            _pass_fds={descriptor},
            _tty_out=False,
            _return_cmd=True,
            _truncate_exc=False,
        )
    except sh.ErrorReturnCode as error:  # also when a signal ended it
        raise _explain(tool, error.exit_code, _text(error.stderr)) from None
    return _text(finished.stderr)


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", _STANDARD_PATH),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "MAGICK_TEMPORARY_PATH": str(folder),
        "MAGICK_CONFIGURE_PATH": str(POLICY_FOLDER),
        "VIPS_CONCURRENCY": "1",
        "LC_ALL": "C.UTF-8",
    }


def has_bytes(path: Path) -> bool:
    """Whether there is a file with something in it."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _text(complaint: bytes) -> str:
    return complaint[:_LONGEST_COMPLAINT].decode("utf-8", "replace")


def _explain(tool: Tool, status: int, complaint: str) -> AssetError:
    detail = f"{tool.title} ended with {status}: {complaint}"
    if "no decode delegate" in complaint:
        return Unavailable(
            f"The server's {tool.title} cannot read this format. For HEIC, Debian and Ubuntu have the package"
            " libheif-plugin-libde265.",
            detail,
            retry_after=300,
        )
    if "security policy" in complaint:
        return Unavailable(f"The policy of the server's {tool.title} forbids this format.", detail, retry_after=300)
    if status in (-signal.SIGKILL, -signal.SIGXFSZ):
        # Nobody of us kills a tool alone: this is the system, short of memory, or the limit of output.
        return Unrenderable("The picture is larger than the server may draw.", detail)
    if "password" in complaint.lower():
        return Unrenderable("The PDF is encrypted: it opens with a password only.", detail)
    too_large = ("limit", "exceeds", "cache resources", "memory", "too large")
    if any(word in complaint.lower() for word in too_large):
        return Unrenderable("The picture is larger than the server may draw.", detail)
    return Unrenderable("The file is damaged: the picture cannot be read.", detail)
