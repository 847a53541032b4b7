"""The folders of a store on disk, in the layout of all Specify attachment servers:
`BASE/[collection folder/]originals/NAME`.
"""

import errno
from collections.abc import Sequence
from pathlib import Path

from assetstore.errors import StorageFault
from assetstore.files.faults import faults
from assetstore.files.private_folders import make_private, private_folder


class DiskLayout:
    """The folders of a store, and the disks on which they were at the start.

    Parameters:
        base: the folder of all attachments (BASE_DIR).
        originals_name: of the folder of originals (ORIG_DIR).
        thumbnails_name: of the folder of thumbnails (THUMB_DIR).
        collection_dirs: the collection folders below *base*, at least one; empty for *base* itself.
    """

    def __init__(self, base: Path, originals_name: str, thumbnails_name: str, collection_dirs: Sequence[str]) -> None:
        self.base = base
        self.originals_name = originals_name
        self.thumbnails_name = thumbnails_name
        self.collection_dirs = collection_dirs
        self._devices: dict[str, int] = {}

    def originals(self, collection_dir: str) -> Path:
        """Returns the folder of originals of a collection."""
        return self.base / collection_dir / self.originals_name

    def thumbnails(self, collection_dir: str) -> Path:
        """Returns the folder of thumbnails of a collection."""
        return self.base / collection_dir / self.thumbnails_name

    def remember_disk(self, collection_dir: str) -> None:
        """Records the disk of the folder of originals, for `check_disk`. Raises OSError."""
        self._devices[collection_dir] = self.originals(collection_dir).stat().st_dev

    def check_disk(self, collection_dir: str, *, writes: bool = True) -> None:
        """Raises StorageFault if the disk of the folder of originals is no longer mounted, or ReadOnly.

        Otherwise all originals would seem to be deleted, and uploads would go to the disk of the mount point.

        Parameters:
            collection_dir: the collection folder.
            writes: whether the caller changes something; if not, a read-only disk is no error.
        """
        folder = self.originals(collection_dir)
        private = private_folder(folder)
        if private.is_dir():
            return
        with faults():
            try:
                if folder.stat().st_dev == self._devices.get(collection_dir):
                    make_private(private)  # someone removed the private folder
                    return
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno != errno.EROFS or writes:
                    raise
                return  # the disk is there, and only changes require the private folder
        raise StorageFault("The disk with the attachments is not available.", f"{private} is missing")
