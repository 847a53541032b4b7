"""A bucket: the few calls that the store uses. `assetstore.storage.s3.calls` makes them.

Concurrency: any thread may call.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import obstore
from obstore.store import S3Store

from assetstore.errors import AssetError, NotFound, StorageFault
from assetstore.storage.s3 import calls, library
from assetstore.storage.s3.calls import Calls
from assetstore.storage.s3.errors import Occupied, Rejected, translated, unreachable
from assetstore.storage.s3.library import Service, new_client, refuse_after_fork
from assetstore.storage.s3.object_info import Found, found

#: The minimum rate at which a service must store or copy, in bytes per second.
_SLOWEST_BYTES_PER_SECOND = 1_000_000

#: The minimum rate of a download, in bytes per second.
_SLOWEST_DOWNLOAD = 20_000

#: The timeout for storing a part of a large upload. The library itself retries parts.
_PART_SECONDS = 30
_PART_RETRIES = 3

#: The parts of large uploads: S3 allows 10,000, and each is in memory until it is stored.
PART_BYTES = 8 << 20
_MOST_PARTS = 9_000

#: How many keys a request may have (the limit of S3).
_MOST_KEYS = 1000


def part_size(length: int | None) -> int:
    """Returns the size of the parts of an upload of *length* bytes."""
    return max(PART_BYTES, -(-(length or 0) // _MOST_PARTS))


class Bucket:
    """A bucket. Creating one opens no connection."""

    def __init__(self, name: str, service: Service) -> None:
        self.name = name
        self._service = service
        self._calls = Calls(name, service)
        self._can_create: bool | None = None

    def link(self, key: str, seconds: int) -> str:
        """Returns a signed address for GET that is valid for some seconds. Raises StorageFault."""
        return self._calls.call(lambda store: obstore.sign(store, "GET", key, timedelta(seconds=seconds)))

    def signed(self, method: Literal["GET", "DELETE"], path: str, query: str, seconds: int) -> str:
        """Returns a signed address for a request that the library does not know, valid for some seconds.

        Parameters:
            method: of the request.
            path: percent-encoded key, or empty for the bucket itself.
            query: encoded as a query string.
            seconds: how long the address is valid.

        Raises StorageFault.
        """
        # The library appends a slash and a key to the address of the bucket, and signs the result. With a query in that
        # address, they become the value of a last parameter, which services ignore.
        refuse_after_fork()
        service = self._service
        bucket = service.endpoint or f"https://{self.name}.s3.{service.region}.amazonaws.com"
        if not service.is_virtual:
            bucket = f"{bucket}/{self.name}"
        address = f"{bucket}{f'/{path}' if path else ''}?{query}&ignored="
        store = new_client(self.name, replace(service, endpoint=address, is_virtual=True), calls.QUICK_SECONDS)
        try:
            return obstore.sign(store, method, "x", timedelta(seconds=seconds))
        except Exception as error:  # noqa: BLE001 - any error of the library
            raise translated(error) from None

    def head(self, key: str, *, insist: bool = False, confirm: bool = True) -> Found:
        """Returns the metadata of an object.

        Parameters:
            key: of the object.
            insist: whether to call at least once, even if the retry budget is used up.
            confirm: whether to confirm that the object is missing. Otherwise, it may be the bucket that is missing.

        Raises NotFound, Unavailable, StorageFault.
        """
        try:
            result = self._calls.call(lambda store: obstore.get(store, key, options={"head": True}), insist=insist)
        except (NotFound, Rejected) as error:
            if confirm or isinstance(error, Rejected):
                self._explain(key)
            raise
        return found(result.meta, result.attributes)

    def start(self, key: str, length: int) -> tuple[Found, bytes]:
        """Returns the metadata of an object and its first *length* bytes, or all bytes if it has fewer.

        Raises NotFound, Unavailable, StorageFault.
        """

        def get(store: S3Store) -> tuple[Found, bytes]:
            result = obstore.get(store, key, options={"range": (0, length)})
            return found(result.meta, result.attributes), bytes(result.bytes())

        try:
            return self._calls.call(get, length / _SLOWEST_BYTES_PER_SECOND)
        except StorageFault:
            return self.head(key), b""  # an empty object has no first byte

    def _explain(self, key: str) -> None:
        """Raises the reason for which a HEAD request failed, if there is a particular one.

        The response to a HEAD request has no body, and only the body distinguishes a missing bucket from a missing
        object, and a wrong clock from a wrong key.
        """
        with contextlib.suppress(NotFound, StorageFault):
            self._calls.call(lambda store: obstore.get(store, key, options={"range": (0, 1)}))

    def window(self, object: Found, first: int, length: int) -> bytes:
        """Returns some bytes of an object. Raises Overtaken if it was replaced, NotFound, Unavailable."""

        def get(store: S3Store) -> bytes:
            options = {"range": (first, first + length), "if_match": object.etag}
            result = obstore.get(store, object.key, options=options)  # type: ignore[arg-type]
            object.check(result.meta)
            return bytes(result.bytes())

        return self._calls.call(get, length / _SLOWEST_BYTES_PER_SECOND)

    def stream(self, object: Found, first: int, end: int) -> Iterator[bytes]:
        """Starts to read an object from byte *first* to *end* (exclusive). Raises as `window`, also while reading."""
        options = {"range": (first, end), "if_match": object.etag}
        result = self._calls.call(lambda _: obstore.get(self._calls.client(library.DAY), object.key, options=options))  # type: ignore[arg-type]
        object.check(result.meta)
        # A minimum of 1 byte, because otherwise the library waits for larger pieces.
        return self._pieces(iter(result.stream(1)))

    def _pieces(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        received, waited = 0, 0.0
        while True:
            began = time.monotonic()
            try:
                piece = next(pieces, None)
            except Exception as error:  # noqa: BLE001 - any error of the library
                raise translated(error) from None
            if piece is None:
                return
            received += len(piece)
            waited += time.monotonic() - began
            if waited > library.SILENCE_SECONDS and received < waited * _SLOWEST_DOWNLOAD:
                raise unreachable(f"only {received} bytes were received in {waited:.0f} seconds")
            yield piece

    def put(self, key: str, data: bytes, attributes: Mapping[str, str]) -> None:
        """Stores an object by one request. Raises OutOfSpace, Unavailable, StorageFault."""
        seconds = max(2 * calls.QUICK_SECONDS, len(data) / _SLOWEST_BYTES_PER_SECOND)
        self._calls.call(
            lambda store: obstore.put(store, key, data, attributes=dict(attributes), use_multipart=False), seconds
        )

    def create(self, key: str, data: bytes, attributes: Mapping[str, str]) -> bool:
        """Stores an object by one request unless there is one. Returns whether it did. Raises as `put`.

        If the answer to a first attempt was lost, the object that is there may be this one.
        """
        seconds = max(2 * calls.QUICK_SECONDS, len(data) / _SLOWEST_BYTES_PER_SECOND)
        options: dict[str, Any] = {"use_multipart": False, "mode": "create"}
        with contextlib.suppress(Occupied):
            self._calls.call(
                lambda store: obstore.put(store, key, data, attributes=dict(attributes), **options), seconds
            )
            return True
        return False

    def can_create(self, key: str) -> bool:
        """Returns whether the service knows the condition of `create`: some ignore it, and would replace an object.

        The first call finds out, with a temporary object of the given key. Raises Unavailable.
        """
        if self._can_create is None:
            try:
                self._can_create = self.create(key, b"", {}) and not self.create(key, b"", {})
            except StorageFault:
                self._can_create = False
            with contextlib.suppress(AssetError):
                self.delete([key])
        return self._can_create

    def put_stream(self, key: str, pieces: Iterator[bytes], attributes: Mapping[str, str], size_of_parts: int) -> None:
        """Stores an object in parts. It becomes visible at the end; if *pieces* raises an error, nothing is stored.

        Raises the errors of *pieces*, OutOfSpace, Unavailable, StorageFault.
        """
        store = self._calls.client(_PART_SECONDS, _PART_RETRIES)
        options: dict[str, Any] = {"use_multipart": True, "chunk_size": size_of_parts, "max_concurrency": 2}
        refuse_after_fork()
        with self._calls.circuit_breaker.guard(waits=False):
            try:
                obstore.put(store, key, pieces, attributes=dict(attributes), **options)
            except Exception as error:  # noqa: BLE001 - any error of the library
                raise translated(error) from None

    def copy(self, object: Found, target: str) -> None:
        """Has the service copy an object with its metadata. Raises NotFound, Unavailable, StorageFault."""
        seconds = max(2 * calls.QUICK_SECONDS, object.size / _SLOWEST_BYTES_PER_SECOND)
        self._calls.call(lambda store: obstore.copy(store, object.key, target), seconds)

    def delete(self, keys: Sequence[str]) -> None:
        """Removes objects, each by a request; missing ones are ignored. Raises Unavailable, StorageFault."""
        if keys:
            self._calls.call(lambda store: obstore.delete(store, [*keys]), 2 * calls.QUICK_SECONDS)

    def list(self, folder: str, after: str | None = None) -> Iterator[Found]:
        """Yields the objects whose keys begin with *folder* and a slash, in the order of their keys.

        Parameters:
            folder: without the slash.
            after: only keys after this one.

        The objects have no attributes. Raises Unavailable, StorageFault.
        """
        while True:
            page = self._calls.call(partial(self._page, folder, after), 2 * calls.QUICK_SECONDS)
            yield from page
            if not page:
                return
            after = page[-1].key

    @staticmethod
    def _page(folder: str, after: str | None, store: S3Store) -> Sequence[Found]:
        pages = obstore.list(store, folder, offset=after, chunk_size=_MOST_KEYS)
        return [found(meta, {}) for meta in next(iter(pages), ())]


def existing(bucket: Bucket, key: str, *, confirm: bool = True) -> Found | None:
    """Returns an object, None if it is missing. The parameters and errors are those of `Bucket.head`."""
    try:
        return bucket.head(key, confirm=confirm)
    except NotFound:
        return None
