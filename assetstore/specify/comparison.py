"""Compares Specify's records with the files of the store, and describes mismatches for curators.

Names are compared exactly, as the server and Specify do. A name that differs only in case, in the encoding of accents
or in surrounding spaces gets a finding of its own: the file exists, and must not be reported as unused.

Concurrency: read-only, and can run while the server is running. The records are older than the list of files.
Therefore a file without a record that is newer than the records, or not much older, is no finding, because its form in
Specify may not have been saved yet. A record whose file was deleted after the records were read is no finding either.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from assetstore.errors import NotFound, StorageFault
from assetstore.journal import events
from assetstore.names import is_store_name
from assetstore.originals.service import Originals
from assetstore.specify.records import Record
from assetstore.storage.models import Listed, TrashEntry

NO_FILE, NO_RECORD, ELSEWHERE = "record without file", "file without record", "file in another collection"
SPELLING, EMPTY, UNREADABLE, SHARED = "other spelling", "empty file", "unreadable file", "shared file"

#: All kinds of findings.
KINDS = (NO_FILE, NO_RECORD, ELSEWHERE, SPELLING, EMPTY, UNREADABLE, SHARED)

#: The maximum number of records listed in a finding.
_MOST_NAMED = 20


@dataclass(frozen=True)
class Rules:
    """How to compare.

    Fields:
        as_of_ns: when the records were read or exported, nanoseconds since 1970.
        grace_ns: how much older than that a file without a record has to be for a finding.
        folders: COLLECTION_DIRS, collection names to folders; None if all collections share one folder.
        collection_dir: the only folder to compare, to which all records then belong; None for all.
        opens: whether every file is opened.
    """

    as_of_ns: int
    grace_ns: int
    folders: Mapping[str, str] | None
    collection_dir: str | None
    opens: bool


@dataclass(frozen=True)
class Finding:
    """A mismatch.

    Fields:
        kind: one of KINDS.
        collection_dir, name: of the file, or of the missing file.
        records: the AttachmentIDs concerned.
        original: the name of the uploaded file on the user's computer, if a record has it.
        meaning: an explanation.
        file: the current file, None if there is none.
        entry: an entry of the trash that can be restored, None if there is none.
    """

    kind: str
    collection_dir: str
    name: str
    records: tuple[str, ...]
    original: str
    meaning: str
    file: Listed | None = None
    entry: TrashEntry | None = None


class Comparison:
    """One comparison of all records with all files.

    Parameters:
        originals: the store.
        records: all records that refer to the store.
        rules: how to compare.
    """

    def __init__(self, originals: Originals, records: Iterable[Record], rules: Rules) -> None:
        self._originals = originals
        self._rules = rules
        self._collection_dirs = (
            list(originals.collection_dirs) if rules.collection_dir is None else [rules.collection_dir]
        )
        self._by_name: defaultdict[str, list[Record]] = defaultdict(list)
        for record in records:
            self._by_name[record.location].append(record)
        storage = originals.storage
        self._files = {
            collection_dir: {listed.name: listed for listed in storage.originals(collection_dir)}
            for collection_dir in self._collection_dirs
        }
        self._users: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
        self.counted: Counter[str] = Counter()

    @property
    def number_of_records(self) -> int:
        """How many records there are."""
        return sum(map(len, self._by_name.values()))

    @property
    def number_of_files(self) -> int:
        """How many files there are."""
        return sum(map(len, self._files.values()))

    def run(self, progress: Callable[[int], None] = lambda _number: None) -> Iterator[Finding]:
        """Yields all mismatches.

        Parameters:
            progress: called with the number of newly processed records and files.

        Raises:
            StorageFault: a folder or the journal cannot be read.
        """
        for finding in self._all(progress):
            self.counted[finding.kind] += 1
            yield finding

    def _all(self, progress: Callable[[int], None]) -> Iterator[Finding]:
        for name, records in self._by_name.items():
            yield from self._of_name(name, records)
            progress(len(records))
        for (collection_dir, name), users in self._users.items():
            if len(users) > 1:
                meaning = f"{len(users)} records use this file; deleting one of them in Specify deletes it for all"
                yield self._finding(SHARED, collection_dir, name, users, meaning, self._files[collection_dir][name])
        suspects = []
        for collection_dir, files in self._files.items():
            for listed in files.values():
                finding = self._of_file(collection_dir, listed)
                if finding is not None and finding.kind == UNREADABLE:
                    suspects.append(finding)
                elif finding is not None:
                    yield finding
                progress(1)
        yield from self._confirmed(suspects)

    def _of_name(self, name: str, records: list[Record]) -> Iterator[Finding]:
        """The findings for the records with one store name; also records which files are in use."""
        held = [collection_dir for collection_dir in self._collection_dirs if name in self._files[collection_dir]]
        for record in records:
            expected = self._expected(record)
            found = [collection_dir for collection_dir in held if collection_dir in expected]
            for collection_dir in found or held:
                self._users[collection_dir, name].append(record)
            if found:
                continue
            if held:
                yield self._elsewhere(record, held[0], expected)
                continue
            finding = self._near(record) or self._missing(record, expected)
            if finding is not None:
                yield finding

    def _elsewhere(self, record: Record, collection_dir: str, expected: list[str]) -> Finding:
        collection = " or ".join(record.collections or ())
        meaning = (
            f"the file is in the folder “{collection_dir}”, but {collection} uses the folder “{' or '.join(expected)}”"
        )
        return self._finding(
            ELSEWHERE, collection_dir, record.location, [record], meaning, self._files[collection_dir][record.location]
        )

    def _near(self, record: Record) -> Finding | None:
        """The finding if the name of a file differs only in spelling."""
        near = self._nearly.get(loose(record.location), []) if record.location else []
        if not near:
            return None
        for collection_dir, name in near:
            self._users[collection_dir, name].append(record)
        collection_dir, name = near[0]
        meaning = f"the record has “{record.location}”, but the file is named “{name}”, so the server does not find it"
        return self._finding(
            SPELLING, collection_dir, record.location, [record], meaning, self._files[collection_dir][name]
        )

    def _missing(self, record: Record, expected: list[str]) -> Finding | None:
        """The finding for a record without a file; None if the file was deleted after the records were read."""
        name, collection_dir = record.location, expected[0]
        if not name:
            return self._finding(
                NO_FILE,
                collection_dir,
                name,
                [record],
                "the record has no store name, because its upload was not completed",
            )
        if not is_store_name(name):
            return self._finding(NO_FILE, collection_dir, name, [record], "the record has an invalid store name")
        entries = [entry for collection_dir in expected for entry in self._trash.get((collection_dir, name), [])]
        entry = max(entries, key=lambda entry: entry.removed_ns, default=None)
        last = self._last_event(expected, name)
        went = last is not None and last.operation not in events.PRESENT
        gone_ns = max(entry.removed_ns if entry else 0, last.time_ns if last and went else 0)
        if gone_ns > self._rules.as_of_ns:
            return None
        if entry is not None:
            meaning = "the file is missing, but is in the trash and can be restored"
            return self._finding(NO_FILE, entry.collection_dir, name, [record], meaning, entry=entry)
        meaning = "the file is missing, and unknown to the journal"
        if last is not None:
            meaning = f"the file is missing; its last entry in the journal is “{last.operation}”"
        return self._finding(NO_FILE, collection_dir, name, [record], meaning)

    def _last_event(self, collection_dirs: list[str], name: str) -> events.Event | None:
        found = [
            event
            for collection_dir in collection_dirs
            if (event := self._originals.journal.latest(collection_dir, name)) is not None
        ]
        return max(found, key=lambda event: event.time_ns, default=None)

    def _of_file(self, collection_dir: str, listed: Listed) -> Finding | None:
        users = self._users.get((collection_dir, listed.name), [])
        is_young = listed.modified_ns > self._rules.as_of_ns - self._rules.grace_ns
        if not users and not is_young:
            meaning = f"no record uses this file of {listed.size} bytes"
            if not is_store_name(listed.name):
                meaning += ", and no client can request its name; see the command `names repair --dry-run`"
            return self._finding(NO_RECORD, collection_dir, listed.name, [], meaning, listed)
        if not listed.size:
            return self._finding(
                EMPTY, collection_dir, listed.name, users, "the file is empty; upload it again", listed
            )
        if self._rules.opens and not self._is_readable(collection_dir, listed.name):
            return self._finding(UNREADABLE, collection_dir, listed.name, users, "the file cannot be read", listed)
        return None

    def _is_readable(self, collection_dir: str, name: str) -> bool:
        try:
            with self._originals.storage.open_original(collection_dir, name) as stored:
                return bool(stored.file.read(1))
        except (NotFound, StorageFault, OSError):
            return False

    def _confirmed(self, suspects: list[Finding]) -> Iterator[Finding]:
        """The findings for files that are still listed and unreadable; the others were deleted in the meantime."""
        for collection_dir in {finding.collection_dir for finding in suspects}:
            names = {listed.name for listed in self._originals.storage.originals(collection_dir)}
            for finding in suspects:
                if (
                    finding.collection_dir == collection_dir
                    and finding.name in names
                    and not self._is_readable(collection_dir, finding.name)
                ):
                    yield finding

    def _expected(self, record: Record) -> list[str]:
        """The folders where the file of a record may be."""
        folders = self._rules.folders
        if self._rules.collection_dir is not None or folders is None or record.collections is None:
            return self._collection_dirs
        return sorted({folders[name] for name in record.collections if name in folders}) or self._collection_dirs

    @cached_property
    def _nearly(self) -> dict[str, list[tuple[str, str]]]:
        found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for collection_dir, files in self._files.items():
            for name in files:
                found[loose(name)].append((collection_dir, name))
        return dict(found)

    @cached_property
    def _trash(self) -> dict[tuple[str, str], list[TrashEntry]]:
        found: defaultdict[tuple[str, str], list[TrashEntry]] = defaultdict(list)
        for collection_dir in self._collection_dirs:
            for entry in self._originals.trash_storage.entries(collection_dir):
                found[collection_dir, entry.name].append(entry)
        return dict(found)

    @staticmethod
    def _finding(  # noqa: PLR0917 - what and where, in the order of the fields
        kind: str,
        collection_dir: str,
        name: str,
        records: list[Record],
        meaning: str,
        file: Listed | None = None,
        *,
        entry: TrashEntry | None = None,
    ) -> Finding:
        identifiers = tuple(record.identifier for record in records[:_MOST_NAMED])
        original = records[0].original if records else ""
        return Finding(kind, collection_dir, name, identifiers, original, meaning, file, entry)


def loose(name: str) -> str:
    """Returns a name without differences in case, in the encoding of accents, and in surrounding spaces."""
    return unicodedata.normalize("NFC", name.strip()).casefold()
