"""The metadata of a file."""

from dataclasses import dataclass

#: One group of tags: `{"Name": group, "Fields": {tag: text}}`.
Group = dict[str, object]


@dataclass(frozen=True)
class Metadata:
    """The metadata of a file.

    Fields:
        groups: groups of tags, those of EXIF first.
        date: DateTimeOriginal as the camera wrote it; None if there is none.
    """

    groups: list[Group]
    date: str | None
