"""Who may read originals: everyone, or, if REQUIRE_KEY_FOR_GET is on, requests with a token or the cookie of a viewer.

The token is checked before the collection, and before anything is looked up.
"""

from typing import NoReturn

import bottle

from assetstore.auth import tokens, viewer_cookies
from assetstore.collections.mapping import Collections
from assetstore.config.loading import Settings
from assetstore.errors import AssetError, BadRequest, Forbidden, NotFound, Unauthorized
from assetstore.http.parameters import Parameters
from assetstore.iiif import identifiers
from assetstore.iiif.identifiers import Identifier
from assetstore.names import store_name
from assetstore.routes.responses import request_context


class ReadAccess:
    """Checks the permission of requests.

    Parameters:
        settings: the effective settings.
        collections: the mapping of collections.
        refused_tokens: counts rejected tokens by client.
    """

    def __init__(self, settings: Settings, collections: Collections, refused_tokens: tokens.Refusals) -> None:
        self._settings = settings
        self._collections = collections
        self._refused_tokens = refused_tokens
        #: Whether reading requires a permission.
        self.is_limited = settings.require_key_for_get and settings.key is not None

    def check_token(self, parameters: Parameters, signed: str) -> None:
        """Checks the token of a request.

        Parameters:
            parameters: of the request; `token` is the token.
            signed: the parameter with the text that the token signs.

        Raises:
            Forbidden: the token is missing or not valid.
        """
        if self._settings.key is None:
            return  # repeated parameters do no harm without a key
        try:
            self._check(parameters.get("token"), parameters.get(signed))
        except (BadRequest, Forbidden) as error:
            self._refuse(error)

    def check_query(self, query: Parameters) -> None:
        """Checks a request to read the original that its parameters `coll` and `filename` name. Raises Forbidden."""
        if self.is_limited and not self._has_cookie_of(query):
            self.check_token(query, "filename")

    def identifier(self, text: str) -> Identifier:
        """Returns what an identifier of IIIF names. Raises NotFound, also if its name is no store name."""
        try:
            found = identifiers.parse(text, self._collections.folders() is not None)
        except BadRequest as error:
            raise NotFound(error.public) from None
        request_context().name = found.name
        return found

    def collection_dir(self, query: Parameters, identifier: Identifier) -> str:
        """Checks a request to read a picture, and returns the folder of its collection.

        Parameters:
            query: its parameter `token` is a token for the store name; without one, a cookie is required.
            identifier: of the picture.

        Raises:
            Unauthorized: the request has neither.
            Forbidden: the token is not valid.
            NotFound: the collection is unknown.
        """
        if self.is_limited and not self._has_cookie_for(identifier):
            try:
                given = query.get_all("token")
            except BadRequest as error:
                self._refuse(error)
            if not given:
                raise Unauthorized("This picture requires a permission. Open it from Specify.")
            self._check_any(given, identifier.name)
        return self._collections.collection_dir(identifier.collection)

    def cookies(self, collection_dir: str, name: str, path: str) -> list[str]:
        """Returns the Set-Cookie headers for a viewer of an original; none if it needs none.

        Parameters:
            collection_dir, name: of an original that the current request may read.
            path: of the server's base address, with a slash at the end.
        """
        keys = self._settings.key
        if not self.is_limited or not keys or self._has_cookie(collection_dir, name):
            return []
        is_secure = bottle.request.environ.get("wsgi.url_scheme") == "https"
        now, received = request_context().received_at, _received_cookies()
        return viewer_cookies.headers(keys[0], collection_dir, name, now, path, is_secure=is_secure, received=received)

    def _check(self, token: str | None, name: str | None) -> None:
        tokens.check(self._settings.key, token, name, request_context().received_at, self._settings.time_tolerance)

    def _check_any(self, given: list[str], name: str) -> None:
        """Accepts a name if one of the tokens signs it: a manifest of several originals has a token for each."""
        refused: Forbidden | None = None
        for token in given:
            try:
                self._check(token, name)
            except Forbidden as error:
                refused = refused or error
            else:
                return
        if refused is not None:
            self._refuse(refused)

    def _refuse(self, error: AssetError) -> NoReturn:
        client = request_context().client
        number = self._refused_tokens.count(client)
        raise Forbidden(error.public, f"rejected token {number} from {client}") from None

    def _has_cookie_of(self, query: Parameters) -> bool:
        if not _received_cookies():
            return False
        try:
            return self._has_cookie(self._collections.collection_dir(query.get("coll")), query.get("filename") or "")
        except AssetError:
            return False  # so the token is checked first, and then the collection

    def _has_cookie_for(self, identifier: Identifier) -> bool:
        try:
            return self._has_cookie(self._collections.collection_dir(identifier.collection), identifier.name)
        except AssetError:
            return False

    def _has_cookie(self, collection_dir: str, name: str) -> bool:
        now = request_context().received_at
        return viewer_cookies.is_valid(self._settings.key, _received_cookies(), collection_dir, store_name(name), now)


def _received_cookies() -> str:
    return str(bottle.request.environ.get("HTTP_COOKIE", ""))
