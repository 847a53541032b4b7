"""An upload to a bucket; invisible until it is complete and committed.

A file that fits into one part stays in memory and is stored by one request. A larger file goes to the bucket in parts
while it arrives, if its name is known when it begins. If the name comes later (Specify 7 sends the file first), the
file goes to the local disk first. The service joins the parts at the end, so an object never appears incomplete.

Concurrency: an upload belongs to the thread that receives it.
"""

import contextlib
import logging
import time
import uuid
from types import TracebackType

from assetstore import media_types
from assetstore.errors import AssetError, NotFound, StorageFault
from assetstore.names import PRIVATE_FOLDER
from assetstore.storage.models import REPLACED, Past
from assetstore.storage.s3 import trash
from assetstore.storage.s3.client import PART_BYTES, Bucket, existing, part_size
from assetstore.storage.s3.errors import Passing
from assetstore.storage.s3.layout import Folder, Layout
from assetstore.storage.s3.object_info import modified_attribute
from assetstore.storage.s3.parts import PartsUpload
from assetstore.storage.s3.spool import Spool, SpoolFile

_log = logging.getLogger(__name__)

_PIECE = 1 << 20

#: Uploads up to this size, in bytes, are sent before it is known whether there is an original of that name.
_MOST_TO_CREATE = 1 << 20


class S3Incoming:
    """One upload.

    Parameters:
        layout: the buckets and keys of collection folders.
        spool: for files that arrive before their names.
        goal: collection folder and name, None unless both are known.
        length: about how many bytes to expect, None if not known.
        past: properties of bytes that come from another store.
    """

    def __init__(
        self,
        layout: Layout,
        spool: Spool,
        goal: tuple[str, str] | None,
        length: int | None,
        past: Past | None = None,
    ) -> None:
        self._layout = layout
        self._spool = spool
        self._goal = goal
        self._length = length
        self._identifier = uuid.uuid4().hex
        self._sha256 = past.sha256 if past else None
        self._modified_ns = past.modified_ns if past else time.time_ns()
        self._head = bytearray()
        self._sink: PartsUpload | SpoolFile | None = None
        self._closing = contextlib.ExitStack()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Adds bytes. Raises OutOfSpace, Unavailable, StorageFault, TooLarge."""
        if self._sink is not None:
            self._sink.write(data)
            return
        self._head += data
        if len(self._head) > PART_BYTES:
            self._sink = self._new_sink()
            self._sink.write(bytes(self._head))
            self._head.clear()

    def _new_sink(self) -> PartsUpload | SpoolFile:
        if self._goal is None:
            # Space is reserved as bytes arrive, because the announced length may be false.
            return self._closing.enter_context(self._spool.file())
        collection_dir, name = self._goal
        originals = self._layout.originals(collection_dir)
        upload = PartsUpload(originals.bucket, originals.key(name), self._attributes(name), part_size(self._length))
        self._closing.callback(upload.abort)
        return upload

    def sync(self, sha256: str | None = None) -> None:
        """Records the checksum. The bytes are durable when `commit` returns."""
        self._sha256 = sha256 or self._sha256

    def commit(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        """Makes the bytes the original of that name. Returns whether it replaced one.

        Raises BadRequest, OutOfSpace, Unavailable or StorageFault; the old version then still exists, and may
        also be in the trash.
        """
        if self._goal not in (None, (collection_dir, name)):
            raise StorageFault(
                "The upload changed its name or collection.",
                f"{(collection_dir, name)!r} instead of {self._goal!r}",
            )
        originals = self._layout.originals(collection_dir)
        key = originals.key(name)
        if self._is_created(originals, key, name):
            return False
        old = existing(originals.bucket, key, confirm=False)  # storing the object fails if there is no bucket
        if old is not None and old.attributes.get("upload") == self._identifier:
            return False  # it was created, but the answer was lost
        with contextlib.ExitStack() as stack:
            if old is not None and keep_old:
                with contextlib.suppress(NotFound):  # another server has just deleted it
                    stack.enter_context(trash.kept(self._layout.trash(collection_dir), old, name, REPLACED))
            try:
                self._store(originals.bucket, key, name)
            except Passing:
                if not self._has_arrived(originals.bucket, key):
                    raise
        return old is not None

    def _is_created(self, folder: Folder, key: str, name: str) -> bool:
        """Stores a small upload by one request if there is no original of that name. Returns whether it did."""
        if self._sink is not None or len(self._head) > _MOST_TO_CREATE:
            return False
        if not folder.bucket.can_create(folder.key(f"{PRIVATE_FOLDER}/trial-{self._identifier}")):
            return False
        with contextlib.suppress(Passing):  # it may have been stored nevertheless
            return folder.bucket.create(key, bytes(self._head), self._attributes(name))
        return False

    def _store(self, bucket: Bucket, key: str, name: str) -> None:
        if self._sink is None:
            bucket.put(key, bytes(self._head), self._attributes(name))
        elif isinstance(self._sink, PartsUpload):
            self._sink.finish()
        else:
            bucket.put_stream(key, self._sink.pieces(_PIECE), self._attributes(name), part_size(self._sink.size))

    def _has_arrived(self, bucket: Bucket, key: str) -> bool:
        """Whether the object was stored although the call failed."""
        try:
            return bucket.head(key, insist=True).attributes.get("upload") == self._identifier
        except AssetError:
            return False

    def _attributes(self, name: str) -> dict[str, str]:
        attributes = {
            "Content-Type": media_types.header(name),
            "mtime": modified_attribute(self._modified_ns),
            "upload": self._identifier,
        }
        return {**attributes, "sha256": self._sha256} if self._sha256 else attributes

    def __enter__(self) -> "S3Incoming":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._closing.close()
        except OSError as failure:
            # The upload itself has succeeded or failed already. The next start removes what is left over.
            _log.error("the temporary file of an upload was not removed: %s", failure)
