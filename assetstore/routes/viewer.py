"""The routes of the viewer: its page and its files.

The page is at /view, for one picture or several, and at /fileget if a browser opens an original in a tab that it cannot
draw. It consists of files in views/viewer, which are public; pictures, manifest and metadata come from the routes that
everyone uses. The Content-Security-Policy allows only the page's own scripts, by a nonce that is random for each
response. Other pages may embed the viewer: nothing can be changed with it.
"""

import functools
import hashlib
import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import bottle

from assetstore import __version__, formats, media_types
from assetstore.app.bootstrap import AppContext
from assetstore.auth.viewer_cookies import MOST_PICTURES
from assetstore.config import public_urls
from assetstore.errors import AssetError, NotFound, NotPublic, Unauthorized
from assetstore.http import navigation
from assetstore.http.parameters import Parameters
from assetstore.iiif import manifests
from assetstore.iiif.identifiers import Identifier
from assetstore.routes.access import Access, Readable
from assetstore.routes.responses import VIEWS, request_context, request_parameters

_SCRIPT, _STYLE = "text/javascript; charset=UTF-8", "text/css; charset=UTF-8"

#: The files of the page in views/viewer; no others are served.
FILES = {
    "adjustments.js": _SCRIPT,
    "elements.js": _SCRIPT,
    "icon.svg": "image/svg+xml",
    "information.js": _SCRIPT,
    "keys.js": _SCRIPT,
    "main.js": _SCRIPT,
    "openseadragon-license.txt": "text/plain; charset=UTF-8",
    "openseadragon.js": _SCRIPT,
    "pages.js": _SCRIPT,
    "picture.js": _SCRIPT,
    "server.js": _SCRIPT,
    "viewer.css": _STYLE,
}

#: Media types that can have thumbnails, but that browsers do not draw, or only some of them.
UNDRAWN = formats.THUMBNAIL_TYPES - {
    *("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/svg+xml", "application/pdf")
}

#: Media types that open in the viewer if the image is large.
_DRAWN = frozenset(("image/jpeg", "image/png"))

_MEGAPIXEL = 1_000_000

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'"


class Viewer:
    """The routes.

    Parameters:
        context: the open store and its settings.
        access: decides which originals a request may read.
    """

    def __init__(self, context: AppContext, access: Access) -> None:
        self._settings = context.settings
        self._collections = context.collections
        self._storage = context.originals.storage
        self._images = context.images
        self._access = access

    def page(self, identifier: str) -> bottle.HTTPResponse:
        """Returns the page for a picture."""
        query = request_parameters()
        return self._checked_page(query, [self._access.identifier(identifier)])

    def page_of_several(self) -> bottle.HTTPResponse:
        """Returns the page for the pictures whose identifiers are the parameters `names`, as in a manifest."""
        query = request_parameters()
        return self._checked_page(query, self._access.identifiers(query, MOST_PICTURES))

    def _checked_page(self, query: Parameters, asked: Sequence[Identifier]) -> bottle.HTTPResponse:
        try:
            readable = self._access.pictures(query, asked)
        except Unauthorized as error:
            raise NotPublic(error.public) from None  # a page for people, not an address of IIIF
        for one in readable:
            self._storage.version(one.collection_dir, one.name)  # raises NotFound
        return self._page(asked, readable, query.get("downloadname"))

    def file(self, name: str) -> bottle.HTTPResponse:
        """Returns a file of the page, one of FILES."""
        if name not in FILES:
            raise NotFound("There is nothing at this address.")
        content = _content(name)
        headers = {"Cache-Control": "no-cache", "ETag": content.etag, "Content-Security-Policy": _NOTHING}
        if content.etag in bottle.request.get_header("If-None-Match", ""):
            return bottle.HTTPResponse("", 304, **headers)
        return bottle.HTTPResponse(content.data, 200, **headers, **{"Content-Type": FILES[name]})

    def original(
        self, query: Parameters, readable: Readable, deliver: Callable[[], bottle.HTTPResponse]
    ) -> bottle.HTTPResponse:
        """Returns an original, or the viewer for it if a browser opens it in a tab and does not draw it well.

        Parameters:
            query: of the request to /fileget.
            readable: the original, which the request may read.
            deliver: returns the response with the file.
        """
        collection_dir, name = readable.collection_dir, readable.name
        if not self._may_show(query, name):
            return deliver()
        if navigation.is_navigation(bottle.request.environ) and self._is_hard_to_draw(collection_dir, name):
            self._storage.version(collection_dir, name)  # raises NotFound
            has_collections = self._collections.folders() is not None
            identifier = Identifier((query.get("coll") or "") if has_collections else None, name)
            response = self._page([identifier], [readable], query.get("downloadname"))
        else:
            response = deliver()
        response.set_header("Vary", navigation.VARY)
        return response

    def _may_show(self, query: Parameters, name: str) -> bool:
        """Whether the response depends on who asks, by the settings and the media type."""
        media_type = media_types.guess(name)
        is_large_type = self._settings.viewer_megapixels is not None and media_type in _DRAWN
        is_shown = self._settings.viewer and media_type in self._settings.can_thumbnail
        return is_shown and (media_type in UNDRAWN or is_large_type) and query.get("view") != "0"

    def _is_hard_to_draw(self, collection_dir: str, name: str) -> bool:
        megapixels = self._settings.viewer_megapixels
        if media_types.guess(name) in UNDRAWN or megapixels is None:
            return True
        try:
            first = self._images.picture(collection_dir, name, client=request_context().client).pages[0]
        except AssetError:
            return False  # as before there was a viewer; sending the file says what is the matter
        return first.width * first.height > megapixels * _MEGAPIXEL

    def _page(
        self, pictures: Sequence[Identifier], readable: Sequence[Readable], download_name: str | None
    ) -> bottle.HTTPResponse:
        """The page for one picture or several; the links lead to the file of the first one, until it is shown."""
        base = public_urls.base_url(self._settings, bottle.request.environ.get("wsgi.url_scheme", "http"))
        root = quote(urlsplit(base).path, safe="/%") + "/"
        nonce = secrets.token_urlsafe(18)
        first, more = pictures[0], f" and {len(pictures) - 1} more" if len(pictures) > 1 else ""
        collection = {} if first.collection is None else {"coll": first.collection}
        file = urlencode({**collection, "filename": first.name})
        name = download_name or first.name
        one, several = Identifier(first.collection, first.name).encoded, manifests.collection_query(pictures)
        values = {
            "version": __version__,
            "nonce": nonce,
            "root": root,
            "title": f"{name}{more}",
            "name": name,
            "manifest": f"{root}iiif/collection?{several}" if more else f"{root}iiif/manifest/{one}",
            "page": first.page,
            "download": f"{root}fileget?{file}&{urlencode({'downloadname': name, 'view': 0})}",
            "metadata": f"{root}getmetadata?{file}",
        }
        policy = (
            f"{_NOTHING}; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self'; connect-src 'self';"
            " require-trusted-types-for 'script'; trusted-types default"
        )
        headers = {
            "Content-Type": "text/html; charset=UTF-8",
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
        }
        response = bottle.HTTPResponse(bottle.template("viewer", values, template_lookup=VIEWS), 200, **headers)
        for cookie in self._access.cookies(readable, root):
            response.add_header("Set-Cookie", cookie)
        return response


def install(app: bottle.Bottle, viewer: Viewer, is_enabled: bool) -> None:
    """Adds the routes to *app* if the viewer is enabled (VIEWER)."""
    if is_enabled:
        app.route("/view/<identifier:path>", "GET", viewer.page)
        app.route("/view", "GET", viewer.page_of_several)
        app.route("/viewer/<name>", "GET", viewer.file)


class _Content(NamedTuple):
    data: bytes
    etag: str


@functools.cache
def _content(name: str) -> _Content:
    with open(f"{VIEWS[0]}/viewer/{name}", "rb") as file:
        data = file.read()
    return _Content(data, f'"{hashlib.sha256(data).hexdigest()[:32]}"')
