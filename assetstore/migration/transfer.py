"""Transfers one original: reads it, stores it, and verifies the copy.

If the target already has a file of that name:

- If it is the version that an earlier pass copied, or an interrupted copy, it is ours, and replaced.
- Any other file is compared. If its content differs, that is a *conflict*.

If an earlier pass copied the file, the source has not changed, and the target no longer has the file, it was deleted
there. That is a conflict, too.

Files in conflict are left alone unless their replacement was requested. Replaced files are moved to the target's trash.

Concurrency: any number of transfers run at the same time, each in one thread. If the source is replaced, or edited in
place, in the meantime, it is read again; the version that was read counts. The target's file is checked again under its
lock by each attempt, just before it is replaced: it must be the one that was listed, or that an earlier attempt stored.
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

#: How many bytes opening a file counts for in the rate limit.
_OPENING = 16 << 10

#: Pauses after each attempt, in seconds, if a side is unreachable or the file changes while it is read.
_PAUSES = (0.5, 2.0, 0.0)

#: Larger files are uploaded to a bucket in parts. To store their checksum there, it has to be known in advance.
_LARGE = 8 << 20

_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True)
class Rules:
    """How to migrate.

    Fields:
        replaces: whether the source's file replaces the target's in a conflict.
        trusts_checksums: whether the target's own MD5 of a copy, if it has one, is compared instead of reading it back.
        keeps_trash: whether replaced files are moved to the target's trash.
        collection_dirs: the collection folders at the source, with those at the target.
    """

    replaces: bool
    trusts_checksums: bool
    keeps_trash: bool
    collection_dirs: Mapping[str, str]


@dataclass(frozen=True)
class Work:
    """What all transfers share: both ends, the state, the rate limit, the rules, and a counter of source bytes."""

    source: End
    target: End
    state: MigrationState
    rate_limit: RateLimit
    rules: Rules
    count: Callable[[int], None]


class _Damaged(StorageFault):
    """The target's content differs from what was sent to it."""


class _Conflict(Exception):
    """The target's file is not ours; the message explains the conflict."""


class _GoneFromSource(Exception):
    """The file has been deleted at the source."""


@dataclass(frozen=True)
class _Digest:
    """The checksums of a version, hexadecimal, and its tag."""

    sha256: str
    md5: str
    tag: str


class Transfer:
    """The transfer of one original.

    Attributes:
        is_cut_off: whether it failed because a side is unreachable, and not because of the file.
    """

    def __init__(self, work: Work, task: Task) -> None:
        self._work = work
        self._task = task
        self._collection_dir = work.rules.collection_dirs[task.collection_dir]
        self.is_cut_off = False
        self._counted = 0
        #: The tag of the target's file as listed or, later, as stored by this transfer; None if there is none.
        self._expected_tag = task.target_tag
        #: The checksums of the versions that were committed, whether or not the target confirmed that.
        self._committed: set[str] = set()

    def run(self) -> Result:
        """Transfers the original. Raises OutOfSpace, which applies to all others, too, and Interrupted."""
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
        """Tries once. Raises Unavailable and _Damaged, for which a retry may help."""
        try:
            return self._migrate()
        except _GoneFromSource:
            return Result(outcomes.DELETED, self._task.size)
        except _Conflict as conflict:
            if self._committed or self._task.is_begun:
                # The target's file is not, or no longer, an interrupted copy, which the next pass would replace.
                self._work.state.forget(self._task.collection_dir, self._task.name)
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
                raise _Conflict("was copied before, and has been deleted at the target since")
            return self._copy(outcomes.COPIED)
        if task.intention == "replace":
            return self._copy(outcomes.REPLACED)
        equal = None if self._committed else self._compare(outcomes.UNCHANGED if task.is_ours else outcomes.EQUAL)
        if equal is not None:
            return equal
        if not (task.is_ours or task.is_begun or rules.replaces):
            raise _Conflict("the target has a different file with this name")
        if task.is_begun:
            return self._copy(outcomes.COPIED)
        return self._copy(outcomes.REPAIRED if task.is_ours else outcomes.REPLACED)

    def _compare(self, outcome: str) -> Result | None:
        """Compares both sides; None if they differ."""
        if self._task.size != self._task.target_size:
            return None
        with self._open_source() as stored:
            source = self._digest_source(stored)
            size = stored.version.size
        try:
            with self._work.target.store.originals.open_original(self._collection_dir, self._task.name) as stored:
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
        """Copies the original and verifies the copy."""
        storage, name = self._work.target.store.originals, self._task.name
        with self._open_source() as stored:
            past = Past(stored.version.modified_ns, stored.sha256 or self._checksum_in_advance(stored))
            size = stored.version.size
            with storage.receive(self._collection_dir, size, name, past) as incoming:
                source = self._digest_source(stored, incoming.write)
                if past.sha256 not in (None, source.sha256):
                    raise StorageFault("The content at the source does not match the checksum stored with it.")
                incoming.sync(source.sha256)
                with storage.locked_original(self._collection_dir, name):
                    self._refuse_if_changed()
                    self._work.state.begin(self._task)
                    self._committed.add(source.sha256)
                    incoming.commit(self._collection_dir, name, self._work.rules.keeps_trash)
                    arrived = storage.open_original(self._collection_dir, name, not self._work.rules.trusts_checksums)
                    self._expected_tag = arrived.version.tag
        with arrived:
            checked = self._check(arrived, source)
        result = Result(outcome, size, source.sha256, checked)
        self._work.state.finish(self._task, result, (source.tag, arrived.version.tag))
        return result

    def _check(self, arrived: StoredFile, source: _Digest) -> str:
        """Verifies a copy; returns how it did so. Raises _Damaged if the content differs."""
        content = arrived.version.content
        if self._work.rules.trusts_checksums and _MD5.fullmatch(content) and content == source.md5:
            return outcomes.STORED_CHECKSUM
        _forget_cached(arrived)
        if self._digest(arrived).sha256 != source.sha256:
            raise _Damaged("The target returns different content from what was stored.")
        return outcomes.READ_BACK

    def _refuse_if_changed(self) -> None:
        """Raises _Conflict if the target's file is neither the listed one nor one that this transfer stored."""
        try:
            tag = self._work.target.store.originals.version(self._collection_dir, self._task.name).tag
        except NotFound:
            tag = None
        if tag != self._expected_tag and not (tag is not None and self._committed and self._has_committed_content()):
            raise _Conflict("has changed at the target during this pass")

    def _has_committed_content(self) -> bool:
        """Whether the target's file has the content of an earlier attempt, whose confirmation was lost."""
        try:
            with self._work.target.store.originals.open_original(self._collection_dir, self._task.name) as stored:
                return self._digest(stored).sha256 in self._committed
        except NotFound:
            return False

    def _checksum_in_advance(self, stored: StoredFile) -> str | None:
        if stored.version.size <= _LARGE or not self._work.source.is_disk or self._work.target.is_disk:
            return None
        sha256 = self._digest(stored).sha256
        stored.file.seek(0)
        return sha256

    def _open_source(self) -> StoredFile:
        try:
            return self._work.source.store.originals.open_original(self._task.collection_dir, self._task.name)
        except NotFound:
            raise _GoneFromSource from None

    def _digest_source(self, stored: StoredFile, *takers: Callable[..., None]) -> _Digest:
        digest = self._digest(stored, self._count, *takers)
        stored.check_unmodified()
        return digest

    def _digest(self, stored: StoredFile, *takers: Callable[..., None]) -> _Digest:
        sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        for data in self._pieces(stored):
            for take in (sha256.update, md5.update, *takers):
                take(data)
            size += len(data)
        if size != stored.version.size:
            raise Unavailable("The file was modified while it was read.")
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
    """Drops a file from the page cache, so that it is read from the disk."""
    try:
        os.posix_fadvise(stored.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    except (OSError, UnsupportedOperation):
        return
