"""The routes that read originals, their thumbnails and their metadata, except those of IIIF and the viewer.

/fileget        an original or, with `type=T`, its thumbnail
/getmetadata    the metadata of an original, or the date it was taken
/getfileref     the address of an original or a thumbnail under /static/
/static/…       an original or a cached thumbnail by its path below BASE_DIR. With VISIBILITY, the parameter `filename`
                names the original of a thumbnail, if it cannot be found by the name of the thumbnail
"""

import functools
import json
from collections.abc import Callable
from urllib.parse import urlencode

import bottle

from assetstore import names
from assetstore.app.bootstrap import AppContext
from assetstore.config import public_urls
from assetstore.errors import NotFound, NotPublic
from assetstore.http.parameters import Parameters
from assetstore.metadata.models import Metadata
from assetstore.routes.access import Access, Readable
from assetstore.routes.delivery import Delivery
from assetstore.routes.recent_thumbnails import SHOWN, Shown
from assetstore.routes.responses import plain, request_context, request_parameters
from assetstore.routes.viewer import Viewer
from assetstore.storage.models import StoredFile
from assetstore.storage.one_version import of_one_version
from assetstore.thumbnails import sources

_NO_LINKS = "Direct links to files are disabled on this server (ALLOW_STATIC_FILE_ACCESS)."
_NO_FILE = "There is no such file."


class Reading:
    """The routes.

    Parameters:
        context: the open store and its settings.
        access: decides which originals a request may read.
        viewer: in which browsers open originals that they do not draw well.
    """

    def __init__(self, context: AppContext, access: Access, viewer: Viewer) -> None:
        self._settings = context.settings
        self._collections = context.collections
        self._storage = context.originals.storage
        self._thumbnails = context.thumbnails
        self._metadata = context.metadata
        self._location_safe = context.location_safe
        self._access = access
        self._viewer = viewer
        self._delivery = Delivery(context.settings)

    def fileget(self) -> bottle.HTTPResponse:
        """Sends an original or, with `type=T`, its thumbnail."""
        query = request_parameters()
        readable = self._access.original(query)
        collection_dir, name = readable.collection_dir, readable.name
        if query.get("type") == "T":
            scale, client = names.scale(query.get("scale")), request_context().client
            shown = Shown(self._access.collection(query), collection_dir, name, scale)
            bottle.request.environ[SHOWN] = shown
            opened = functools.partial(self._thumbnails.open, collection_dir, name, scale, client=client)
            # The thumbnail's media type may differ from the original's.
            return self._delivery.deliver(opened, self._thumbnails.name(name, scale), query, readable.is_public)
        return self._viewer.original(query, readable, lambda: self._deliver(readable, query))

    def getmetadata(self) -> bottle.HTTPResponse:
        """Returns the metadata of an original as JSON or, with `dt=date`, the date it was taken as text."""
        query = request_parameters()
        readable = self._access.original(query)
        headers = readable.cache_headers
        opened = self._original(readable)
        found = of_one_version(lambda: self._read_metadata(opened))
        if query.get("dt") != "date":
            return bottle.HTTPResponse(json.dumps(found.groups), 200, **{"Content-Type": "application/json", **headers})
        if found.date is None:
            raise NotFound("The metadata of the file does not contain the date it was taken.")
        return plain(found.date, **headers)

    def getfileref(self) -> bottle.HTTPResponse:
        """Returns the address under /static/ of an original or, with `type=T`, its thumbnail."""
        if not self._settings.allow_static_file_access:
            raise NotFound(_NO_LINKS)
        query = request_parameters()
        readable = self._access.original(query, is_link=True)
        collection_dir, name = readable.collection_dir, readable.name
        headers = readable.cache_headers
        parameters = ""
        if query.get("type") == "T":
            folder, client = self._settings.thumb_dir, request_context().client
            name = self._thumbnails.linkable(collection_dir, name, names.scale(query.get("scale")), client=client)
            if self._access.has_private_files and readable.name not in sources.candidates(name):
                parameters = "?" + urlencode({"filename": readable.name})
        else:
            folder = self._settings.orig_dir
            self._storage.open_original(collection_dir, name, reads=False).file.close()
        base = public_urls.base_url(self._settings, bottle.request.environ.get("wsgi.url_scheme", "http"))
        return plain(public_urls.static_url(base, collection_dir, folder, name) + parameters, **headers)

    def static(self, path: str) -> bottle.HTTPResponse:
        """Sends an original or a cached thumbnail by its path below BASE_DIR; no other files."""
        if not self._settings.allow_static_file_access:
            raise NotFound(_NO_LINKS)
        *folders, name = path.split("/")
        if name in names.FOLDERS:
            raise NotFound(_NO_FILE)
        name, query = names.store_name(name), request_parameters()
        folder = folders.pop() if folders else ""
        # Only folders from the settings become part of a path. `public_urls` omits one slash of a bucket URL.
        known = {
            "/".join(filter(None, collection_dir.split("/"))): collection_dir
            for collection_dir in self._collections.collection_dirs()
        }
        collection_dir = known.get("/".join(folders))
        if collection_dir is None:
            raise NotFound(_NO_FILE)
        if folder == self._settings.orig_dir:
            return self._deliver(self._access.linked(query, collection_dir, name), query)
        if folder == self._settings.thumb_dir:
            opened = self._cached_thumbnail(collection_dir, name, query)
            return self._delivery.deliver(opened, name, query, not self._access.has_private_files)
        raise NotFound(_NO_FILE)

    def _deliver(self, readable: Readable, query: Parameters) -> bottle.HTTPResponse:
        return self._delivery.deliver(self._original(readable), readable.name, query, readable.is_public)

    def _original(self, readable: Readable) -> Callable[[], StoredFile]:
        """Returns what opens an original or, with LOCATION_SAFE, the copy that everyone may read."""
        collection_dir, name = readable.collection_dir, readable.name
        from_start = self._delivery.reads_from_start()
        opened = functools.partial(self._storage.open_original, collection_dir, name, from_start)
        if self._location_safe is None or not readable.is_public:
            return opened
        return functools.partial(self._location_safe.open, opened, collection_dir, name, request_context().client)

    def _cached_thumbnail(self, collection_dir: str, thumbnail: str, query: Parameters) -> Callable[[], StoredFile]:
        """Returns what opens a cached thumbnail if the request may read its original. Raises NotPublic."""
        if not self._access.has_private_files:
            return functools.partial(self._thumbnails.open_cached, collection_dir, thumbnail)
        request_context().name = thumbnail
        named = query.get("filename")
        candidates = sources.candidates(thumbnail, None if named is None else names.store_name(named))
        readable = [name for name in candidates if self._access.may_read(query, collection_dir, name)]
        if not readable:
            raise NotPublic
        stores = self._storage, self._thumbnails.store
        return functools.partial(sources.open_cached_of, *stores, collection_dir, thumbnail, readable)

    def _read_metadata(self, opened: Callable[[], StoredFile]) -> Metadata:
        with opened() as file:
            return self._metadata.read(file.file, file.version.size, request_context().client)


def install(app: bottle.Bottle, routes: Reading) -> None:
    """Adds the routes to *app*."""
    app.route("/fileget", "GET", routes.fileget)
    app.route("/getmetadata", "GET", routes.getmetadata)
    app.route("/getfileref", "GET", routes.getfileref)
    app.route("/static/<path:path>", "GET", routes.static)
