"""Runs programs of the operating system through `sh`, with as little access as possible for hostile files.

A tool gets the original as an open file (`/dev/fd/N`), never by its name, because ImageMagick interprets names as
patterns, formats and even options. It gets its own folder for temporary files and a minimal environment. It has no time
limit here: `isolation` kills the attempt, and the tool ends with it.
"""

import ctypes
import os
import resource
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sh

from assetstore.errors import AssetError, OutOfSpace, Unavailable
from assetstore.thumbnails.rendering import refusals
from assetstore.thumbnails.rendering.refusals import Refused

_STANDARD_PATH = "/usr/local/bin:/usr/bin:/bin"

#: The folder with ImageMagick's policy.xml and the sRGB profile.
POLICY_FOLDER = Path(__file__).resolve().parent / "policy"

#: Number of bytes of a tool's error output that are read.
_LONGEST_COMPLAINT = 4000

#: If less space than this is free, in bytes, the disk counts as the cause of a failure.
_FULL_DISK = 4 << 20

_MEGABYTE = 1 << 20

_LIBC = ctypes.CDLL(None)

#: prctl(2): the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1

#: Megabytes of address space in addition to the memory limit, because every tool maps its libraries.
_ADDRESS_SPACE_BESIDES = 768


@dataclass(frozen=True)
class Tool:
    """A program that the operating system provides.

    Fields:
        title: the name to show.
        commands: possible command names, best first.
        package: the package of Debian and Ubuntu.
    """

    title: str
    commands: tuple[str, ...]
    package: str

    def find(self) -> str | None:
        """Returns the path of the program, or None if it is not installed."""
        for command in self.commands:
            path = shutil.which(command, path=os.environ.get("PATH", _STANDARD_PATH))
            if path:
                return path
        return None


#: `magick` is version 7, `convert` version 6.
IMAGEMAGICK = Tool("ImageMagick", ("magick", "convert"), "imagemagick")
GHOSTSCRIPT = Tool("Ghostscript", ("gs",), "ghostscript")


@contextmanager
def open_source(path: str) -> Iterator[int]:
    """Opens a file for a tool; yields the descriptor N for its name `/dev/fd/N`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.set_inheritable(descriptor, True)
        yield descriptor
    finally:
        os.close(descriptor)


def run(tool: Tool, arguments: Sequence[str], descriptor: int, folder: Path, megabytes: int) -> str:
    """Runs a tool and returns its error output.

    Parameters:
        tool: the program.
        arguments: arguments of the command line.
        descriptor: the open file that it may read.
        folder: its working directory, also for temporary files.
        megabytes: limit of memory and mapped files; it inherits all other limits (`isolation`).

    Raises:
        Unavailable: the tool, or its support for the format, is not installed.
        Damaged, Refused: it failed.
        OutOfSpace: there is no space for its temporary files.
    """
    path = tool.find()
    if path is None:
        raise Unavailable(
            f"The server cannot render this thumbnail: {tool.title} is not installed"
            f" (Debian and Ubuntu package {tool.package}).",
            retry_after=300,
        )
    complaints = folder / "complaints"
    # A file, not a pipe: a hostile original could make the tool print more than fits into memory.
    with open(os.devnull, "wb") as nowhere, open(complaints, "wb") as output:
        try:
            sh.Command(path)(
                *arguments,
                _env=_environment(folder),
                _cwd=str(folder),
                _in="",
                _out=nowhere,
                _err=output,
                _pass_fds={descriptor},
                _preexec_fn=lambda: _limit_tool(megabytes),
            )
        except sh.ErrorReturnCode as error:  # also when a signal ended it
            raise _explain(tool, error.exit_code, _text(complaints), folder) from None
    return _text(complaints)


def _limit_tool(megabytes: int) -> None:
    # If the attempt is killed, the tool must not go on.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    address_space = (megabytes + _ADDRESS_SPACE_BESIDES) * _MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", _STANDARD_PATH),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "MAGICK_TEMPORARY_PATH": str(folder),
        "MAGICK_CONFIGURE_PATH": str(POLICY_FOLDER),
        "LC_ALL": "C.UTF-8",
    }


def has_bytes(path: Path) -> bool:
    """Whether the file exists and is not empty."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def disk_is_full(folder: Path) -> bool:
    """Whether a failure may come from a lack of space for temporary files."""
    return shutil.disk_usage(folder).free < _FULL_DISK


def _text(complaints: Path) -> str:
    with open(complaints, "rb") as file:
        return file.read(_LONGEST_COMPLAINT).decode("utf-8", "replace")


#: Words in a tool's error output, in lower case, and their meaning; the first match counts.
_MEANINGS: tuple[tuple[tuple[str, ...], type[AssetError], str], ...] = (
    (("no space left",), OutOfSpace, "The server's disk is full; the thumbnail cannot be rendered."),
    (
        ("no decode delegate",),
        Unavailable,
        "The server's {tool} cannot read this format. For HEIC, Debian and Ubuntu have the package"
        " libheif-plugin-libde265.",
    ),
    (("security policy",), Unavailable, "The policy of the server's {tool} forbids this format."),
    (("password",), Refused, "The PDF is encrypted and requires a password."),
    (
        ("limit", "exceeds", "cache resources", "out of memory", "memory allocation", "vmerror", "too large"),
        Refused,
        "The image is too large for the server to render.",
    ),
)


def _explain(tool: Tool, status: int, complaint: str, folder: Path) -> AssetError:
    detail = f"{tool.title} ended with {status}: {complaint}"
    # Negative: it was killed. Positive: ImageMagick handled the signal and exited.
    if abs(status) == signal.SIGXCPU:
        return refusals.too_slow(detail)
    if status == -signal.SIGKILL or abs(status) == signal.SIGXFSZ:
        # The server never kills only the tool: the system lacks memory, or the output reached its limit.
        complaint += "out of memory"
    if disk_is_full(folder):
        complaint += "no space left"
    for words, kind, sentence in _MEANINGS:
        if any(word in complaint.lower() for word in words):
            retry_after = 300 if kind is Unavailable else None
            return kind(sentence.format(tool=tool.title), detail, retry_after=retry_after)
    return refusals.damaged(detail)
