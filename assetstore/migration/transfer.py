"""Takes one original over: reads it, stores it, and makes sure that the right bytes arrived.

What is done with a file that the target has already:

- It is the version that was copied before, or a copy had only been begun: it is ours, and replaced.
- Any other file is compared. If its bytes are other ones, that is a *conflict*.
- It was copied before, the source has not changed, and it is gone: somebody has deleted it; a conflict, too.

A conflict is left alone unless that is asked for. What is replaced goes to the target's trash.

Concurrency: any number of turns run at the same time, each in one thread. A source that is replaced meanwhile is
read again: what counts is the version that was read. The target's file is looked at once more under its lock, just
before it is replaced.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import UnsupportedOperation

from assetstore.concurrency.rate_limit import Interrupted, RateLimit
from assetstore.errors import AssetError, NotFound, OutOfSpace, StorageFault, Unavailable
from assetstore.migration import outcomes
from assetstore.migration.endpoints import End
from assetstore.migration.state import MigrationState, Result, Task
from assetstore.storage.models import Past, StoredFile

_CHUNK = 1 << 20

#: What opening a file counts for in the pace, in bytes.
_OPENING = 16 << 10

#: A file is tried so often when one side cannot be reached or it changes under our hands; pauses in seconds.
_PAUSES = (0.5, 2.0, 0.0)

#: The checksum of larger files has to be known before their first byte goes to a bucket, to be kept there.
_LARGE = 8 << 20

_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True)
class Rules:
    """How to migrate.

    Fields:
        replaces: whether conflicts are decided for the source.
        trusts_checksums: whether an MD5 that the target itself made of what arrived saves reading it back.
        keeps_trash: whether what is replaced goes to the target's trash.
        collection_dirs: the target's folders of collections by the source's.
    """

    replaces: bool
    trusts_checksums: bool
    keeps_trash: bool
    collection_dirs: Mapping[str, str]


@dataclass(frozen=True)
class Work:
    """What all turns share: both ends, the notebook, the pace, the rules, and who counts bytes of the source."""

    source: End
    target: End
    state: MigrationState
    rate_limit: RateLimit
    rules: Rules
    count: Callable[[int], None]


class _Damaged(StorageFault):
    """The target has other bytes than it was given."""


class _Conflict(Exception):
    """The target has something else, which is not ours; the message says what."""


class _Vanished(Exception):
    """The source no longer has it."""


@dataclass(frozen=True)
class _Digest:
    """What was read: checksums, hexadecimal, and the tag of its version."""

    sha256: str
    md5: str
    tag: str


class Turn:
    """One original's turn.

    Attributes:
        is_cut_off: whether it failed because one side cannot be reached, which is not the file's fault.
    """

    def __init__(self, work: Work, task: Task) -> None:
        self._work = work
        self._task = task
        self._collection_dir = work.rules.collection_dirs[task.collection_dir]
        self.is_cut_off = False
        self._has_begun = False
        self._counted = 0

    def run(self) -> Result:
        """Takes the original over. Raises OutOfSpace (so will the others) and Interrupted."""
        failure: AssetError
        try:
            for pause in _PAUSES:
                try:
                    return self._attempt()
                except (Unavailable, _Damaged) as error:
                    failure = error
                    self._work.rate_limit.ending.wait(pause if isinstance(error, Unavailable) else 0)
            self.is_cut_off = isinstance(failure, Unavailable)
            return self._failed(failure)
        finally:
            self._work.count(self._task.size - self._counted)

    def _attempt(self) -> Result:
        """Tries once. Raises Unavailable and _Damaged: trying again may help."""
        try:
            return self._migrate()
        except _Vanished:
            return Result(outcomes.DELETED, self._task.size)
        except _Conflict as conflict:
            return Result(outcomes.CONFLICT, self._task.size, detail=str(conflict))
        except (OutOfSpace, Unavailable, _Damaged):
            raise
        except AssetError as error:
            return self._failed(error)

    def _failed(self, error: AssetError) -> Result:
        return Result(outcomes.FAILED, self._task.size, detail=f"{error.public} {error.detail}".strip())

    def _migrate(self) -> Result:
        task, rules = self._task, self._work.rules
        if task.target_tag is None:
            if task.note and not (task.is_begun or task.is_changed or rules.replaces):
                raise _Conflict("it was copied before, and has been deleted at the target since")
            return self._copy(outcomes.COPIED)
        if task.intention == "replace":
            return self._copy(outcomes.REPLACED)
        equal = None if self._has_begun else self._compare(outcomes.UNCHANGED if task.is_ours else outcomes.EQUAL)
        if equal is not None:
            return equal
        if not (task.is_ours or task.is_begun or rules.replaces):
            raise _Conflict("the target has other bytes under this name")
        if task.is_begun:
            return self._copy(outcomes.COPIED)
        return self._copy(outcomes.REPAIRED if task.is_ours else outcomes.REPLACED)

    def _compare(self, outcome: str) -> Result | None:
        """Reads both sides; None if they differ."""
        if self._task.size != self._task.target_size:
            return None
        with self._open_source() as stored:
            source = self._digest(stored, self._count)
            size = stored.version.size
        try:
            with self._work.target.storage.open_original(self._collection_dir, self._task.name) as stored:
                _forget_cached(stored)
                target = self._digest(stored)
        except NotFound:
            raise Unavailable("The file was deleted at the target while it was compared.") from None
        if source.sha256 != target.sha256:
            return None
        result = Result(outcome, size, source.sha256, outcomes.READ_BACK)
        self._work.state.finish(self._task, result, (source.tag, target.tag))
        return result

    def _copy(self, outcome: str) -> Result:
        """Copies, and makes sure that it arrived."""
        storage, name = self._work.target.storage, self._task.name
        with self._open_source() as stored:
            past = Past(stored.version.modified_ns, stored.sha256 or self._checksum_in_advance(stored))
            size = stored.version.size
            with storage.receive(self._collection_dir, size, name, past) as incoming:
                source = self._digest(stored, self._count, incoming.write)
                if past.sha256 not in (None, source.sha256):
                    raise StorageFault("The bytes at the source are not those of which it keeps the checksum.")
                incoming.sync(source.sha256)
                with storage.locked_original(self._collection_dir, name):
                    self._refuse_surprise()
                    self._work.state.begin(self._task)
                    self._has_begun = True
                    incoming.commit(self._collection_dir, name, self._work.rules.keeps_trash)
                    arrived = storage.open_original(self._collection_dir, name, not self._work.rules.trusts_checksums)
        with arrived:
            checked = self._check(arrived, source)
        result = Result(outcome, size, source.sha256, checked)
        self._work.state.finish(self._task, result, (source.tag, arrived.version.tag))
        return result

    def _check(self, arrived: StoredFile, source: _Digest) -> str:
        """Says how it was made sure that the right bytes arrived. Raises _Damaged if others did."""
        content = arrived.version.content
        if self._work.rules.trusts_checksums and _MD5.fullmatch(content) and content == source.md5:
            return outcomes.STORED_CHECKSUM
        _forget_cached(arrived)
        if self._digest(arrived).sha256 != source.sha256:
            raise _Damaged("The target does not give back the bytes that it was given.")
        return outcomes.READ_BACK

    def _refuse_surprise(self) -> None:
        """Raises _Conflict if the target's file is not what it was when the lists were made."""
        if self._has_begun:
            return
        try:
            tag = self._work.target.storage.version(self._collection_dir, self._task.name).tag
        except NotFound:
            tag = None
        if tag != self._task.target_tag:
            raise _Conflict("it has changed at the target during this pass")

    def _checksum_in_advance(self, stored: StoredFile) -> str | None:
        if stored.version.size <= _LARGE or not self._work.source.is_disk or self._work.target.is_disk:
            return None
        sha256 = self._digest(stored).sha256
        stored.file.seek(0)
        return sha256

    def _open_source(self) -> StoredFile:
        try:
            return self._work.source.storage.open_original(self._task.collection_dir, self._task.name)
        except NotFound:
            raise _Vanished from None

    def _digest(self, stored: StoredFile, *takers: Callable[..., None]) -> _Digest:
        sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        for data in self._pieces(stored):
            for take in (sha256.update, md5.update, *takers):
                take(data)
            size += len(data)
        if size != stored.version.size:
            raise Unavailable("The file was changed in place while it was read.")
        return _Digest(sha256.hexdigest(), md5.hexdigest(), stored.version.tag)

    def _pieces(self, stored: StoredFile) -> Iterator[bytes]:
        rate_limit = self._work.rate_limit
        rate_limit.spend(_OPENING)
        file = stored.section(0, stored.version.size)
        while True:
            if rate_limit.ending.is_set():
                raise Interrupted
            try:
                data = file.read(_CHUNK)
            except OSError as error:
                raise StorageFault("The file cannot be read.", str(error)) from error
            if not data:
                return
            rate_limit.spend(len(data))
            yield data

    def _count(self, data: bytes) -> None:
        number = min(len(data), self._task.size - self._counted)
        self._counted += number
        self._work.count(number)


def _forget_cached(stored: StoredFile) -> None:
    """Has a file on a disk read from the disk, not from memory where it was just written to."""
    try:
        os.posix_fadvise(stored.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    except (OSError, UnsupportedOperation):
        return
