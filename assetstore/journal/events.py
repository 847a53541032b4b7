"""The events of the journal."""

from dataclasses import dataclass

#: What can happen to an original. ADOPTED: the file was unjournaled or differed from the journal, and was accepted.
#: GONE: the file was missing, and this was accepted.
STORED, REPLACED, DELETED, RESTORED = "stored", "replaced", "deleted", "restored"
ADOPTED, GONE, PURGED = "adopted", "gone", "purged"

#: An original became public or private by the setting VISIBILITY.
PUBLIC, PRIVATE = "public", "private"
OPERATIONS = (STORED, REPLACED, DELETED, RESTORED, ADOPTED, GONE, PURGED, PUBLIC, PRIVATE)

#: Operations that do not change the original of that name.
WITHOUT_CHANGE = (PURGED, PUBLIC, PRIVATE)

#: After one of these operations, an original of that name exists.
PRESENT = frozenset((STORED, REPLACED, RESTORED, ADOPTED))

#: Ends the client of changes that `manage.py doctor` made. Names that it stored do not count in statistics.
DOCTOR_MARK = " (doctor)"


@dataclass(frozen=True)
class Event:
    """An event; the fields are those of the table.

    Fields:
        size, sha256: of the original that was stored or removed; None if unknown.
        identifier, time_ns: set by the journal.
        original_name: of the file before it was uploaded, as the client sent it; None if unknown.
    """

    operation: str
    collection_dir: str
    name: str
    collection: str = ""
    size: int | None = None
    sha256: str | None = None
    client: str = ""
    time_ns: int = 0
    identifier: int = 0
    original_name: str | None = None


@dataclass(frozen=True)
class Origin:
    """The source of a change: the collection name that was sent, and the client's address or the command."""

    collection: str
    client: str


def of_doctor(client: str) -> str:
    """Returns the client of a change, marked as that of the doctor."""
    return client + DOCTOR_MARK
