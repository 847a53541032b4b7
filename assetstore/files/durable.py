"""Changes that survive a power failure."""

import errno
import os
from pathlib import Path

from assetstore.errors import Unsynced


def confirm(folder: Path, replaces: bool = False) -> None:
    """Makes a completed change in *folder* durable.

    Parameters:
        folder: where the change was made.
        replaces: whether it replaced an original.

    Raises Unsynced.
    """
    try:
        sync_folder(folder)
    except OSError as error:
        sentence = "The server's disk did not confirm the change; please try again."
        raise Unsynced(sentence, str(error), replaces=replaces) from error


def sync_folder(folder: Path) -> None:
    """Makes a rename or removal in *folder* durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems do not support this for folders. The file itself is synced.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Replaces or creates a file, atomically and durably. Raises OSError."""
    draft = path.with_name(f"draft-{os.getpid()}-{path.name}")
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
