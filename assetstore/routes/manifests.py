"""The routes of the IIIF Presentation API: manifests of one original and of several."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import bottle

from assetstore.app.bootstrap import AppContext
from assetstore.config import public_urls
from assetstore.errors import NotFound, Unrenderable, UnsupportedType
from assetstore.iiif import manifests
from assetstore.iiif.identifiers import Identifier
from assetstore.iiif.manifests import Original
from assetstore.routes.access import Access, Readable
from assetstore.routes.responses import PRIVATE_HEADERS, request_context, request_parameters

#: How many originals one manifest may have.
_MOST = 50


class Manifests:
    """The routes.

    Parameters:
        context: the open store and its settings.
        access: decides which originals a request may read.
    """

    def __init__(self, context: AppContext, access: Access) -> None:
        self._settings = context.settings
        self._originals = context.originals
        self._images = context.images
        self._access = access

    def of_original(self, identifier: str) -> bottle.HTTPResponse:
        """Returns the manifest of an original; the page of the identifier is ignored."""
        asked = self._access.identifier(identifier)
        asked = Identifier(asked.collection, asked.name)
        readable = self._access.picture(request_parameters(), asked)
        original = self._original(asked, readable)
        return self._response(manifests.of_original(self._base(), original, self._settings.viewer), [readable])

    def of_collection(self) -> bottle.HTTPResponse:
        """Returns one manifest of the originals whose identifiers are the parameters `names`.

        With `coll`, the identifiers are names of originals of that collection.
        """
        query = request_parameters()
        asked = self._access.identifiers(query, _MOST)
        all_readable = self._access.pictures(query, asked)
        originals = [self._one_of_several(*pair) for pair in zip(asked, all_readable, strict=True)]
        manifest = manifests.of_collection(self._base(), manifests.collection_query(asked), originals)
        return self._response(manifest, all_readable)

    def _one_of_several(self, identifier: Identifier, readable: Readable) -> Original:
        try:
            return self._original(identifier, readable)
        except (NotFound, UnsupportedType, Unrenderable) as error:
            raise type(error)(f"{identifier.name}: {error.public}", error.detail) from None

    def _original(self, identifier: Identifier, readable: Readable) -> Original:
        collection_dir = readable.collection_dir
        picture = self._images.picture(collection_dir, identifier.name, client=request_context().client)
        if self._settings.location_safe and readable.is_public:
            # Links lead to the location-safe copy. By the checksum of the original, a guess of a location could be
            # confirmed.
            return Original(identifier, None, None, picture.pages, picture.has_more)
        sha256 = self._originals.sha256_of_version(collection_dir, identifier.name, picture.version)
        return Original(identifier, picture.version.size, sha256, picture.pages, picture.has_more)

    def _response(self, manifest: Mapping[str, Any], of: Sequence[Readable]) -> bottle.HTTPResponse:
        body = json.dumps(manifest, ensure_ascii=False).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {
            "Content-Type": manifests.MEDIA_TYPE,
            "Cache-Control": "no-cache",
            "ETag": etag,
            **({} if all(readable.is_public for readable in of) else PRIVATE_HEADERS),
        }
        if etag in bottle.request.get_header("If-None-Match", ""):
            return bottle.HTTPResponse("", 304, **headers)
        return bottle.HTTPResponse(body, 200, **headers)

    def _base(self) -> str:
        return public_urls.base_url(self._settings, bottle.request.environ.get("wsgi.url_scheme", "http"))


def install(app: bottle.Bottle, manifests: Manifests) -> None:
    """Adds the routes to *app*."""
    app.route("/iiif/manifest/<identifier:path>", "GET", manifests.of_original)
    app.route("/iiif/collection", "GET", manifests.of_collection)
