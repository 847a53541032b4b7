"""Fixity: reads originals again and compares them with the checksums of the journal.

What can be found: a file that was *changed* since it was stored, is *missing*, is *unknown* to the
journal, was deleted or replaced *unnoted* by it, is *empty*, *unreadable*, or *misnamed* (another
kind of picture than its name says).

Concurrency: runs beside a serving server. A file that is replaced or deleted while it is read is
judged again; what is found wrong is confirmed under the lock of the store name, so that an upload
on its way between disk and journal is never reported. Two runs at once do no harm.
"""

import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from assetstore import formats, media_types
from assetstore.concurrency.rate_limit import Interrupted, RateLimit
from assetstore.errors import NotFound, StorageFault, Unavailable
from assetstore.fixity.unjournaled import Unjournaled, since
from assetstore.journal import journal as events
from assetstore.journal.journal import Event
from assetstore.originals.service import Originals
from assetstore.storage.models import StoredFile, Version

CHANGED, MISSING, UNKNOWN, UNJOURNALED = "changed", "missing", "unknown", "unnoted"
EMPTY, UNREADABLE, MISNAMED = "empty", "unreadable", "misnamed"

#: What each finding means.
MEANINGS = {
    CHANGED: "the bytes are not those that were stored",
    MISSING: "the journal knows it, but there is no file",
    UNKNOWN: "there is a file that the journal does not know",
    UNJOURNALED: "it was deleted or replaced without a note in the journal",
    EMPTY: "the file has no bytes",
    UNREADABLE: "the file cannot be read",
    MISNAMED: "the bytes are not what the extension says",
}

#: Bytes read at a time.
_CHUNK = 1 << 20

#: What opening a file counts for in the pace, in bytes: a million small files take their time, too.
_OPENING = 16 << 10

#: How often to begin again when a file changes under our hands.
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
    """What a run has seen: files and bytes that it read, files by finding, and what it adopted."""

    files: int = 0
    bytes: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    adopted: int = 0

    def as_json(self) -> str:
        """Returns the summary as the journal keeps it."""
        return json.dumps({**vars(self), "findings": dict(self.findings)})


class Verification:
    """One run over all originals.

    Parameters:
        originals: the store.
        rate_limit: how quickly to read, and when to end.
        adopt: whether what the journal did not hear of is noted in it: files that it does not know, and what
            went to the trash unnoted.
        accept: whether changed and missing files are noted as they are now.
        client: who asks, for the journal.
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
        """Checks all originals and yields what is wrong; the journal keeps how far it came.

        Parameters:
            resume: whether to go on with the last run if that was not finished.
            progress: called with the number of bytes of every file that is done.

        Raises:
            Interrupted: the pace was told to end.
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
        """What this run found before it was interrupted, None if it did not come that far."""
        query = "SELECT finding FROM checks WHERE place = ? AND name = ? AND time_ns >= ?"
        with self._journal.reading(query, (collection_dir, name, began_ns)) as rows:
            row = next(rows, None)
        self.summary.files += row is not None
        return None if row is None else Finding(collection_dir, name, tuple(str(row[0]).split()))

    def _checked(self, collection_dir: str, name: str) -> Finding | None:
        finding = self.check(collection_dir, name)
        if finding is not None:
            row = (collection_dir, name, time.time_ns(), " ".join(finding.kinds))
            self._journal.write("INSERT OR REPLACE INTO checks VALUES (?, ?, ?, ?)", row)
        return finding

    def check(self, collection_dir: str, name: str) -> Finding | None:
        """Reads one original; what is wrong with it, perhaps nothing. None: it is gone, or keeps changing."""
        for attempts_left in reversed(range(_ATTEMPTS)):
            known = self._journal.latest(collection_dir, name)
            try:
                with self._storage.open_original(collection_dir, name) as stored:
                    sha256, head = self._read(stored)
                    version, own_sha256 = stored.version, stored.sha256
            except NotFound:
                return None
            except Unavailable:  # it was replaced while it was read, or the store is away for a moment
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
        """Whether file and journal are still those that were compared."""
        with contextlib.suppress(NotFound), self._storage.open_original(collection_dir, name, reads=False) as stored:
            return stored.version.etag == etag and self._journal.latest(collection_dir, name) == known
        return False

    def _explained(self, finding: Finding, known: Event | None, now: Version) -> Finding:
        """The same, but UNNOTED instead of CHANGED if the trash tells that this version came by a replacement."""
        if known is None or CHANGED not in finding.kinds:
            return finding
        entry = self._unjournaled.replacement(known, now)
        if entry is None:
            return finding
        kinds = tuple(UNJOURNALED if kind == CHANGED else kind for kind in finding.kinds)
        return Finding(finding.collection_dir, finding.name, kinds, since(entry))

    def _settled(self, finding: Finding, event: Event) -> Finding:
        """Notes in the journal what is to be adopted or accepted; returns what is still wrong."""
        settled = ((UNKNOWN, UNJOURNALED) if self._adopt else ()) + ((CHANGED, UNJOURNALED) if self._accept else ())
        if not set(settled).intersection(finding.kinds) or not self._journal.record(event):
            return finding
        self.summary.adopted += 1
        return Finding(
            finding.collection_dir, finding.name, tuple(kind for kind in finding.kinds if kind not in settled)
        )

    def _missing(self, event: Event) -> Finding | None:
        """What is wrong if there is no file of which the journal says that there is one; None if there is one.

        Notes in the journal what is to be adopted or accepted, and then finds nothing.
        """
        if self._rate_limit.ending.is_set():
            raise Interrupted
        try:
            self._storage.open_original(event.collection_dir, event.name, reads=False).file.close()
            return None
        except StorageFault:
            return None  # found unreadable before
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
                # It went when the trash says; nobody knows any more who asked for that.
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
        # Kept with the bytes: it also knows what another server on the same store has put there since.
        if own_sha256 != found.sha256:
            kinds.append(CHANGED)
            detail = f"stored with SHA-256 {own_sha256}, now {found.size} bytes with {found.sha256}"
    elif known is None or known.operation not in events.PRESENT or known.sha256 is None:
        kinds.append(UNKNOWN)
    elif known.sha256 != found.sha256:
        kinds.append(CHANGED)
        detail = f"stored with {known.size} bytes and SHA-256 {known.sha256}, now {found.size} and {found.sha256}"
    if not found.size:
        kinds.append(EMPTY)
    elif formats.is_misnamed(media_types.guess(found.name), head):
        kinds.append(MISNAMED)
    return Finding(found.collection_dir, found.name, tuple(kinds), detail)
