"""A repair plan: the findings as a table, which a curator reviews and edits before it is applied.

Its column `action` is `trash` (move the file to the trash), `restore` (restore the entry of the trash) or empty. A plan
cannot do anything else, and everything that it does can be undone with `manage.py trash`. Each row identifies the file
that existed when the plan was written; a different file with this name is left alone.

Concurrency: if a file is uploaded between that check and the move, it is moved to the trash instead, and can be
restored.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from assetstore import csv_io
from assetstore.errors import BadRequest, NotFound
from assetstore.journal.events import Origin
from assetstore.names import is_store_name, spelled
from assetstore.originals.service import Originals
from assetstore.specify.comparison import EMPTY, NO_FILE, NO_RECORD, Finding
from assetstore.storage.models import TrashEntry, Version
from assetstore.thumbnails.service import Thumbnails

TRASH, RESTORE = "trash", "restore"

_COLUMNS = ("action", "finding", "place", "name", "records", "original", "size", "meaning", "file", "trash entry")

#: The findings for which each action is allowed.
POSSIBLE = {TRASH: (NO_RECORD, EMPTY), RESTORE: (NO_FILE,)}

_SECOND = 1_000_000_000


@dataclass(frozen=True)
class Step:
    """One row with an action: TRASH for a file, or RESTORE for an entry of the trash."""

    action: str
    collection_dir: str
    name: str
    file: str
    entry: str


def write(path: Path, findings: Iterable[Finding], *, suggests_trash: bool) -> None:
    """Writes a plan.

    Parameters:
        path: of a file that does not exist yet.
        findings: the rows.
        suggests_trash: whether the plan suggests the trash for files without record.

    Raises:
        BadRequest: the file exists, or cannot be written.
    """
    csv_io.write(path, _COLUMNS, (_row(finding, suggests_trash) for finding in findings))


def _row(finding: Finding, suggests_trash: bool) -> dict[str, object]:
    entry, file = finding.entry, finding.file
    is_possible = finding.kind == NO_RECORD and is_store_name(finding.name)
    suggested = TRASH if suggests_trash and is_possible else ""
    return {
        "action": RESTORE if entry is not None else suggested,
        "finding": finding.kind,
        "place": finding.collection_dir,
        "name": spelled(finding.name) if file else finding.name,
        "records": " ".join(finding.records),
        "original": finding.original,
        "size": file.size if file else None,
        "meaning": finding.meaning,
        "file": _mark(finding.collection_dir, file.name, file.size, file.modified_ns) if file else None,
        "trash entry": entry.identifier if entry else None,
    }


def read(path: Path, collection_dirs: Iterable[str]) -> list[Step]:
    """Returns the steps of an edited plan.

    Parameters:
        path: the plan.
        collection_dirs: the folders of all collections.

    Raises:
        BadRequest: a row is invalid; then no step may be applied.
    """
    steps, known = [], set(collection_dirs)
    for line, cells in csv_io.read(path, ("action", "finding", "place", "name", "file", "trash entry")):
        row = {key: csv_io.unguarded(cell) for key, cell in cells.items()}
        action = row.get("action", "").strip().lower()
        if not action:
            continue
        step = Step(action, row.get("place", ""), row.get("name", ""), row.get("file", ""), row.get("trashentry", ""))
        if action not in POSSIBLE:
            raise BadRequest(
                f"{path}, line {line}: {action!r} is not an action; expected trash, restore or an empty cell."
            )
        needed = step.file if action == TRASH else step.entry
        if row.get("finding") not in POSSIBLE[action] or not needed:
            raise BadRequest(f"{path}, line {line}: {action} is not possible for {row.get('finding')!r}.")
        if step.collection_dir not in known or not is_store_name(step.name):
            raise BadRequest(f"{path}, line {line}: the folder or name is invalid. Edit only the column action.")
        steps.append(step)
    return steps


class Repair:
    """Applies a plan.

    Parameters:
        originals, thumbnails: of the store.
        origin: recorded in the journal.
        dry_run: whether only to return what would be done.
    """

    def __init__(self, originals: Originals, thumbnails: Thumbnails, origin: Origin, dry_run: bool) -> None:
        self._originals = originals
        self._thumbnails = thumbnails
        self._origin = origin
        self._dry_run = dry_run
        self._trash: dict[str, dict[str, TrashEntry]] = {}

    def do(self, step: Step) -> tuple[str, bool]:
        """Applies one step; returns the outcome, and whether the step is done.

        Raises:
            OutOfSpace, StorageFault: the store could not be changed.
        """
        outcome, is_done = self._to_trash(step) if step.action == TRASH else self._restored(step)
        if is_done and not self._dry_run:
            self._thumbnails.discard(step.collection_dir, step.name)
        return outcome, is_done

    def _to_trash(self, step: Step) -> tuple[str, bool]:
        version = self._version(step)
        if version is None:
            return "already deleted", True
        if _mark(step.collection_dir, step.name, version.size, version.modified_ns) != step.file:
            return "not moved, the file has changed since the plan was written", False
        if self._dry_run:
            return "would be moved to the trash", True
        self._originals.delete(step.collection_dir, step.name, self._origin)
        return "moved to the trash", True

    def _restored(self, step: Step) -> tuple[str, bool]:
        if step.collection_dir not in self._trash:
            listed = self._originals.trash_storage.entries(step.collection_dir)
            self._trash[step.collection_dir] = {entry.identifier: entry for entry in listed}
        entry = self._trash[step.collection_dir].get(step.entry)
        exists = self._version(step) is not None
        if entry is None or entry.name != step.name:
            return ("already restored", True) if exists else ("not restored, no longer in the trash", False)
        if exists:
            return "not restored, a file with this name exists now", False
        if self._dry_run:
            return "would be restored", True
        self._originals.restore(entry, self._origin, may_replace=False)
        return "restored", True

    def _version(self, step: Step) -> Version | None:
        try:
            return self._originals.storage.version(step.collection_dir, step.name)
        except NotFound:
            return None


def _mark(collection_dir: str, name: str, size: int, modified_ns: int) -> str:
    """An identifier of this version of a file, in a form that spreadsheet programs do not change."""
    identity = f"{collection_dir}\0{name}\0{size}\0{modified_ns // _SECOND}".encode("utf-8", "surrogateescape")
    return "file-" + hashlib.blake2b(identity, digest_size=8).hexdigest()
