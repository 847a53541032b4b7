"""Several originals as one zip archive, which is written while it is sent.

The archive is made by zipstream-ng. Files are stored without compression, because images are compressed already. Only
one piece of one file is in memory.

Concurrency: an archive belongs to the thread that sends it. A file that is replaced meanwhile is sent in one version,
or it is named in the list of missing files.
"""

import contextlib
import logging
import unicodedata
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

import zipstream

from assetstore.errors import AssetError, NotFound
from assetstore.names import spelled, split_extension
from assetstore.originals.service import Originals
from assetstore.storage.models import StoredFile

_log = logging.getLogger(__name__)

#: The text file that names the files that are missing from the archive, or incomplete in it.
MISSING = "MISSING FILES.txt"

_HEADING = "These files are missing from this archive, or may be incomplete in it. Download them again:"


class ZipArchive:
    """The bytes of an archive, as the body of a response.

    Parameters:
        originals: the store.
        files: the originals, each as collection folder and name.
        folders: the folder in the archive for each collection folder, used if there are several.

    Attributes:
        sent: how many bytes were sent so far.
        on_close: called when the archive was sent, or the connection was lost.
    """

    def __init__(self, originals: Originals, files: Sequence[tuple[str, str]], folders: Mapping[str, str]) -> None:
        self._storage = originals.storage
        self._files = files
        self._names = archive_names(files, folders)
        self._problems: list[str] = []
        self._body = self._written()
        self.sent = 0
        self.on_close: Callable[[], object] = lambda: None

    def __iter__(self) -> Iterator[bytes]:
        for data in self._body:
            self.sent += len(data)
            yield data

    def close(self) -> None:
        """Closes the open file; the web server calls this, also after the connection was lost."""
        self._body.close()
        self.on_close()

    def _written(self) -> Generator[bytes, None, None]:
        archive = zipstream.ZipStream(compress_type=zipstream.ZIP_STORED)
        for (collection_dir, name), archive_name in zip(self._files, self._names, strict=True):
            with contextlib.ExitStack() as stack:
                try:
                    stored = stack.enter_context(self._storage.open_original(collection_dir, name))
                except AssetError as error:
                    self._note(archive_name, error)
                    continue
                archive.add(self._pieces(stored, archive_name), archive_name, size=stored.version.size)
                yield from archive.all_files()
        if self._problems:
            archive.add("\n".join([_HEADING, "", *self._problems, ""]), _unused(MISSING, {*map(_key, self._names)}))
        yield from archive.finalize()

    def _pieces(self, stored: StoredFile, archive_name: str) -> Iterator[bytes]:
        left = stored.version.size
        try:
            for piece in stored.pieces(0, left):
                left -= len(piece)
                yield piece
            stored.check_unmodified()
        except (AssetError, OSError) as error:
            self._note(archive_name, error)
            return

    def _note(self, archive_name: str, error: AssetError | OSError) -> None:
        if isinstance(error, NotFound):
            reason = "It was deleted."
        else:
            reason = error.public if isinstance(error, AssetError) else "The file cannot be read."
            _log.error("a file in a zip archive cannot be read: %s", getattr(error, "detail", "") or error)
        self._problems.append(f"{archive_name}: {reason}")


def archive_names(files: Sequence[tuple[str, str]], folders: Mapping[str, str]) -> list[str]:
    """Returns the name of each file in an archive, all different even if case and Unicode forms are ignored.

    Parameters:
        files: collection folder and name of each.
        folders: the folder in the archive for each collection folder, used if the files are of several.
    """
    has_folders = len({collection_dir for collection_dir, _ in files}) > 1
    used: set[str] = set()
    found = []
    for collection_dir, name in files:
        # Programs that unpack archives treat a backslash as a slash.
        base = spelled(name).replace("\\", "_")
        if has_folders:
            folder = folders.get(collection_dir) or collection_dir
            base = f"{_folder_name(folder)}/{base}"
        found.append(_unused(base, used))
        used.add(_key(found[-1]))
    return found


def _folder_name(folder: str) -> str:
    name = "".join(letter if letter.isprintable() and letter not in '/\\:*?"<>|' else "_" for letter in folder)
    return name.strip(" .") or "other"


def _unused(name: str, used: Iterable[str]) -> str:
    root, extension = split_extension(name)
    number = 1
    while _key(name) in used:
        number += 1
        name = f"{root}-{number}{extension}"
    return name


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
