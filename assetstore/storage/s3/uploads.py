"""An upload on its way into a bucket; invisible until all of it is there and it is committed.

What fits into one part waits in memory and is stored by one request. More than that goes to the bucket in
parts while it comes, if the name is known when it begins; what comes before its name (Specify 7 sends the file
first) waits on the local disk. The service joins the parts at the end: an object appears whole or not at all.

Concurrency: an upload belongs to the thread that receives it.
"""

import contextlib
import logging
import time
import uuid
from collections.abc import Callable
from types import TracebackType

from assetstore import media_types
from assetstore.errors import AssetError, NotFound, StorageFault
from assetstore.storage.models import REPLACED, Past
from assetstore.storage.s3 import trash
from assetstore.storage.s3.client import PART_BYTES, Bucket, part_size
from assetstore.storage.s3.errors import Passing
from assetstore.storage.s3.layout import Folder
from assetstore.storage.s3.object_info import Found, modified_attribute
from assetstore.storage.s3.parts import PartsUpload
from assetstore.storage.s3.spool import Spool, SpoolFile

_log = logging.getLogger(__name__)

_PIECE = 1 << 20


class S3Incoming:
    """One upload.

    Parameters:
        folders: gives the folders of originals and of trash of a place.
        spool: for what comes before its name.
        goal: place and name, None if they are not both known.
        length: about how many bytes will come, None if that is not known.
        past: of bytes that come from another store.
    """

    def __init__(
        self,
        folders: Callable[[str], tuple[Folder, Folder]],
        spool: Spool,
        goal: tuple[str, str] | None,
        length: int | None,
        past: Past | None = None,
    ) -> None:
        self._folders = folders
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
            # Room is taken as bytes come: whoever only promises many must not keep others out.
            return self._closing.enter_context(self._spool.file())
        collection_dir, name = self._goal
        originals, _ = self._folders(collection_dir)
        upload = PartsUpload(originals.bucket, originals.key(name), self._attributes(name), part_size(self._length))
        self._closing.callback(upload.abort)
        return upload

    def sync(self, sha256: str | None = None) -> None:
        """Takes note of the checksum; the bytes are safe when `commit` returns."""
        self._sha256 = sha256 or self._sha256

    def commit(self, collection_dir: str, name: str, keep_old: bool) -> bool:
        """Makes the bytes the original of that name; True if it replaced one.

        Raises BadRequest, OutOfSpace, Unavailable or StorageFault; the old version is then still there, and may
        be in the trash, too.
        """
        if self._goal not in (None, (collection_dir, name)):
            raise StorageFault(
                "The upload contradicts itself.", f"{(collection_dir, name)!r} instead of {self._goal!r}"
            )
        originals, trash_folder = self._folders(collection_dir)
        key = originals.key(name)
        old = _existing(originals.bucket, key)
        if old is not None and keep_old:
            trash.keep(trash_folder, old, name, REPLACED)
        try:
            self._store(originals.bucket, key, name)
        except Passing:
            if not self._has_arrived(originals.bucket, key):
                raise
        return old is not None

    def _store(self, bucket: Bucket, key: str, name: str) -> None:
        if self._sink is None:
            bucket.put(key, bytes(self._head), self._attributes(name))
        elif isinstance(self._sink, PartsUpload):
            self._sink.finish()
        else:
            bucket.put_stream(key, self._sink.pieces(_PIECE), self._attributes(name), part_size(self._sink.size))

    def _has_arrived(self, bucket: Bucket, key: str) -> bool:
        """Whether the bytes are in their place although the service did not say so."""
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
            # All that matters is done or undone by now; what is left over is swept at the next start.
            _log.error("an unfinished upload is left over: %s", failure)


def _existing(bucket: Bucket, key: str) -> Found | None:
    try:
        return bucket.head(key)
    except NotFound:
        return None
