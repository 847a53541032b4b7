"""Limits that are not settings: fixed, or derived from the machine and from the settings.

They are fields of `Settings`, but are read from neither settings.py nor the environment. Tests replace them.
"""

import contextlib
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_GB = 1_000_000_000
_MIB = 1 << 20

#: The share of the disk that stays free if RESERVED_BYTES is not set, and the most that this may be, in bytes.
_RESERVED_SHARE, _MOST_RESERVED = 0.01, 5 * _GB

#: The share of the disk for pyramids if PYRAMID_BYTES is not set, and the most that this may be, in bytes.
_PYRAMID_SHARE, _MOST_PYRAMIDS = 0.05, 20 * _GB

#: The limit of time for a thumbnail, in seconds, for up to this much RENDER_MEMORY, in MiB. More memory is for larger
#: images, which take longer.
_RENDER_SECONDS, _RENDER_MEMORY = 60, 1024

#: What uploads of a process may store at least before their tokens are known, in bytes, and the share of the disk for
#: those of all processes.
_LEAST_UNVERIFIED, _UNVERIFIED_SHARE = 20 * _GB, 0.1

#: The share of the disk for temporary copies of files in a bucket, of all processes.
_SPOOL_SHARE = 0.5


@dataclass(frozen=True)
class Limits:
    """The limits of one process.

    Fields:
        render_workers: how many thumbnails it renders at the same time.
        render_seconds: the time after which rendering of a thumbnail is cancelled.
        thumbnail_waiters, metadata_waiters, waiters: how many requests may wait for thumbnails, for metadata, and for
            both together; further ones get 503.
        unverified_bytes: how much uploads may store before their tokens are known; one client gets half of it.
        spool_bytes: how much temporary copies of files in a bucket may take.
        cached_sizes: how many sizes of thumbnails are cached in each collection, so that no client can fill the disk
            by requesting one size after the other.
        location_safe_bytes: how much the recipes of location-safe copies may take; a picture has some kilobytes.
        largest_thumbnail: the largest thumbnail in pixels; requests for a larger one get this size.
        silence_seconds: after how many seconds of silence a client's connection is closed.
    """

    render_workers: int
    render_seconds: int
    thumbnail_waiters: int
    metadata_waiters: int
    waiters: int
    unverified_bytes: int
    spool_bytes: int
    cached_sizes: int = 32
    location_safe_bytes: int = 256 << 20
    largest_thumbnail: int = 4000
    silence_seconds: int = 60


@dataclass(frozen=True)
class Machine:
    """What this program may use of the machine, or of its container or service.

    Fields:
        cores: of the processor.
        memory_bytes: the memory.
    """

    cores: int
    memory_bytes: int


def derive(machine: Machine, base: Path, processes: int, threads: int, render_memory: int) -> Limits:
    """Returns the limits of each process.

    Parameters:
        machine: what the program may use.
        base: BASE_DIR, which need not exist yet.
        processes, threads, render_memory: PROCESSES, THREADS and RENDER_MEMORY.
    """
    disk = disk_bytes(base)
    # Rounded, because a machine sold with 4 GB has a little less.
    workers = min(machine.cores, round(machine.memory_bytes / (render_memory * _MIB)))
    return Limits(
        render_workers=max(1, workers // processes),
        render_seconds=max(_RENDER_SECONDS, _RENDER_SECONDS * render_memory // _RENDER_MEMORY),
        # The other threads stay free for everything else (serving/admission.py).
        thumbnail_waiters=max(1, threads // 2),
        metadata_waiters=max(1, threads // 2),
        # Less than the sum: one kind may use most of the threads while few requests of the other kind wait, but neither
        # all of them.
        waiters=max(1, threads // 2) + max(1, threads // 8),
        # The reserve protects the disk; this only keeps strangers from using all of a large one.
        unverified_bytes=max(_LEAST_UNVERIFIED, int(disk * _UNVERIFIED_SHARE) // processes),
        spool_bytes=int(disk * _SPOOL_SHARE) // processes,
    )


def default_reserve(base: Path) -> int:
    """Returns how many bytes of the disk of BASE_DIR stay free if RESERVED_BYTES is not set."""
    return min(_MOST_RESERVED, int(disk_bytes(base) * _RESERVED_SHARE))


def default_pyramid_bytes(base: Path) -> int:
    """Returns how many bytes pyramids may take if PYRAMID_BYTES is not set."""
    return min(_MOST_PYRAMIDS, int(disk_bytes(base) * _PYRAMID_SHARE))


def disk_bytes(base: Path) -> int:
    """Returns the size of the disk on which this folder is, or will be."""
    existing = next(path for path in (base, *base.parents) if path.exists())
    return shutil.disk_usage(existing).total


def this_machine(own_groups: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")) -> Machine:
    """Returns what this process may use: limits of containers and systemd (cgroups of version 2) count.

    Parameters:
        own_groups: names the group of this process.
        groups: the folder with all groups.
    """
    cores, memory = len(os.sched_getaffinity(0)), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = own_groups.read_text(encoding="ascii", errors="replace").splitlines() if own_groups.exists() else []
    own = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    # A limit of a group holds for the groups in it.
    for group in (groups / own, *(groups / parent for parent in Path(own).parents)):
        quota, period = _numbers(group / "cpu.max", (math.inf, 1.0))
        cores = max(1, math.floor(min(cores, quota / period)))
        [most] = _numbers(group / "memory.max", (math.inf,))
        memory = int(min(memory, most))
    return Machine(cores, memory)


def _numbers(file: Path, unlimited: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers in a file of a group; *unlimited* if there is no limit, or no such file."""
    with contextlib.suppress(OSError, ValueError):  # `max` is no number
        numbers = tuple(float(word) for word in file.read_text(encoding="ascii").split())
        return numbers if len(numbers) == len(unlimited) else unlimited
    return unlimited
