"""Thumbnails of files in the trash, which are rendered for each request and never cached beside those of originals.

Concurrency: any thread may call. The number of files that are rendered at a time is limited, in total and for each
client, and a client waits for a worker as for other thumbnails.
"""

import tempfile
from pathlib import Path

from assetstore import formats, media_types
from assetstore.concurrency.concurrency_limit import ConcurrencyLimit
from assetstore.errors import Unrenderable, UnsupportedType
from assetstore.files.faults import faults
from assetstore.storage.models import TrashEntry
from assetstore.storage.protocols import TrashStorage
from assetstore.thumbnails.rendering.job import Job
from assetstore.thumbnails.rendering.pool import RenderPool, busy

#: The side of the square into which the thumbnails fit, in pixels.
SIZE = 128

#: How many are made at a time; a client gets a third of it.
_MOST = 12


class TrashThumbnails:
    """Renders files in the trash.

    Parameters:
        trash: the trash of the store.
        pool: renders the thumbnails.
        types: media types that get thumbnails (CAN_THUMBNAIL).
    """

    def __init__(self, trash: TrashStorage, pool: RenderPool, types: frozenset[str]) -> None:
        self._trash = trash
        self._pool = pool
        self._types = types & formats.THUMBNAIL_TYPES
        self._limit = ConcurrencyLimit(_MOST)

    def has(self, name: str) -> bool:
        """Returns whether files of this name's type have thumbnails."""
        return media_types.guess(name) in self._types

    def make(self, entry: TrashEntry, client: str) -> tuple[bytes, str]:
        """Returns a thumbnail and its media type.

        Parameters:
            entry: of the trash.
            client: the address of the client.

        Raises NotFound, UnsupportedType, Unrenderable, Unavailable, OutOfSpace, StorageFault, AssetError.
        """
        media_type = media_types.guess(entry.name)
        if media_type not in self._types:
            raise UnsupportedType("Files of this type have no thumbnails.", f"{entry.name!r} is {media_type}")
        if not self._limit.acquire(client):
            raise busy(f"{self._limit.held} files in the trash are being rendered")
        try:
            encoder = formats.encoder(media_type)
            return self._rendered(entry, encoder, client), f"image/{encoder.decoder}"  # JPEG, PNG or GIF
        finally:
            self._limit.release(client)

    def _rendered(self, entry: TrashEntry, encoder: formats.Format, client: str) -> bytes:
        with self._trash.local_file(entry) as source, faults():
            with open(source, "rb") as file:
                decoder = formats.recognise(file.read(formats.HEAD_LENGTH))
            if decoder is None:
                raise Unrenderable("The file is not an image of the type that its name suggests.")
            with tempfile.TemporaryDirectory(prefix="asset-server-", ignore_cleanup_errors=True) as folder:
                target = Path(folder) / "picture"
                self._pool.render(Job(str(source), str(target), decoder.decoder, encoder.decoder, SIZE), client)
                return target.read_bytes()
