"""Checks the folders, permissions and free space of a store on disk, and write access to object storage."""

import contextlib
import fcntl
import os
import pwd
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from assetstore.app import bootstrap
from assetstore.config.loading import DEFAULT_BASE_DIR, Settings, SettingsError
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.errors import AssetError, ClockSkew
from assetstore.names import PRIVATE_FOLDER, is_store_name, spelled
from assetstore.programs import admin_name

_MEGABYTE, _GIGABYTE = 1_000_000, 1_000_000_000

#: Free space, in bytes, below which the disk counts as full, or (if also below a tenth of the disk) as nearly full.
_NOTHING, _LITTLE = 200 * _MEGABYTE, 5 * _GIGABYTE

#: How many originals are checked.
_SAMPLE = 200


def examine(settings: Settings, folder: Path) -> Iterator[Finding]:
    """Yields findings about the store.

    Parameters:
        settings: the effective ones.
        folder: the program's folder.
    """
    base = settings.base_dir
    if not base.is_dir():
        if base == folder / DEFAULT_BASE_DIR:
            yield ok("folder", f"{base} will be created by the first start.")
            return
        yield error(
            "folder",
            f"There is no folder {base}.",
            "The server does not start; Specify shows no attachments.",
            "Mount its disk, or correct BASE_DIR. For a new installation, create it, owned by the server's user.",
        )
        return
    yield from _user(base)
    yield from _collections(settings, folder)
    yield from _writable(base / PRIVATE_FOLDER, base)
    yield from _journal(base / PRIVATE_FOLDER / "journal/journal.sqlite")


def _collections(settings: Settings, folder: Path) -> Iterator[Finding]:
    """The collection folders; for object storage, the bucket and the folders that are still local."""
    base = settings.base_dir
    try:
        collection_dirs = bootstrap.open_collections(settings).collection_dirs()
    except SettingsError as fault:
        yield error(
            "collections",
            str(fault),
            "A running server keeps its current collections, but cannot restart.",
            "Correct the file, as described in docs/administration.md.",
        )
        collection_dirs = []
    if settings.storage_url is not None:
        yield from _bucket(settings, folder)
        yield from _space(base, 0)
        yield from _locks(base)
        return
    for collection_dir in collection_dirs:
        for name in (settings.orig_dir, settings.thumb_dir):
            yield from _writable(base / collection_dir / name, base)
        yield from _readable(base / collection_dir / settings.orig_dir)
    for path in {_existing(base / collection_dir / settings.orig_dir) for collection_dir in collection_dirs}:
        yield from _space(path, settings.reserved_bytes)
        yield from _locks(path)


def _bucket(settings: Settings, folder: Path) -> Iterator[Finding]:
    """The object storage, by storing and deleting a small object in each bucket."""
    try:
        bootstrap.open_originals(settings, folder).space.probe()
    except SettingsError as fault:
        yield error("bucket", str(fault), "The server does not start.", "See docs/scaling.md for the requirements.")
    except ClockSkew as fault:
        yield error(
            "bucket",
            f"{settings.storage_url}: {fault.public}",
            "The storage rejects all requests, and tokens of clients may be rejected, too.",
            "Synchronize the clock of this machine by NTP (timedatectl shows its state), or that of the storage.",
        )
    except AssetError as fault:
        yield error(
            "bucket",
            f"{settings.storage_url}: {fault.public} {fault.detail}",
            "Nothing can be uploaded, and Specify shows no attachments.",
            "Check STORAGE_URL, STORAGE_ENDPOINT, the AWS_ variables, and the key's permissions (docs/scaling.md).",
        )
    else:
        yield ok("bucket", f"{settings.storage_url} is writable.")


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _user(base: Path) -> Iterator[Finding]:
    owner = base.stat().st_uid
    if owner == os.geteuid():
        yield ok("user", "The attachments belong to the current user.")
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"with ID {owner}"
    if os.geteuid() == 0:
        yield warning(
            "user",
            f"doctor runs as root, but the attachments belong to the user {name}.",
            "The server may lack permissions that root has, so this report may miss problems.",
            f"Run doctor as the server's user: runuser -u {name} -- …",
        )
    else:
        yield warning(
            "user",
            f"The attachments belong to the user {name}, and doctor runs as another user.",
            "This report shows the permissions of the current user, not those of the server.",
            f"Run doctor as the server's user, or change the owner of the folder: chown -R … {base}",
        )


def _writable(path: Path, base: Path) -> Iterator[Finding]:
    """A folder and the server's private folder in it, by writing a temporary file without a name."""
    existing = _existing(path)
    tried = [existing]
    if path.exists() and path.name != PRIVATE_FOLDER and (path / PRIVATE_FOLDER).exists():
        tried.append(path / PRIVATE_FOLDER)
    for folder in tried:
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
        except OSError as fault:
            yield error(
                "rights",
                f"{folder} is not writable: {fault.strerror}.",
                "Uploads fail, or no thumbnails appear.",
                f"Change its owner to the server's user (chown -R), or mount it read-write. BASE_DIR is {base}.",
            )
            return
    found = f"{path} is writable." if path.exists() else f"{path} does not exist yet, but can be created."
    yield ok("rights", found)


def _readable(folder: Path) -> Iterator[Finding]:
    unreadable: list[str] = []
    unreachable: list[str] = []
    seen = 0
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, _SAMPLE):
                if entry.is_file(follow_symlinks=False):
                    seen += 1
                    if not is_store_name(entry.name):
                        unreachable.append(spelled(entry.name))
                    if not os.access(entry.path, os.R_OK):
                        unreadable.append(entry.name)
    except FileNotFoundError:
        return  # the server will create it
    except OSError as fault:
        yield error(
            "originals",
            f"{folder} cannot be read: {fault.strerror}.",
            "Attachments may open, but verification, metrics and commands that list all files fail.",
            f"Change its owner to the server's user: chown -R … {folder}",
        )
        return
    if unreadable:
        yield error(
            "originals",
            f"Files in {folder} that cannot be read: {len(unreadable)} of {seen}, such as {unreadable[0]!r}.",
            "Specify shows these attachments as broken.",
            f"Change their owner to the server's user: chown -R … {folder}",
        )
    elif seen:
        yield ok("originals", f"The files in {folder} are readable (checked: {seen}).")
    if unreachable:
        yield warning(
            "names",
            f"Files in {folder} whose names no client can request: {len(unreachable)}, such as {unreachable[0]}.",
            "Specify cannot show these files.",
            f"{admin_name()} names repair --dry-run shows better names; without --dry-run, it renames the files.",
        )


def _journal(path: Path) -> Iterator[Finding]:
    if not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as journal:
            journal.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as fault:
        yield error(
            "journal",
            f"{path} cannot be read: {fault}.",
            "Uploads work, but changes and checksums are not recorded.",
            f"Stop the server and move {path.parent} away. Start it, then run verify --adopt to fill the new journal.",
        )
        return
    yield ok("journal", "The journal is readable.")


def _space(folder: Path, reserved: int) -> Iterator[Finding]:
    usage, system = shutil.disk_usage(folder), os.statvfs(folder)
    free = f"{usage.free / _GIGABYTE:.1f} of {usage.total / _GIGABYTE:.1f} GB are free in {folder}"
    trash = f"{admin_name()} trash list"
    remedy = f"Free space, for example in the trash ({trash}), or move the attachments to a larger disk."
    if usage.free <= max(reserved, _NOTHING):
        reserve = f", of which RESERVED_BYTES reserves {reserved / _GIGABYTE:.1f} GB" if reserved else ""
        yield error("space", f"The disk is full: {free}{reserve}.", "Uploads are rejected, or soon will be.", remedy)
    elif usage.free < _LITTLE and usage.free < usage.total / 10:
        yield warning("space", f"The disk is nearly full: {free}.", "Uploads will soon be rejected.", remedy)
    else:
        yield ok("space", f"{free}.")
    if system.f_files and system.f_favail < max(1000, system.f_files // 1000):
        yield error(
            "inodes",
            f"The file system of {folder} has room for only {system.f_favail} more files (inodes).",
            "Uploads will be rejected as if the disk were full.",
            "Remove small files, or create a file system with more inodes.",
        )


def _locks(folder: Path) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except OSError as fault:
        if fault.errno in (13, 30):
            return  # already reported by the check of permissions
        yield error(
            "locks",
            f"The file system of {folder} does not support file locks: {fault.strerror}.",
            "If two users change an attachment at the same time, a version may be lost.",
            "Mount it with lock support; for NFS, use version 4.",
        )
        return
    if is_regular:
        yield ok("locks", "The file system supports file locks.")
