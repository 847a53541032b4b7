"""The server's private folders in the attachment folders. Only the user of the server may read them."""

from pathlib import Path

from assetstore.names import PRIVATE_FOLDER


def private_folder(folder: Path) -> Path:
    """Returns the private folder in *folder*, which is on the same file system."""
    return folder / PRIVATE_FOLDER


def make_private(folder: Path) -> None:
    """Creates a folder that only this user may read. Raises OSError.

    Its parent folders are not created: if they are missing, their disk is not mounted, and files would end up on
    another disk.
    """
    folder.mkdir(mode=0o700, exist_ok=True)


def make_private_folder(base: Path, name: str) -> Path:
    """Returns a folder in the private folder; creates both if they do not exist. Raises OSError.

    Parameters:
        base: the folder of all attachments, which exists if its disk is mounted.
        name: the name of the folder.
    """
    folder = base / PRIVATE_FOLDER / name
    for path in (folder.parent, folder):
        make_private(path)
    return folder
