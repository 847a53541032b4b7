"""A synthetic Specify with its files, and with planted faults of every kind that `manage.py reconcile` can find."""

import csv
import hashlib
import os
import time
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mariadb import Database

#: Collections of two disciplines, one of which has two collections, by their numbers in Specify.
COLLECTIONS = {4: ("KU Fish", 3), 32768: ("KU Birds", 7), 32769: ("KU Eggs", 7)}
FOLDERS = {"KU Fish": "fish", "KU Birds": "birds", "KU Eggs": "eggs"}

_OLD_SECONDS = 60 * 86_400

Fault = tuple[str, str, str, tuple[str, ...]]


@dataclass
class Specify:
    """What there is, and what is wrong with it.

    Fields:
        base: the folder of all attachments.
        rows: of the table attachment: number, location, original name, type of scope, scope.
        faults: what must be found: kind, folder, name, numbers of the records.
    """

    base: Path
    rows: list[tuple[int, str | None, str, int | None, int | None]] = field(default_factory=list)
    faults: set[Fault] = field(default_factory=set)

    def record(self, location: str | None, scope_type: int | None = None, scope: int | None = None) -> str:
        """Adds a record and returns its number."""
        number = len(self.rows) + 1
        self.rows.append((number, location, f"DSC_{number:05}.JPG", scope_type, scope))
        return str(number)

    def file(self, collection_dir: str, name: str, content: bytes = b"picture", age: float = _OLD_SECONDS) -> Path:
        """Adds a file of some age."""
        path = self.base / collection_dir / "originals" / name
        path.write_bytes(content)
        moment = time.time() - age
        os.utime(path, (moment, moment))
        return path

    def export(self, path: Path) -> Path:
        """Writes the records as a museum would export them."""
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("AttachmentID", "AttachmentLocation", "OrigFilename", "MimeType", "CollectionName"))
            for number, location, original, scope_type, scope in self.rows:
                collection = COLLECTIONS[scope or 0][0] if scope_type == 0 else "NULL"
                writer.writerow((number, "NULL" if location is None else location, original, "image/jpeg", collection))
        return path

    def load(self, database: Database) -> None:
        """Makes the records all that a database has."""
        rows = [(number, name, discipline) for number, (name, discipline) in COLLECTIONS.items()]
        database.run("REPLACE INTO collection VALUES (%s, %s, %s)", rows)
        database.run("TRUNCATE attachment")
        statement = (
            "INSERT INTO attachment (AttachmentID, AttachmentLocation, OrigFilename, ScopeType, ScopeID,"
            " TimestampCreated) VALUES (%s, %s, %s, %s, %s, '2026-01-01')"
        )
        database.run(statement, self.rows)


def make(base: Path, records: int, each: int) -> Specify:
    """Makes a Specify with numbers of sound records and of faults of each kind; the folders exist already."""
    specify = Specify(base)
    for number in range(records):
        _sound(specify, number)
    for number in range(each):
        for plant in (_no_file, _no_record, _elsewhere, _spelling, _broken, _shared):
            plant(specify, number)
    return specify


def _sound(specify: Specify, number: int) -> None:
    extension = (".att.jpg", ".att.TIF", "", ".bläh", ".pdf")[number % 5]
    name = f"sp6{8478305178990000000 + number}{extension}" if number % 2 else f"{uuid.UUID(int=number)}{extension}"
    collection_dir, scope_type, scope = (
        ("fish", 0, 4),
        ("birds", 0, 32768),
        ("eggs", 1, 7),  # by discipline: either of its collections
        ("birds", 1, 7),
        ("eggs", 2, 2),  # by division, by institution, by nothing: any
        ("fish", 3, 1),
        ("birds", None, None),
    )[number % 7]
    specify.record(name, scope_type, scope)
    specify.file(collection_dir, name, f"picture {number}".encode())


def _no_file(specify: Specify, number: int) -> None:
    name = f"never came {number}.jpg"
    specify.faults.add(("record without file", "fish", name, (specify.record(name, 0, 4),)))
    specify.faults.add(("record without file", "fish", "", (specify.record(None, 0, 4),)))
    odd = f"C:\\pictures\\{number}.jpg"
    specify.faults.add(("record without file", "birds", odd, (specify.record(odd, 0, 32768),)))


def _no_record(specify: Specify, number: int) -> None:
    specify.file("eggs", f"nobody's {number}.jpg", b"" if number % 3 == 0 else b"x")
    specify.faults.add(("file without record", "eggs", f"nobody's {number}.jpg", ()))
    specify.file("eggs", f"form still open {number}.jpg", age=3600)  # no fault


def _elsewhere(specify: Specify, number: int) -> None:
    name = f"wrong folder {number}.jpg"
    specify.file("birds", name)
    specify.faults.add(("file in another collection", "birds", name, (specify.record(name, 0, 4),)))
    # The same name in a folder where nobody looks for it.
    name = f"twice {number}.jpg"
    specify.record(name, 0, 4)
    specify.file("fish", name)
    specify.file("birds", name)
    specify.faults.add(("file without record", "birds", name, ()))


def _spelling(specify: Specify, number: int) -> None:
    stored = f"Straße Ü{number}.jpg"
    said = (stored.upper().replace("SS", "ß"), unicodedata.normalize("NFD", stored), f" {stored}")[number % 3]
    specify.file("fish", stored)
    specify.faults.add(("other spelling", "fish", said, (specify.record(said, 0, 4),)))


def _broken(specify: Specify, number: int) -> None:
    name = f"empty {number}.jpg"
    specify.file("fish", name, b"")
    specify.faults.add(("empty file", "fish", name, (specify.record(name, 0, 4),)))
    name = f"link to another disk {number}.jpg"
    outside = specify.base.parent / "outside.jpg"
    outside.write_bytes(b"x")
    (specify.base / "fish" / "originals" / name).symlink_to(outside)
    specify.faults.add(("unreadable file", "fish", name, (specify.record(name, 0, 4),)))


def _shared(specify: Specify, number: int) -> None:
    name = f"shared {number}.jpg"
    specify.file("birds", name)
    users = [specify.record(name, *scope) for scope in ((0, 32768), (1, 7), (3, 1))[: 2 + number % 2]]
    specify.faults.add(("shared file", "birds", name, tuple(users)))


def fingerprint(base: Path) -> str:
    """A hash of all files below a folder: names, times, contents. Not of the journal: the first who asks begins it."""
    found = hashlib.sha256()
    for path in sorted(_files(base)):
        status = path.lstat()
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        found.update(f"{path} {status.st_mtime_ns} {status.st_mode} {len(content)}".encode() + content)
    return found.hexdigest()


def _files(base: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(base):
        yield from (Path(folder) / name for name in names if not name.startswith("journal."))


def faults(rows: Sequence[dict[str, Any]]) -> set[Fault]:
    """What the command reported, from the objects that --json gives."""
    return {(row["finding"], row["place"], row["name"], tuple(row["records"])) for row in rows if "finding" in row}
