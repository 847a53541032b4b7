"""Checks the clocks of this machine and of its disks."""

import contextlib
import ctypes
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from assetstore.config.loading import Settings
from assetstore.doctor.findings import Finding, error, ok, warning

#: A date before the first version of this server, so a clock that shows an earlier time is wrong.
_EARLIEST = 1_750_000_000

#: Smaller differences between two clocks are ignored, in seconds.
_APART = 3.0

#: The state that adjtimex(2) returns for an unsynchronized clock.
_UNSYNCHRONISED = 5

_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")


def examine(settings: Settings, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Yields findings about the clocks.

    Parameters:
        settings: the effective ones.
        now: this machine's clock, seconds since 1970.
    """
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now()))
    if now() < _EARLIEST:
        yield error(
            "system clock",
            f"This machine's clock shows {shown} UTC, which is wrong.",
            "Uploads from Specify are rejected, or attachments get wrong dates.",
            "Set the clock, and install chrony or systemd-timesyncd.",
        )
    else:
        yield ok("system clock", f"This machine's clock shows {shown} UTC{_synchronization()}.")
    if settings.base_dir.is_dir():
        yield from _disk(settings.base_dir, now)
        yield from _future(settings.base_dir / settings.orig_dir, now)


def _synchronization() -> str:
    """Describes how the clock is synchronized, as far as the system reports it."""
    source = ""
    with contextlib.suppress(OSError):
        source = f" (source {_SOURCE.read_text(encoding='ascii').strip()})"
    library = ctypes.CDLL(None)
    if hasattr(library, "adjtimex"):
        state = library.adjtimex(ctypes.create_string_buffer(512))  # only reads: no mode is set
        if state == _UNSYNCHRONISED:
            # No warning: virtual machines may get the correct time from their host.
            return f"{source}; the system reports no synchronization, so check that NTP is running"
        if state >= 0:
            return f"{source}, synchronized"
    return source


def _disk(base: Path, now: Callable[[], float]) -> Iterator[Finding]:
    before = now()
    try:
        with tempfile.TemporaryFile(dir=base) as file:
            file.write(b"x")
            file.flush()
            modified = Path(f"/proc/self/fd/{file.fileno()}").stat().st_mtime
    except OSError:
        return  # already reported by the check of permissions
    apart = max(before - modified, modified - now())
    if apart > _APART:
        yield error(
            "disk's clock",
            f"The clock of the file server of {base} differs by {apart:.0f} seconds.",
            "Outdated thumbnails may be served, and the trash may be purged too early or too late.",
            "Synchronize both clocks by NTP.",
        )
        return
    yield ok("disk's clock", "Files on the disk get this machine's time.")


def _future(folder: Path, now: Callable[[], float]) -> Iterator[Finding]:
    if folder.is_dir() and folder.stat().st_mtime > now() + _APART:
        ahead = folder.stat().st_mtime - now()
        yield warning(
            "system clock",
            f"The modification time of the folder of originals is {ahead:.0f} seconds in the future.",
            "This machine's clock is slow now, or was fast earlier. Uploads may be rejected as expired.",
            "Check the clock, and install chrony or systemd-timesyncd.",
        )
