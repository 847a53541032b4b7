"""A repair plan: the findings as a table that a curator reads and edits, and then has carried out.

Its column `action` says what is to be done: `trash` (the file goes to the trash), `restore` (the
entry of the trash becomes the file again) or nothing. Nothing else can be done by a plan, and
whatever it does can be undone by `manage.py trash`. Each row knows the file that was seen when the
plan was made; another one that has its name by now is left alone.

Concurrency: an upload in the moment between that look and the move goes to the trash, too, from
where it can be restored.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from assetstore import csv_io
from assetstore.errors import BadRequest, NotFound
from assetstore.journal.journal import Origin
from assetstore.names import is_store_name
from assetstore.originals.service import Originals
from assetstore.specify.comparison import EMPTY, NO_FILE, NO_RECORD, Finding
from assetstore.storage.models import TrashEntry, Version
from assetstore.thumbnails.service import Thumbnails

TRASH, RESTORE = "trash", "restore"

_COLUMNS = ("action", "finding", "place", "name", "records", "original", "size", "meaning", "file", "trash entry")

#: Of which findings an action may be asked.
POSSIBLE = {TRASH: (NO_RECORD, EMPTY), RESTORE: (NO_FILE,)}

_SECOND = 1_000_000_000


@dataclass(frozen=True)
class Step:
    """One thing to do: TRASH or RESTORE, to a file or with an entry of the trash."""

    action: str
    collection_dir: str
    name: str
    file: str
    entry: str


def write(path: Path, findings: Iterable[Finding], *, suggests_trash: bool) -> None:
    """Writes a plan.

    Parameters:
        path: of a file that is not there yet.
        findings: what it lists.
        suggests_trash: whether it suggests the trash for files without record.

    Raises:
        BadRequest: there is such a file, or it cannot be written.
    """
    csv_io.write(path, _COLUMNS, (_row(finding, suggests_trash) for finding in findings))


def _row(finding: Finding, suggests_trash: bool) -> dict[str, object]:
    entry, file = finding.entry, finding.file
    suggested = TRASH if suggests_trash and finding.kind == NO_RECORD else ""
    return {
        "action": RESTORE if entry is not None else suggested,
        "finding": finding.kind,
        "place": finding.collection_dir,
        "name": finding.name,
        "records": " ".join(finding.records),
        "original": finding.original,
        "size": file.size if file else None,
        "meaning": finding.meaning,
        "file": _mark(finding.collection_dir, file.name, file.size, file.modified_ns) if file else None,
        "trash entry": entry.identifier if entry else None,
    }


def read(path: Path, collection_dirs: Iterable[str]) -> list[Step]:
    """Returns what an edited plan asks for.

    Parameters:
        path: the plan.
        collection_dirs: the folders of all collections.

    Raises:
        BadRequest: a row asks for what no plan can do; nothing of it is to be done then.
    """
    steps, known = [], set(collection_dirs)
    for line, cells in csv_io.read(path, ("action", "finding", "place", "name", "file", "trash entry")):
        row = {key: csv_io.unguarded(cell) for key, cell in cells.items()}
        action = row.get("action", "").strip().lower()
        if not action:
            continue
        step = Step(action, row.get("place", ""), row.get("name", ""), row.get("file", ""), row.get("trashentry", ""))
        if action not in POSSIBLE:
            raise BadRequest(f"{path}, line {line}: {action!r} is no action; expected trash, restore or nothing.")
        needed = step.file if action == TRASH else step.entry
        if row.get("finding") not in POSSIBLE[action] or not needed:
            raise BadRequest(f"{path}, line {line}: {action} is not possible for {row.get('finding')!r}.")
        if step.collection_dir not in known or not is_store_name(step.name):
            raise BadRequest(f"{path}, line {line}: this row has been changed; no such file can be.")
        steps.append(step)
    return steps


class Repair:
    """Carries out a plan.

    Parameters:
        originals, thumbnails: of the store.
        origin: who asks, for the journal.
        dry_run: whether only to say what would be done.
    """

    def __init__(self, originals: Originals, thumbnails: Thumbnails, origin: Origin, dry_run: bool) -> None:
        self._originals = originals
        self._thumbnails = thumbnails
        self._origin = origin
        self._dry_run = dry_run
        self._trash: dict[str, dict[str, TrashEntry]] = {}

    def do(self, step: Step) -> tuple[str, bool]:
        """Does one step; returns what came of it, and whether that is what was asked for.

        Raises:
            OutOfSpace, StorageFault: the disk does not let us; nothing has changed then.
        """
        outcome, is_done = self._to_trash(step) if step.action == TRASH else self._restored(step)
        if is_done and not self._dry_run:
            self._thumbnails.discard(step.collection_dir, step.name)
        return outcome, is_done

    def _to_trash(self, step: Step) -> tuple[str, bool]:
        version = self._version(step)
        if version is None:
            return "is gone already", True
        if _mark(step.collection_dir, step.name, version.size, version.modified_ns) != step.file:
            return "not touched, it is another file than when the plan was made", False
        if self._dry_run:
            return "would go to the trash", True
        self._originals.delete(step.collection_dir, step.name, self._origin)
        return "went to the trash", True

    def _restored(self, step: Step) -> tuple[str, bool]:
        if step.collection_dir not in self._trash:
            listed = self._originals.storage.trash(step.collection_dir)
            self._trash[step.collection_dir] = {entry.identifier: entry for entry in listed}
        entry = self._trash[step.collection_dir].get(step.entry)
        exists = self._version(step) is not None
        if entry is None or entry.name != step.name:
            return ("is back already", True) if exists else ("not restored, it is no longer in the trash", False)
        if exists:
            return "not restored, there is a file of that name now", False
        if self._dry_run:
            return "would be restored", True
        self._originals.restore(entry, self._origin)
        return "restored", True

    def _version(self, step: Step) -> Version | None:
        try:
            return self._originals.storage.version(step.collection_dir, step.name)
        except NotFound:
            return None


def _mark(collection_dir: str, name: str, size: int, modified_ns: int) -> str:
    """What tells a file from another of its name, as a text that a spreadsheet program leaves alone."""
    identity = f"{collection_dir}\0{name}\0{size}\0{modified_ns // _SECOND}".encode()
    return "file-" + hashlib.blake2b(identity, digest_size=8).hexdigest()
