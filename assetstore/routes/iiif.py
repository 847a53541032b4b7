"""The routes of the IIIF Image API: `/iiif/3/…` (3.0) and `/iiif/2/…` (2.1).

    /iiif/3/IDENTIFIER                                          redirects to info.json
    /iiif/3/IDENTIFIER/info.json                                the size of the picture, and its tiles
    /iiif/3/IDENTIFIER/REGION/SIZE/ROTATION/QUALITY.FORMAT      a part of the picture
    /iiif/state/IDENTIFIER                                      whether its pyramid is ready, or being made

`assetstore.iiif.identifiers` describes IDENTIFIER. An identifier may contain slashes, so the parts of an address are
found from its end.
"""

import json
from collections.abc import Callable
from urllib.parse import urlencode

import bottle

from assetstore.app.bootstrap import AppContext
from assetstore.config import public_urls
from assetstore.http import file_response
from assetstore.http.parameters import Parameters
from assetstore.iiif import images, info, parameters
from assetstore.iiif.identifiers import Identifier
from assetstore.iiif.images import Picture
from assetstore.routes.access import Access, Readable
from assetstore.routes.delivery import valid_seconds
from assetstore.routes.responses import PRIVATE_HEADERS, FileHTTPResponse, request_context, request_parameters
from assetstore.storage.models import Version

_INFO = "/info.json"

#: The last segments of the address of a part: region, size, rotation, quality with format.
_SEGMENTS = 4

#: How many tokens, and of what length, are part of the address of a redirect.
_MOST_TOKENS, _LONGEST_TOKEN = 10, 64

_JSON, _JSON_LD = "application/json", "application/ld+json"

#: For how many seconds a client may use a public part without asking whether its original was replaced.
_MAX_AGE = 600


class ImageApi:
    """The routes.

    Parameters:
        context: the open store and its settings.
        access: decides which originals a request may read.
    """

    def __init__(self, context: AppContext, access: Access) -> None:
        self._settings = context.settings
        self._images = context.images
        self._access = access

    def get(self, version: str, path: str) -> bottle.HTTPResponse:
        """Returns info.json or a part of a picture, or redirects to info.json."""
        number = int(version)
        if path.endswith(_INFO):
            return self._info(number, self._access.identifier(path.removesuffix(_INFO)))
        segments = path.rsplit("/", _SEGMENTS)
        if len(segments) > _SEGMENTS:
            return self._part(number, self._access.identifier(segments[0]), (*segments[1:],))  # type: ignore[arg-type]  # four
        identifier = self._access.identifier(path)
        readable, _ = self._picture(identifier)
        headers = readable.cache_headers
        address = self.address(number, identifier) + _INFO + _tokens(request_parameters())
        return bottle.HTTPResponse("", 303, **{"Location": address, **headers})

    def state(self, path: str) -> bottle.HTTPResponse:
        """Returns the state of the pyramid of a page as JSON, for viewers that show the progress."""
        identifier = self._access.identifier(path)
        readable, client = self._access.picture(request_parameters(), identifier), request_context().client
        state = self._images.state(readable.collection_dir, identifier.name, identifier.page, client=client)
        text = json.dumps({"state": state.stage.value, "progress": round(state.progress, 2)})
        return bottle.HTTPResponse(text, 200, **{"Content-Type": _JSON, "Cache-Control": "no-store"})

    def address(self, version: int, identifier: Identifier) -> str:
        """Returns the advertised address of a page in a version of the Image API."""
        base = public_urls.base_url(self._settings, bottle.request.environ.get("wsgi.url_scheme", "http"))
        return f"{base}/iiif/{version}/{identifier.encoded}"

    def _picture(self, identifier: Identifier) -> tuple[Readable, Picture]:
        """An original that the request may read, and its pages."""
        readable = self._access.picture(request_parameters(), identifier)
        picture = self._images.picture(readable.collection_dir, identifier.name, client=request_context().client)
        picture.page(identifier.page)
        return readable, picture

    def _info(self, version: int, identifier: Identifier) -> bottle.HTTPResponse:
        readable, picture = self._picture(identifier)
        page = picture.page(identifier.page)
        text = json.dumps(info.info(version, self.address(version, identifier), page.width, page.height))
        headers = {"Cache-Control": "no-cache", "Vary": "Accept", "Link": _link(info.PROFILES[version], "profile")}
        headers |= {} if readable.is_public else PRIVATE_HEADERS
        if _JSON_LD in bottle.request.get_header("Accept", ""):
            headers["Content-Type"] = f'{_JSON_LD};profile="{info.CONTEXTS[version]}"'
        else:
            headers["Content-Type"] = _JSON
            context = _link(info.CONTEXTS[version], "http://www.w3.org/ns/json-ld#context")
            headers["Link"] += f', {context};type="{_JSON_LD}"'
        return _conditional(images.text_etag(text + headers["Content-Type"]), headers, text.encode)

    def _part(self, version: int, identifier: Identifier, segments: tuple[str, str, str, str]) -> bottle.HTTPResponse:
        readable, picture = self._picture(identifier)
        page = picture.page(identifier.page)
        part = parameters.parse(version, segments, (page.width, page.height))
        canonical = parameters.canonical(version, part, (page.width, page.height))
        headers = {
            "Content-Type": parameters.FORMATS[part.format][1],
            "Cache-Control": f"public, max-age={valid_seconds(self._settings, _MAX_AGE)}",
            "Link": f"{_link(f'{self.address(version, identifier)}/{canonical}', 'canonical')}, "
            f"{_link(info.PROFILES[version], 'profile')}",
        }
        headers |= {} if readable.is_public else PRIVATE_HEADERS
        of, client, number = (readable.collection_dir, identifier.name), request_context().client, identifier.page
        etag = self._images.etag(picture, number, part)
        return _conditional(etag, headers, lambda: self._images.part(*of, picture, number, part, client=client))


def install(app: bottle.Bottle, context: AppContext, access: Access) -> None:
    """Adds the routes to *app*."""
    api = ImageApi(context, access)
    app.route("/iiif/state/<path:path>", "GET", api.state)
    app.route("/iiif/<version:re:[23]>/<path:path>", "GET", api.get)


def _conditional(etag: str, headers: dict[str, str], body: Callable[[], bytes]) -> bottle.HTTPResponse:
    """The response 304 if the client has this entity tag, else one with what *body* returns."""
    headers = {**headers, "ETag": etag}
    environ = bottle.request.environ
    if file_response.is_unchanged(Version(0, 0, 0, etag), environ.get("HTTP_IF_NONE_MATCH"), None):
        return FileHTTPResponse("", 304, headers)
    data = body()
    return FileHTTPResponse(data, 200, {**headers, "Content-Length": str(len(data))})


def _tokens(query: Parameters) -> str:
    """The tokens of a request, as the query of an address; a proxy would reject a header with a long one."""
    tokens = [token for token in query.get_all("token") if len(token) <= _LONGEST_TOKEN][:_MOST_TOKENS]
    return f"?{urlencode([('token', token) for token in tokens])}" if tokens else ""


def _link(address: str, relation: str) -> str:
    return f'<{address}>;rel="{relation}"'
