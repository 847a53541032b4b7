"""Specify's attachment records."""

from dataclasses import dataclass

#: Values of ScopeType in Specify's table `attachment`. Records of other scopes (division, institution, global) may
#: belong to any collection.
COLLECTION_SCOPE, DISCIPLINE_SCOPE = 0, 1


@dataclass(frozen=True, slots=True)
class Record:
    """One row of Specify's table `attachment`.

    Fields:
        identifier: AttachmentID.
        location: AttachmentLocation, the store name; empty if Specify has none.
        original: OrigFilename, the name of the uploaded file on the user's computer.
        collections: names of the collections to one of which it belongs; None if it may be any.
    """

    identifier: str
    location: str
    original: str
    collections: tuple[str, ...] | None


@dataclass(frozen=True)
class Records:
    """All records of one source, and when they were read or exported (nanoseconds since 1970)."""

    records: tuple[Record, ...]
    as_of_ns: int
