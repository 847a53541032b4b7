"""Reads originals and compares them with the checksums in the journal.

Findings: a file is *changed* since it was stored, *missing*, *unknown* to the journal, *unnoted* (deleted or replaced
without a journal entry), *empty*, *unreadable*, *misnamed* (of another format than its extension says), or
*unreachable* (no client can request its name).

Concurrency: can run while the server is running. A file that is replaced or deleted while it is read is checked again.
Findings are confirmed under the lock of the store name, so an upload that is not in the journal yet is never reported.
Several runs at the same time do no harm.
"""

import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from assetstore import formats, media_types, names
from assetstore.concurrency.rate_limit import Interrupted, RateLimit
from assetstore.errors import NotFound, StorageFault, Unavailable
from assetstore.fixity.unjournaled import Unjournaled, since
from assetstore.journal import events
from assetstore.journal.events import Event
from assetstore.originals.service import Originals
from assetstore.storage.models import StoredFile, Version

CHANGED, MISSING, UNKNOWN, UNJOURNALED = "changed", "missing", "unknown", "unnoted"
EMPTY, UNREADABLE, MISNAMED = "empty", "unreadable", "misnamed"
UNREACHABLE = "unreachable"

#: What each finding means.
MEANINGS = {
    CHANGED: "the content does not match the stored checksum",
    MISSING: "the file is in the journal, but does not exist",
    UNKNOWN: "the file exists, but is not in the journal",
    UNJOURNALED: "the file was deleted or replaced without a journal entry",
    EMPTY: "the file is empty",
    UNREADABLE: "the file cannot be read",
    MISNAMED: "the content does not match the extension",
    UNREACHABLE: "no client can request a file of this name; the command `names repair --dry-run` shows a better one",
}

#: Bytes read at a time.
_CHUNK = 1 << 20

#: How many bytes opening a file counts for in the rate limit, because small files take time, too.
_OPENING = 16 << 10

#: How many times to read a file that changes while it is read.
_ATTEMPTS = 3


@dataclass(frozen=True)
class Finding:
    """What is wrong with one original; *kinds* are keys of MEANINGS, *detail* is for the administrator."""

    collection_dir: str
    name: str
    kinds: tuple[str, ...]
    detail: str = ""


@dataclass
class Summary:
    """Totals of a run: files and bytes read, files by finding, and events added to the journal."""

    files: int = 0
    bytes: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    adopted: int = 0

    def as_json(self) -> str:
        """Returns the summary as it is stored in the journal."""
        return json.dumps({**vars(self), "findings": dict(self.findings)})


class Verification:
    """One run over all originals.

    Parameters:
        originals: the store.
        rate_limit: limits reading, and signals the end.
        adopt: whether unknown files, and unjournaled deletes and replacements, are added to the journal.
        accept: whether the current state of changed and missing files is recorded.
        client: recorded in the journal.
    """

    def __init__(self, originals: Originals, rate_limit: RateLimit, *, adopt: bool, accept: bool, client: str) -> None:
        self._originals = originals
        self._journal = originals.journal
        self._storage = originals.storage
        self._rate_limit = rate_limit
        self._adopt = adopt
        self._accept = accept
        self._client = client
        self._unjournaled = Unjournaled(originals)
        self.summary = Summary()

    def run(self, resume: bool, progress: Callable[[int], None] = lambda _bytes: None) -> Iterator[Finding]:
        """Checks all originals and yields findings. The progress is stored in the journal.

        Parameters:
            resume: whether to resume the last run, if it was not finished.
            progress: called with the size of each file that is done.

        Raises:
            Interrupted: the rate limit has signaled the end.
            StorageFault: the journal or the folder cannot be read.
            Unavailable: the store cannot be reached.
        """
        number, began_ns = self._begin(resume)
        for collection_dir in self._originals.collection_dirs:
            for listed in self._storage.originals(collection_dir):
                finding = self._done_before(collection_dir, listed.name, began_ns) or self._checked(
                    collection_dir, listed.name
                )
                progress(listed.size)
                if finding is not None and finding.kinds:
                    yield self._counted(finding)
            for event in self._journal.state(collection_dir):
                missing = self._missing(event) if event.operation in events.PRESENT else None
                if missing is not None:
                    yield self._counted(missing)
        self._journal.write("DELETE FROM checks WHERE time_ns < ?", (began_ns,))
        ended = (time.time_ns(), self.summary.as_json(), number)
        self._journal.write("UPDATE runs SET ended_ns = ?, summary = ? WHERE id = ?", ended)

    def _begin(self, resume: bool) -> tuple[int, int]:
        with self._journal.reading("SELECT id, began_ns, ended_ns FROM runs ORDER BY id DESC LIMIT 1") as rows:
            last = next(rows, None)
        if resume and last is not None and last[2] is None:
            return last[0], last[1]
        began_ns = time.time_ns()
        return self._journal.write("INSERT INTO runs (began_ns) VALUES (?)", (began_ns,)), began_ns

    def _counted(self, finding: Finding) -> Finding:
        self.summary.findings.update(finding.kinds)
        return finding

    def _done_before(self, collection_dir: str, name: str, began_ns: int) -> Finding | None:
        """The finding of this run before its interruption, None if the file was not checked."""
        query = "SELECT finding FROM checks WHERE place = ? AND name = ? AND time_ns >= ?"
        with self._journal.reading(query, (collection_dir, names.spelled(name), began_ns)) as rows:
            row = next(rows, None)
        self.summary.files += row is not None
        return None if row is None else Finding(collection_dir, name, tuple(str(row[0]).split()))

    def _checked(self, collection_dir: str, name: str) -> Finding | None:
        finding = self.check(collection_dir, name)
        if finding is not None:
            row = (collection_dir, names.spelled(name), time.time_ns(), " ".join(finding.kinds))
            self._journal.write("INSERT OR REPLACE INTO checks VALUES (?, ?, ?, ?)", row)
        return finding

    def check(self, collection_dir: str, name: str) -> Finding | None:
        """Checks one original; returns a finding, possibly without kinds. None: it was deleted, or keeps changing."""
        for attempts_left in reversed(range(_ATTEMPTS)):
            known = self._journal.latest(collection_dir, name)
            try:
                with self._storage.open_original(collection_dir, name) as stored:
                    sha256, head = self._read(stored)
                    version, own_sha256 = stored.version, stored.sha256
            except NotFound:
                return None
            except Unavailable:  # the file was replaced while it was read, or the store is briefly unavailable
                if not attempts_left:
                    raise
                continue
            except (OSError, StorageFault) as error:
                return Finding(collection_dir, name, (UNREADABLE,), str(getattr(error, "detail", error)))
            self.summary.files += 1
            self.summary.bytes += version.size
            event = Event(events.ADOPTED, collection_dir, name, "", version.size, sha256, self._client)
            finding = _compare(event, known, own_sha256, head)
            if not finding.kinds:
                return finding
            with self._storage.locked_original(collection_dir, name):
                if self._is_still(collection_dir, name, version.etag, known):
                    return self._settled(self._explained(finding, known, version), event)
        return None

    def _read(self, stored: StoredFile) -> tuple[str, bytes]:
        checksum, head = hashlib.sha256(), b""
        self._rate_limit.spend(_OPENING)
        while data := stored.file.read(_CHUNK):
            head = head or data[: formats.HEAD_LENGTH]
            checksum.update(data)
            self._rate_limit.spend(len(data))
            if self._rate_limit.ending.is_set():
                raise Interrupted
        return checksum.hexdigest(), head

    def _is_still(self, collection_dir: str, name: str, etag: str, known: Event | None) -> bool:
        """Whether the file and its journal entry are still those that were compared."""
        with contextlib.suppress(NotFound), self._storage.open_original(collection_dir, name, reads=False) as stored:
            return stored.version.etag == etag and self._journal.latest(collection_dir, name) == known
        return False

    def _explained(self, finding: Finding, known: Event | None, now: Version) -> Finding:
        """The same finding, but UNJOURNALED instead of CHANGED if the trash has the version that was replaced."""
        if known is None or CHANGED not in finding.kinds:
            return finding
        entry = self._unjournaled.replacement(known, now)
        if entry is None:
            return finding
        kinds = tuple(UNJOURNALED if kind == CHANGED else kind for kind in finding.kinds)
        return Finding(finding.collection_dir, finding.name, kinds, since(entry))

    def _settled(self, finding: Finding, event: Event) -> Finding:
        """Records in the journal what is to be adopted or accepted; returns the finding with the remaining kinds."""
        settled = ((UNKNOWN, UNJOURNALED) if self._adopt else ()) + ((CHANGED, UNJOURNALED) if self._accept else ())
        if not set(settled).intersection(finding.kinds) or not self._journal.record(event):
            return finding
        self.summary.adopted += 1
        return Finding(
            finding.collection_dir, finding.name, tuple(kind for kind in finding.kinds if kind not in settled)
        )

    def _missing(self, event: Event) -> Finding | None:
        """The finding for an original that exists according to the journal; None if the file exists.

        Also None if the deletion is adopted or accepted: then it is recorded in the journal.
        """
        if self._rate_limit.ending.is_set():
            raise Interrupted
        try:
            self._storage.open_original(event.collection_dir, event.name, reads=False).file.close()
            return None
        except StorageFault:
            return None  # already reported as unreadable
        except NotFound:
            with self._storage.locked_original(event.collection_dir, event.name):
                if self._journal.latest(event.collection_dir, event.name) != event:
                    return None
                return self._settled_missing(event)

    def _settled_missing(self, event: Event) -> Finding | None:
        entry = self._unjournaled.removal(event)
        if self._accept or (self._adopt and entry is not None):
            gone = Event(events.GONE, event.collection_dir, event.name, "", event.size, event.sha256, self._client)
            if entry is not None:
                # The trash has the time of removal; the client is not known.
                who = f"unknown, noted by {self._client}"
                gone = replace(gone, operation=events.DELETED, time_ns=entry.removed_ns, client=who)
            if self._journal.record(gone):
                self.summary.adopted += 1
                return None
        if entry is None:
            return Finding(event.collection_dir, event.name, (MISSING,))
        return Finding(event.collection_dir, event.name, (UNJOURNALED,), since(entry))


def _compare(found: Event, known: Event | None, own_sha256: str | None, head: bytes) -> Finding:
    kinds, detail = [], ""
    if own_sha256 is not None:
        # Stored with the content, so it is up to date even if another server uses the same store.
        if own_sha256 != found.sha256:
            kinds.append(CHANGED)
            detail = f"stored with SHA-256 {own_sha256}, now {found.size} bytes with SHA-256 {found.sha256}"
    elif known is None or known.operation not in events.PRESENT or known.sha256 is None:
        kinds.append(UNKNOWN)
    elif known.sha256 != found.sha256:
        kinds.append(CHANGED)
        before = f"{known.size} bytes with SHA-256 {known.sha256}"
        detail = f"stored with {before}, now {found.size} bytes with SHA-256 {found.sha256}"
    if not found.size:
        kinds.append(EMPTY)
    elif formats.is_misnamed(media_types.guess(found.name), head):
        kinds.append(MISNAMED)
    if not names.is_store_name(found.name):
        kinds.append(UNREACHABLE)
    return Finding(found.collection_dir, found.name, tuple(kinds), detail)
