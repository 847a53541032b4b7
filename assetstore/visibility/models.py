"""What the sources of visibility, the index and its users share."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

#: The state of a file.
PRIVATE, PUBLIC = 0, 1


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an attachment.

    Fields:
        identifier: AttachmentID, or the line of a table.
        name: the store name.
        is_public: whether the record itself says so.
        is_complete: whether all that it depends on is there; False if its specimen is missing, as while a database is
            being restored.
        embargo: as `embargo.encoded` returns it; None if there is none.
    """

    identifier: int
    name: str
    is_public: bool
    is_complete: bool = True
    embargo: str | None = None


@dataclass(frozen=True)
class Part:
    """A part of all records that has changed.

    Fields:
        number: identifies the part.
        checksum: of its content in the source; None if the part no longer exists.
        records: all records of the part. They must be read before the next part.
    """

    number: int
    checksum: str | None
    records: Iterable[Record]


@dataclass(frozen=True)
class KnownPart:
    """A part in the index: its checksum, and whether all its public records are complete."""

    checksum: str
    is_complete: bool


class Source(Protocol):
    """Where the records come from.

    Attributes:
        name: identifies the source, without a password; the records of another source are worth nothing.
    """

    name: str

    def changed(self, known: Mapping[int, KnownPart], problems: list[str]) -> Iterator[Part]:
        """Yields the parts that differ from their known checksums, all of one point in time.

        Parameters:
            known: the known parts, by number. Incomplete ones may be yielded again although they are the same.
            problems: for sentences about records that cannot be used; such records are not public.

        Raises AssetError: the source cannot be read.
        """


@dataclass(frozen=True)
class Status:
    """The state of the index.

    Fields:
        source: the name of the source.
        public, private, unknown: how many names are public or private by current records; and how many have no
            current, complete record, so that their last state counts.
        records: how many records there are.
        checked_at: when the source was last read, seconds since 1970; None if it never was.
        took: how long that took, in seconds.
        fault: why it could not be read since then; empty if it could.
        problems: sentences about records that cannot be used.
    """

    source: str
    public: int
    private: int
    unknown: int
    records: int
    checked_at: float | None
    took: float
    fault: str
    problems: tuple[str, ...]

    def is_current(self, seconds: int, now: float) -> bool:
        """Whether the source could be read within the last *seconds*: else changes in it may not have taken effect."""
        return not self.fault and self.checked_at is not None and now - self.checked_at <= seconds
