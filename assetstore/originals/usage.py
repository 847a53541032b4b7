"""The size of the store by media type, and originals with identical content."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from assetstore import media_types
from assetstore.journal import events
from assetstore.originals.service import Originals


@dataclass(frozen=True)
class Kind:
    """The originals of one media type in one folder."""

    collection_dir: str
    media_type: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Duplicate:
    """Originals with the same bytes, by the checksums of the journal: folder and name of each."""

    sha256: str
    size: int
    files: tuple[tuple[str, str], ...]


def kinds(originals: Originals, collection_dir: str) -> Iterator[Kind]:
    """Yields the originals of a folder by media type, largest total size first. Raises StorageFault."""
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for listed in originals.storage.originals(collection_dir):
        media_type = media_types.guess(listed.name)
        files[media_type] += 1
        sizes[media_type] += listed.size
    for media_type, size in sizes.most_common():
        yield Kind(collection_dir, media_type, files[media_type], size)


def duplicates(originals: Originals, collection_dirs: list[str]) -> Iterator[Duplicate]:
    """Yields originals with identical content, those that waste most space first. Raises StorageFault.

    Includes only files whose checksum is in the journal; `manage.py verify --adopt` adds all files.
    """
    found: defaultdict[tuple[str, int], list[tuple[str, str]]] = defaultdict(list)
    for collection_dir in collection_dirs:
        sizes = {listed.name: listed.size for listed in originals.storage.originals(collection_dir)}
        for event in originals.journal.state(collection_dir):
            is_known = event.operation in events.PRESENT and event.sha256 is not None
            if is_known and event.size is not None and sizes.get(event.name) == event.size > 0:
                found[event.sha256 or "", event.size].append((collection_dir, event.name))
    groups = [Duplicate(sha256, size, tuple(files)) for (sha256, size), files in found.items() if len(files) > 1]
    yield from sorted(groups, key=lambda group: (-group.size * (len(group.files) - 1), group.sha256))
