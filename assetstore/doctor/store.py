"""Folders, rights and space of a store on disk; of one in object storage, whether it can be written."""

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
from assetstore.errors import AssetError
from assetstore.names import PRIVATE_FOLDER

_MEGABYTE, _GIGABYTE = 1_000_000, 1_000_000_000

#: Less free space than this is next to nothing, in bytes; less than that, and less than a tenth, is little.
_NOTHING, _LITTLE = 200 * _MEGABYTE, 5 * _GIGABYTE

#: So many originals are looked at.
_SAMPLE = 200


def examine(settings: Settings, folder: Path) -> Iterator[Finding]:
    """Yields what there is to say of the store.

    Parameters:
        settings: the effective ones.
        folder: of the program.
    """
    base = settings.base_dir
    if not base.is_dir():
        if base == folder / DEFAULT_BASE_DIR:
            yield ok("folder", f"{base} will be made by the first start.")
            return
        yield error(
            "folder",
            f"There is no folder {base}.",
            "The server does not start; Specify shows no attachments.",
            "Mount its disk, or correct BASE_DIR. If it is new, make it and give it to the server's user.",
        )
        return
    yield from _user(base)
    yield from _collections(settings, folder)
    yield from _writable(base / PRIVATE_FOLDER, base)
    yield from _journal(base / PRIVATE_FOLDER / "journal/journal.sqlite")


def _collections(settings: Settings, folder: Path) -> Iterator[Finding]:
    """The folders of the collections; of a store in object storage, the bucket and what is local all the same."""
    base = settings.base_dir
    try:
        collection_dirs = bootstrap.open_collections(settings).collection_dirs()
    except SettingsError as fault:
        yield error(
            "collections",
            str(fault),
            "A server that runs keeps the collections that it has; it would not start again.",
            "Correct the file; docs/administration.md describes it.",
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
    """The object storage, by storing and removing a little object in each bucket."""
    try:
        bootstrap.open_originals(settings, folder).storage.probe()
    except SettingsError as fault:
        yield error("bucket", str(fault), "The server does not start.", "docs/scaling.md tells what it needs.")
    except AssetError as fault:
        yield error(
            "bucket",
            f"{settings.storage_url}: {fault.public} {fault.detail}",
            "Nothing can be uploaded, and Specify shows no attachments.",
            "Look at STORAGE_URL, STORAGE_ENDPOINT, the AWS_ variables, and what the key may do: docs/scaling.md.",
        )
    else:
        yield ok("bucket", f"{settings.storage_url} can be written.")


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _user(base: Path) -> Iterator[Finding]:
    owner = base.stat().st_uid
    if owner == os.geteuid():
        yield ok("user", "The attachments belong to the user who asks.")
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"number {owner}"
    if os.geteuid() == 0:
        yield warning(
            "user",
            f"You are root, but the attachments belong to the user {name}.",
            "What root can do, the server perhaps cannot: this report may be too good.",
            f"Run doctor as the server's user: runuser -u {name} -- …",
        )
    else:
        yield warning(
            "user",
            f"The attachments belong to the user {name}, and you are another one.",
            "This report tells what you can do, not what the server can.",
            f"Run doctor as the server's user, or give the folder to it: chown -R … {base}",
        )


def _writable(path: Path, base: Path) -> Iterator[Finding]:
    """A folder of the server, and its own folder in it, by writing a file that has no name."""
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
                f"{folder} cannot be written: {fault.strerror}.",
                "Nothing can be uploaded, or no thumbnails appear.",
                f"Give it to the server's user (chown -R), or mount its disk for writing. BASE_DIR is {base}.",
            )
            return
    made = "" if path.exists() else ", where it will be made"
    yield ok("rights", f"{path} can be written{made}.")


def _readable(folder: Path) -> Iterator[Finding]:
    unreadable: list[str] = []
    seen = 0
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, _SAMPLE):
                if entry.is_file(follow_symlinks=False):
                    seen += 1
                    if not os.access(entry.path, os.R_OK):
                        unreadable.append(entry.name)
    except FileNotFoundError:
        return  # it will be made
    except OSError as fault:
        yield error(
            "originals",
            f"{folder} cannot be read: {fault.strerror}.",
            "Attachments may open, but whatever looks through all of them fails: verification, figures, commands.",
            f"Give it to the server's user: chown -R … {folder}",
        )
        return
    if unreadable:
        yield error(
            "originals",
            f"{len(unreadable)} of {seen} files in {folder} cannot be read, such as {unreadable[0]!r}.",
            "Specify shows these attachments as broken.",
            f"Give them to the server's user: chown -R … {folder}",
        )
    elif seen:
        yield ok("originals", f"{seen} files in {folder} can be read.")


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
            "Uploads work, but nobody can say later who changed what, and checksums are not known.",
            f"Stop the server and move {path.parent} away; a new journal begins, and verify --adopt fills it.",
        )
        return
    yield ok("journal", "The journal can be read.")


def _space(folder: Path, reserved: int) -> Iterator[Finding]:
    usage, system = shutil.disk_usage(folder), os.statvfs(folder)
    free = f"{usage.free / _GIGABYTE:.1f} GB of {usage.total / _GIGABYTE:.1f} are free in {folder}"
    remedy = "Make room, or move the attachments to a larger disk. The trash counts, too: manage.py trash list."
    if usage.free <= max(reserved, _NOTHING):
        kept = f", and RESERVED_BYTES keeps {reserved / _GIGABYTE:.1f}" if reserved else ""
        yield error("space", f"The disk is full: {free}{kept}.", "Uploads are refused, or soon will be.", remedy)
    elif usage.free < _LITTLE and usage.free < usage.total / 10:
        yield warning("space", f"The disk is nearly full: {free}.", "Soon nothing more can be uploaded.", remedy)
    else:
        yield ok("space", f"{free}.")
    if system.f_files and system.f_favail < max(1000, system.f_files // 1000):
        yield error(
            "inodes",
            f"The file system of {folder} can hold only {system.f_favail} more files.",
            "Uploads are refused as if the disk were full.",
            "Remove small files, or make a file system with more inodes.",
        )


def _locks(folder: Path) -> Iterator[Finding]:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except OSError as fault:
        if fault.errno in (13, 30):
            return  # said already, as a matter of rights
        yield error(
            "locks",
            f"The file system of {folder} has no file locks: {fault.strerror}.",
            "Two people who change one attachment at the same time may lose a version.",
            "Mount it with locks; for NFS, with version 4.",
        )
        return
    if is_regular:
        yield ok("locks", "The file system has file locks.")
