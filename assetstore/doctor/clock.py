"""The clocks of this machine and of its disks."""

import contextlib
import ctypes
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from assetstore.config.loading import Settings
from assetstore.doctor.findings import Finding, error, ok, warning

#: Nobody runs this server before it was written.
_EARLIEST = 1_750_000_000

#: So far apart two clocks may be before anybody notices, in seconds.
_APART = 3.0

#: What adjtimex(2) says of a clock that nothing keeps right.
_UNSYNCHRONISED = 5

_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")


def examine(settings: Settings, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Yields what there is to say of the clocks.

    Parameters:
        settings: the effective ones.
        now: this machine's clock, seconds since 1970.
    """
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now()))
    if now() < _EARLIEST:
        yield error(
            "system clock",
            f"This machine believes that it is {shown} UTC.",
            "Specify's uploads are refused, or attachments get wrong dates.",
            "Set the clock; install chrony or systemd-timesyncd.",
        )
    else:
        yield ok("system clock", f"It is {shown} UTC by this machine's clock{_kept_right()}.")
    if settings.base_dir.is_dir():
        yield from _disk(settings.base_dir, now)
        yield from _future(settings.base_dir / settings.orig_dir, now)


def _kept_right() -> str:
    """Says what keeps the clock, as far as that can be read."""
    source = ""
    with contextlib.suppress(OSError):
        source = f" (source {_SOURCE.read_text(encoding='ascii').strip()})"
    library = ctypes.CDLL(None)
    if hasattr(library, "adjtimex"):
        state = library.adjtimex(ctypes.create_string_buffer(512))  # asks only: no mode is set
        if state == _UNSYNCHRONISED:
            # No warning: virtual machines may get the right time from their host.
            return f"{source}; the system does not say that anything keeps it right, so see that NTP runs"
        if state >= 0:
            return f"{source}, which is kept right"
    return source


def _disk(base: Path, now: Callable[[], float]) -> Iterator[Finding]:
    before = now()
    try:
        with tempfile.TemporaryFile(dir=base) as file:
            file.write(b"x")
            file.flush()
            modified = Path(f"/proc/self/fd/{file.fileno()}").stat().st_mtime
    except OSError:
        return  # said already, as a matter of rights
    apart = max(before - modified, modified - now())
    if apart > _APART:
        yield error(
            "disk's clock",
            f"The file server of {base} has another time: {apart:.0f} seconds apart.",
            "Old thumbnails may be taken for new ones, and the trash may be emptied too early or too late.",
            "Let both machines get their time by NTP.",
        )
        return
    yield ok("disk's clock", "The disk stamps files with this machine's time.")


def _future(folder: Path, now: Callable[[], float]) -> Iterator[Finding]:
    if folder.is_dir() and folder.stat().st_mtime > now() + _APART:
        ahead = folder.stat().st_mtime - now()
        yield warning(
            "system clock",
            f"The folder of originals was changed in the future, {ahead:.0f} seconds from now.",
            "This clock is slow, or was fast; uploads may be refused as out of time.",
            "Compare the clock with another one; install chrony or systemd-timesyncd.",
        )
