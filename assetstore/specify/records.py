"""Specify's attachment records."""

from dataclasses import dataclass

#: What ScopeType means in Specify's table `attachment`; the records of all other scopes (division,
#: institution, all) may belong to any collection.
COLLECTION_SCOPE, DISCIPLINE_SCOPE = 0, 1


@dataclass(frozen=True, slots=True)
class Record:
    """One row of Specify's table `attachment`.

    Fields:
        identifier: AttachmentID.
        location: AttachmentLocation, the store name; empty if Specify has none.
        original: OrigFilename, the name of the file on the computer from which it came.
        collections: names of the collections one of which it belongs to; None if it may be any.
    """

    identifier: str
    location: str
    original: str
    collections: tuple[str, ...] | None


@dataclass(frozen=True)
class Records:
    """All records of one source, and the moment (nanoseconds since 1970) of which they tell."""

    records: tuple[Record, ...]
    as_of_ns: int
