"""The key that the server makes for itself when nobody gave it one.

It lies in a private file inside the attachment folder, so that it moves with the attachments, and
is never served: /static knows the folders of originals and thumbnails only.
"""

import errno
import os
import secrets
import uuid
from pathlib import Path

from assetstore.errors import StorageFault
from assetstore.names import PRIVATE_FOLDER


def own_key(base: Path) -> tuple[str, bool]:
    """Returns the server's own key, and whether it was made just now.

    Parameters:
        base: the folder of all attachments.

    Several processes may start at once: the first to link its key into place wins, and all use it.

    Raises:
        StorageFault: the key cannot be read or written.
    """
    path = key_path(base)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            return _read(path), False
        draft = path.with_name(f"draft-{uuid.uuid4()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, secrets.token_hex(24).encode() + b"\n")
            os.fsync(descriptor)
            _take_name(draft, path)
        except FileExistsError:
            return _read(path), False
        finally:
            os.close(descriptor)
            draft.unlink()
        return _read(path), True
    except OSError as error:
        raise StorageFault("The server cannot keep its key.", str(error)) from error


def _take_name(draft: Path, path: Path) -> None:
    """Gives the draft its name unless somebody was quicker."""
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        # A file system without hard links: then two that start at the very same time may differ.
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as key:
            key.write(draft.read_bytes())


def key_path(base: Path) -> Path:
    """Returns where the server's own key lies."""
    return base / PRIVATE_FOLDER / "key"


def _read(path: Path) -> str:
    key = path.read_text(encoding="utf-8").strip()
    if not key:
        raise StorageFault("The server's own key is empty.", f"{path} is empty; delete it to get a new key")
    return key
