"""The pictures of a store as IIIF has them: their pages, the parts of a page, and the state of its pyramid.

A part is rendered from the pyramid of its page, or from the original if that is quick: if the page is small, or a TIFF
that has tiles and smaller versions itself.

Concurrency: any thread may call. Requests for the same part at the same time share one result. Jobs wait for a render
worker in the fair queue, and the number of waiting requests is limited, in total and for each client address. Most
viewers never request a tile again that was refused, so a request for a tile waits until its pyramid is made. As that
takes up to a minute, only half of the waiting requests may; the others have it made, too, but are refused.
"""

import functools
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import cachetools

from assetstore import __version__, formats, media_types
from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.concurrency.single_flight import SingleFlight
from assetstore.errors import AssetError, NotFound, Overtaken, Unrenderable, UnsupportedType
from assetstore.iiif import parameters
from assetstore.iiif.parameters import Part
from assetstore.iiif.pyramids import PageSource, Pyramids, PyramidState, Stage
from assetstore.storage.models import StoredPyramid, Version
from assetstore.storage.protocols import OriginalReader
from assetstore.storage.thumbnail_cache import ThumbnailCache
from assetstore.thumbnails import uncached
from assetstore.thumbnails.rendering.job import PYRAMID, AnyJob, Page, PagesJob, RegionJob
from assetstore.thumbnails.rendering.pool import TIMEOUT_SECONDS, RenderPool, busy

__all__ = ["Images", "Page", "Picture", "PyramidState", "Stage"]

#: How often to try again if the original or its pyramid is replaced or removed in the meantime.
_ATTEMPTS = 3

#: How many descriptions of pictures are cached in memory.
_MOST_PICTURES = 5000

#: The size of the cache of parts in memory, in bytes: some hundred tiles.
_CACHE_BYTES = 32 << 20

#: Of how many pages of an original pyramids are made in advance.
_PAGES_IN_ADVANCE = 20

#: By how much a JPEG must be reduced to be rendered quickly without a pyramid: its decoder does that.
_QUICK_REDUCTION = 8

#: Which share of the waiting requests may wait for pyramids: one of this number.
_PART_FOR_PYRAMIDS = 2

#: Up to which size an original in a bucket is copied for each part, in bytes.
_SMALL_FILE = 4 << 20

Result = TypeVar("Result")


@dataclass(frozen=True)
class Picture:
    """The pages of one version of an original.

    Fields:
        version: of the original.
        pages: at least one.
        decoder: the format (`assetstore.formats`).
        has_more: whether the file has further pages, which cannot be shown.
    """

    version: Version
    pages: tuple[Page, ...]
    decoder: str = ""
    has_more: bool = False

    def page(self, number: int) -> Page:
        """Returns a page by its number in IIIF, from 1. Raises NotFound."""
        if number > len(self.pages) and self.has_more:
            raise NotFound(f"There is no page {number}: only the first {len(self.pages)} pages can be shown.")
        if number > len(self.pages):
            raise NotFound(f"There is no page {number}: the file has {len(self.pages)}.")
        return self.pages[number - 1]


class Images:
    """The pictures of one store.

    Parameters:
        storage: the store of originals.
        pyramids: their pyramids.
        pool: renders parts.
        types: the media types of pictures (CAN_THUMBNAIL).
        waiting: how many requests may wait at the same time.
        secret: the key of the entity tags of parts, of at most 64 bytes. The tag of an original in a bucket may contain
            its checksum, by which a guess of its metadata could be checked.
    """

    def __init__(  # noqa: PLR0917 - the parts of the service
        self,
        storage: OriginalReader,
        pyramids: Pyramids,
        pool: RenderPool,
        types: frozenset[str],
        waiting: ElasticLimit,
        secret: bytes,
    ) -> None:
        self._secret = secret
        self._storage = storage
        self.pyramids = pyramids
        self._pool = pool
        self._types = types
        self._waiting = waiting
        self._waiting_for_pyramids = ElasticLimit(max(1, waiting.number // _PART_FOR_PYRAMIDS), waiting)
        self._described: SingleFlight[Picture] = SingleFlight()
        self._rendered: SingleFlight[bytes] = SingleFlight()
        self._lock = threading.Lock()
        self._pictures: cachetools.LRUCache[str, Picture] = cachetools.LRUCache(_MOST_PICTURES)
        self._parts = ThumbnailCache(_CACHE_BYTES)

    def picture(self, collection_dir: str, name: str, *, client: str, background: bool = False) -> Picture:
        """Returns the pages of an original.

        Parameters:
            collection_dir, name: of the original.
            client: the address of the client; workers serve clients round robin.
            background: whether all requests come first.

        Raises NotFound, UnsupportedType (files of this type are no pictures), Unrenderable, Unavailable, StorageFault.
        """
        version = self._storage.version(collection_dir, name)
        media_type = media_types.guess(name)
        if media_type not in self._types or media_type not in formats.THUMBNAIL_TYPES:
            raise UnsupportedType("Files of this type cannot be shown as images.", f"{name!r} is {media_type}")
        key = f"{collection_dir}/{name}/{version.etag}"
        with self._lock:
            known = self._pictures.get(key)
        if known is not None:
            return known
        render = functools.partial(self._pool.render, client=client, background=background)
        work = functools.partial(self._describe, collection_dir, name, version, render)
        picture = self._limited(self._waiting, client, lambda: self._described.do(key, work, TIMEOUT_SECONDS))
        with self._lock:
            self._pictures[key] = picture
        return picture

    def state(self, collection_dir: str, name: str, page: int, *, client: str) -> PyramidState:
        """Returns how far the pyramid of a page (from 1) is; does not start to make it. Raises as `picture`."""
        picture = self.picture(collection_dir, name, client=client)
        if not _needs_pyramid(picture, picture.page(page)):
            return PyramidState(Stage.NOT_NEEDED, 1.0)
        return self.pyramids.state(page_source(collection_dir, name, picture, page))

    def etag(self, picture: Picture, page: int, part: Part) -> str:
        """Returns the strong entity tag of a part: it differs whenever the bytes may differ."""
        size = (picture.page(page).width, picture.page(page).height)
        identity = "\0".join((picture.version.etag, str(page), parameters.canonical(3, part, size), __version__))
        return text_etag(identity, self._secret)

    def part(self, collection_dir: str, name: str, picture: Picture, page: int, part: Part, *, client: str) -> bytes:
        """Returns a part of a page, encoded in its format.

        Parameters:
            collection_dir, name: of the original.
            picture: its pages.
            page: number of the page, from 1.
            part: what to render.
            client: the address of the client; workers serve clients round robin.

        Raises NotFound, Unrenderable, Unavailable, OutOfSpace, StorageFault.
        """
        source = page_source(collection_dir, name, picture, page)
        key = self.etag(picture, page, part)
        cached = self._parts.get(collection_dir, f"{name}/{key}")
        if cached is not None:
            return cached[1]
        wanted = _Wanted(source, picture.page(page), part, client)
        render = functools.partial(self._render, wanted)
        limit, refused = self._waiting, lambda: None
        if self._requires_pyramid(wanted, wanted.page) and self.pyramids.find(source) is None:
            limit, refused = self._waiting_for_pyramids, lambda: self.pyramids.start(source, client)
        work = functools.partial(self._rendered.do, f"{source.key}/{key}", render, 2 * TIMEOUT_SECONDS)
        data = self._limited(limit, client, work, refused)
        self._parts.put(collection_dir, f"{name}/{key}", picture.version, data)
        return data

    def prepare(self, collection_dir: str, name: str, least_bytes: int = 0) -> int:
        """Makes the pyramids of an original in the background, unless it has fewer bytes; returns how many it made.

        Of a long PDF, only the first pages get one.

        Raises as `picture`, and OutOfSpace.
        """
        if self._storage.version(collection_dir, name).size < least_bytes:
            return 0
        picture = self.picture(collection_dir, name, client="background", background=True)
        first = picture.pages[:_PAGES_IN_ADVANCE]
        numbers = [number for number, page in enumerate(first, 1) if _needs_pyramid(picture, page)]
        made = (self.pyramids.make_in_background(page_source(collection_dir, name, picture, page)) for page in numbers)
        return sum(made)

    @staticmethod
    def _limited(
        limit: ElasticLimit, client: str, work: Callable[[], Result], refused: Callable[[], None] = lambda: None
    ) -> Result:
        """Does something for which a request may have to wait; calls *refused* if it may not. Raises Unavailable."""
        if not limit.acquire(client):
            refused()
            raise busy(f"{limit.held} requests are waiting for images")
        try:
            return work()
        except TimeoutError:
            raise busy("another request took too long for the same image") from None
        finally:
            limit.release(client)

    def _describe(self, collection_dir: str, name: str, version: Version, render: Callable[[AnyJob], None]) -> Picture:
        with self._storage.open_original(collection_dir, name) as original:
            format = formats.recognise(original.file.read(formats.HEAD_LENGTH))
        if format is None:
            detail = f"{name!r} has an unknown signature"
            raise Unrenderable("The file is not an image of the type that its name suggests.", detail)
        with self._storage.local_original(collection_dir, name) as source, uncached.temporary() as new:
            render(PagesJob(str(source), str(new.path), format.decoder))
            described = json.loads(new.path.read_bytes())
        self._check_unchanged(collection_dir, name, version)
        pages = tuple(Page(*page) for page in described["pages"])
        return Picture(version, pages, format.decoder, described["has_more"])

    def _check_unchanged(self, collection_dir: str, name: str, version: Version) -> None:
        """Raises Unavailable: the original was replaced while it was read, so the result may be of either version."""
        if self._storage.version(collection_dir, name) != version:
            raise busy("the original was replaced")

    def _render(self, wanted: "_Wanted") -> bytes:
        source, page = wanted.source, wanted.page
        for attempt in range(_ATTEMPTS):
            pyramid = self._pyramid(wanted, page)
            try:
                data = self._rendered_once(pyramid, wanted)
            except AssetError as error:
                self._check_unchanged(source.collection_dir, source.name, source.version)
                if pyramid is None and isinstance(error, Unrenderable):
                    page = page._replace(needs_pyramid=True)  # other engines may be able to read it
                elif pyramid is None or attempt + 1 == _ATTEMPTS or self._still_exists(source, error):
                    raise
            else:
                self._check_unchanged(source.collection_dir, source.name, source.version)
                return data
        raise busy(f"the pyramid of {source.name!r} was removed again and again")

    def _still_exists(self, source: PageSource, error: AssetError) -> bool:
        """Whether a pyramid that could not be read is still there."""
        return not isinstance(error, Overtaken) and self.pyramids.find(source) is not None

    def _rendered_once(self, pyramid: StoredPyramid | None, wanted: "_Wanted") -> bytes:
        """The part, from the pyramid or else from the original."""
        if pyramid is not None:
            return self._rendered_from(pyramid, PYRAMID, wanted)
        source = wanted.source
        with self._storage.local_original(source.collection_dir, source.name) as original:
            return self._rendered_from(StoredPyramid(original), source.decoder, wanted)

    def _pyramid(self, wanted: "_Wanted", page: Page) -> StoredPyramid | None:
        """The pyramid from which to render a part, None if the original is quick enough. Raises as `part`."""
        if self._requires_pyramid(wanted, page):
            return self.pyramids.require(wanted.source, wanted.client, TIMEOUT_SECONDS)
        return self.pyramids.find(wanted.source) if page.needs_pyramid else None

    @staticmethod
    def _requires_pyramid(wanted: "_Wanted", page: Page) -> bool:
        """Whether a part can only be rendered from a pyramid."""
        source, part = wanted.source, wanted.part
        if not (page.needs_pyramid or _is_far(source.version)):
            return False
        is_whole = part.region == (0, 0, page.width, page.height)
        reduction = min(part.region[2] / part.size[0], part.region[3] / part.size[1])
        is_quick = source.decoder == "jpeg" and is_whole and reduction >= _QUICK_REDUCTION
        return not is_quick or page is not wanted.page or _is_far(source.version)

    def _rendered_from(self, file: StoredPyramid, decoder: str, wanted: "_Wanted") -> bytes:
        page, part = wanted.page, wanted.part
        with uncached.temporary() as new:
            job = RegionJob(
                str(file.path or ""), str(new.path), decoder, page.number, page.width, page.height, page.orientation,
                part.region, part.size, part.is_mirrored, part.rotation, part.quality,
                parameters.FORMATS[part.format][0], file.size,
            )  # fmt: skip
            self._pool.render(job, wanted.client, read_part=file.read)
            return new.path.read_bytes()


class _Wanted(NamedTuple):
    """A part that a client requested."""

    source: PageSource
    page: Page
    part: Part
    client: str


def page_source(collection_dir: str, name: str, picture: Picture, number: int) -> PageSource:
    """Returns what a pyramid of a page (from 1) is made of. Raises NotFound."""
    page = picture.page(number)
    return PageSource(
        collection_dir, name, picture.version, picture.decoder, number, page.number, page.orientation
    )  # fmt: skip


def _needs_pyramid(picture: Picture, page: Page) -> bool:
    return page.needs_pyramid or _is_far(picture.version)


def _is_far(version: Version) -> bool:
    """Whether an original is in a bucket, and too large to be copied for each part."""
    return bool(version.content) and version.size > _SMALL_FILE


def text_etag(text: str, secret: bytes = b"") -> str:
    """Returns a strong entity tag for everything that is determined by a text and a secret."""
    return f'"{hashlib.blake2b(text.encode(), key=secret, digest_size=16).hexdigest()}"'
