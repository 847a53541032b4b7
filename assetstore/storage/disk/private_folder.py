"""The server's own folder in the attachment folder, which no other user may look into: key, journal, notes."""

from pathlib import Path

from assetstore.names import PRIVATE_FOLDER


def make(base: Path, name: str) -> Path:
    """Returns a folder in the private folder; makes both if need be. Raises OSError.

    Parameters:
        base: the folder of all attachments.
        name: of the folder.
    """
    folder = base / PRIVATE_FOLDER / name
    # One by one: mkdir gives its mode only to the last of them.
    for path in (folder.parent, folder):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
