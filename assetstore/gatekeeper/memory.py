"""Answers that the gatekeeper has given before: most of a gallery is looked at again and again."""

import os
import stat
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from assetstore.storage import Version

#: So many answers are remembered, the latest ones; together some 20 MB.
MOST_ANSWERS = 10_000

#: Longer ones are not, in bytes: anybody may wish for a long name to save a file by.
LONGEST_ANSWER = 1000

#: What tells one state of a file from every other: inode, size, times of change of bytes and of inode.
Identity = tuple[int, int, int, int]


@dataclass(frozen=True)
class Wish:
    """A kept thumbnail that somebody wants: of which original, where both are, its size and the name to save it by."""

    place: str
    name: str
    scale: int
    download_name: str | None


@dataclass(frozen=True)
class Remembered:
    """The answers to a wish, and of which files.

    Fields:
        files: identities of original and thumbnail.
        version: of the thumbnail.
        sent, unchanged: heads of the answers with 200 and 304, without what differs each time.
    """

    files: tuple[Identity, Identity]
    version: Version
    sent: bytes
    unchanged: bytes


class Memory:
    """What is remembered; for one thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[Wish, Remembered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def recall(self, wish: Wish, files: tuple[Identity, Identity]) -> Remembered | None:
        """Returns the answers to a wish if they were made of these files as they are now."""
        found = self._known.get(wish)
        if found is None or found.files != files:
            return None
        self._known.move_to_end(wish)
        return found

    def remember(self, wish: Wish, answers: Remembered) -> None:
        """Takes answers in, in place of what was remembered of this wish, unless they are long."""
        if len(answers.sent) > LONGEST_ANSWER:
            return
        self._known[wish] = answers
        self._known.move_to_end(wish)
        if len(self._known) > MOST_ANSWERS:
            self._known.popitem(last=False)


def identity(path: Path | str) -> Identity | None:
    """Returns the identity of a regular file; None if there is none, or a link, of which this does not tell all."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
