"""Decides what requests may do: tokens, cookies of the viewer, and who may read an original.

`Access._decide` is the only decision about reading, with or without the setting VISIBILITY. Every route that shows an
original, or anything made of it, asks for it before it looks at any file or at the collection. So the response to a
request that may not read a file is the same whether the file exists or not: status, sentence, headers and size.

Concurrency: any number of threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import bottle

from assetstore.auth import tokens, viewer_cookies
from assetstore.collections.mapping import Collections
from assetstore.config.loading import Settings
from assetstore.errors import AssetError, BadRequest, Forbidden, NotFound, NotPublic, Unauthorized
from assetstore.http.parameters import Parameters
from assetstore.iiif import identifiers
from assetstore.iiif.identifiers import Identifier
from assetstore.names import store_name
from assetstore.routes.responses import PRIVATE_HEADERS, PUBLIC_HEADERS, request_context
from assetstore.visibility.service import Visibility

_NO_PERMISSION = "This picture requires a permission. Open it from Specify."


@dataclass(frozen=True)
class Readable:
    """An original that the current request may read, whether it exists or not.

    Fields:
        collection_dir, name: of the original.
        is_public: whether everyone gets the same response. With LOCATION_SAFE, that is the location-safe copy. False:
            the request has a token or a cookie and gets the original.
    """

    collection_dir: str
    name: str
    is_public: bool

    @property
    def cache_headers(self) -> dict[str, str]:
        """The headers by which caches know what to do with a response about the original, unless it says more."""
        return PUBLIC_HEADERS if self.is_public else PRIVATE_HEADERS


class Access:
    """The rules of one server.

    Parameters:
        settings: the effective settings.
        collections: the mapping of collections.
        visibility: of the files; None if VISIBILITY is not set.

    Attributes:
        refused_tokens: counts rejected tokens by client.
    """

    def __init__(self, settings: Settings, collections: Collections, visibility: Visibility | None) -> None:
        self._settings = settings
        self._collections = collections
        self._visibility = visibility
        #: Whether reading any file requires a permission.
        self._is_limited = settings.require_key_for_get and settings.key is not None
        self.refused_tokens = tokens.Refusals()

    @property
    def has_private_files(self) -> bool:
        """Whether each file may be private, by the setting VISIBILITY."""
        return self._visibility is not None

    def check_token(self, parameters: Parameters, signed: str) -> None:
        """Checks the token of the current request. Raises Forbidden.

        Parameters:
            parameters: of the request; `token` is one of them.
            signed: the parameter with the name that the token signs.
        """
        if self._settings.key is None:
            return  # repeated parameters do no harm without a key
        try:
            self._check(parameters.get("token"), parameters.get(signed))
        except (BadRequest, Forbidden) as error:
            raise self._refused(error) from None

    def original(self, query: Parameters, *, is_link: bool = False) -> Readable:
        """Checks a request to read the original that its parameters `coll` and `filename` name.

        Parameters:
            query: of the request; its parameter `token` must sign the name.
            is_link: whether only the address is requested, which requires no token unless VISIBILITY is set.

        Raises:
            Forbidden: the request may not read it.
            BadRequest: there is no name, or no store name.
            NotFound: the collection is unknown.
        """
        try:
            name = name_of(query, "filename")
        except BadRequest:
            if self._is_limited and not is_link:
                self.check_token(query, "filename")  # the token is checked before everything else
            raise
        is_public = (is_link and not self.has_private_files) or self._decide(name, query, self._collection_dir(query))
        return Readable(self._collections.collection_dir(self.collection(query)), name, is_public)

    def linked(self, query: Parameters, collection_dir: str, name: str) -> Readable:
        """Checks a request to read an original at /static; none is refused without VISIBILITY. Raises NotPublic."""
        is_public = self._visibility is None or self._decide(name, query, collection_dir)
        return Readable(collection_dir, name, is_public)

    def is_open_to_all(self, name: str) -> bool:
        """Says whether everyone may read an original now, and gets the same response with or without a permission."""
        return self._is_open(name) and not self._settings.location_safe

    def may_read(self, query: Parameters, collection_dir: str, name: str) -> bool:
        """Says whether the current request may read an original, by the same decision; logs no refusal."""
        is_open, has_cookie = self._is_open(name), self._has_cookie(collection_dir, name)
        return is_open or has_cookie or self._fault_of_token(name, query, accepts_several=False) is None

    def identifier(self, text: str) -> Identifier:
        """Returns what an identifier of IIIF names. Raises NotFound, also if its name is no store name."""
        try:
            found = identifiers.parse(text, self._collections.folders() is not None)
        except BadRequest as error:
            raise NotFound(error.public) from None
        request_context().name = found.name
        return found

    def identifiers(self, query: Parameters, most: int) -> list[Identifier]:
        """Returns what the parameters `names` name: one or more identifiers, without their pages.

        Parameters:
            query: of the request. With `coll`, the identifiers are names of originals of that collection.
            most: how many there may be.

        Raises BadRequest (none or too many), NotFound.
        """
        names, collection = query.get_all("names"), query.get("coll")
        if not names:
            raise BadRequest("The parameter names is missing: the names of the originals.")
        if len(names) > most:
            raise BadRequest(f"At most {most} originals are possible here.")
        if collection is not None and self._collections.folders() is not None:
            names = [f"{collection}/{name}" for name in names]
        return [Identifier(one.collection, one.name) for one in map(self.identifier, names)]

    def picture(self, query: Parameters, identifier: Identifier) -> Readable:
        """Checks a request to read a picture by its identifier of IIIF, as `pictures`."""
        return self.pictures(query, [identifier])[0]

    def pictures(self, query: Parameters, asked: Sequence[Identifier]) -> list[Readable]:
        """Checks a request to read several pictures, all of them before any is looked up.

        If a name needs a token, one of the parameters `token` must sign it.

        Raises:
            Unauthorized: the request has no token, and needs one.
            Forbidden: no token is valid, and it needs one.
            NotFound: the collection is unknown.
        """
        decided = [self._decide(one.name, query, self._collection_dir(one), is_iiif=True) for one in asked]
        return [
            Readable(self._collections.collection_dir(identifier.collection), identifier.name, is_public)
            for identifier, is_public in zip(asked, decided, strict=True)
        ]

    def cookies(self, readable: Sequence[Readable], path: str) -> list[str]:
        """Returns the Set-Cookie headers for a viewer of originals; none if it needs none.

        Parameters:
            readable: originals that exist.
            path: of the server's base address, with a slash at the end.
        """
        keys, private = self._settings.key, [(one.collection_dir, one.name) for one in readable if not one.is_public]
        if not keys or all(self._has_cookie(*one) for one in private):
            return []
        is_secure = bottle.request.environ.get("wsgi.url_scheme") == "https"
        now, received = request_context().received_at, _received_cookies()
        return viewer_cookies.headers(keys[0], private, now, path, is_secure=is_secure, received=received)

    def collection(self, parameters: Parameters) -> str | None:
        """Returns the name of the collection. Raises BadRequest: it is given twice or cannot be decoded."""
        try:
            return parameters.get("coll")
        except BadRequest:
            if self._collections.folders() is not None:
                raise
            return None  # malformed; ignored if all collections share one folder

    def _collection_dir(self, asked: Parameters | Identifier) -> str | None:
        """The folder of a collection; None if it is unknown, of which the request must not learn yet."""
        try:
            name = asked.collection if isinstance(asked, Identifier) else self.collection(asked)
            return self._collections.collection_dir(name)
        except AssetError:
            return None

    def _decide(self, name: str, query: Parameters, collection_dir: str | None, *, is_iiif: bool = False) -> bool:
        """Decides whether the current request may read an original.

        Parameters:
            name: the store name of the original.
            query: of the request.
            collection_dir: of the original; None if the collection is unknown.
            is_iiif: whether several tokens are allowed, and a missing one means 401.

        Returns whether everyone gets the same response, as in `Readable`. Raises Unauthorized, Forbidden, NotPublic.
        """
        request_context().name = name
        is_open = self._is_open(name)  # first, so that it takes the same time for all files
        if is_open and not self._settings.location_safe:
            return True
        if self._has_cookie(collection_dir, name):
            return False
        error = self._fault_of_token(name, query, accepts_several=is_iiif)
        if error is None:
            return False
        if is_open:
            return True
        if "token" not in query and is_iiif:
            raise Unauthorized(NotPublic.SENTENCE if self.has_private_files else _NO_PERMISSION)
        if "token" not in query and self._visibility is not None:
            raise NotPublic
        refused = self._refused(error)
        raise refused if self._visibility is None else NotPublic(refused.public, refused.detail)

    def _is_open(self, name: str) -> bool:
        """Whether an original may be read without a permission."""
        is_public = self._visibility is None or self._visibility.is_public(name)
        return is_public and not self._is_limited

    def _fault_of_token(self, name: str, query: Parameters, *, accepts_several: bool) -> BadRequest | Forbidden | None:
        """What is wrong with the tokens of a request; None if one is valid."""
        fault: BadRequest | Forbidden | None = None
        try:
            given: list[str | None] = [*query.get_all("token")] if accepts_several else []
            given = given or [query.get("token")]
        except BadRequest as error:
            return error
        for token in given:
            try:
                self._check(token, name)
            except (BadRequest, Forbidden) as error:
                fault = fault or error
            else:
                return None
        return fault

    def _check(self, token: str | None, name: str | None) -> None:
        tokens.check(self._settings.key, token, name, request_context().received_at, self._settings.time_tolerance)

    def _refused(self, error: BadRequest | Forbidden) -> Forbidden:
        client = request_context().client
        number = self.refused_tokens.count(client)
        return Forbidden(error.public, f"rejected token {number} from {client}")

    def _has_cookie(self, collection_dir: str | None, name: str) -> bool:
        received, now = _received_cookies(), request_context().received_at
        if not received or collection_dir is None:
            return False
        return viewer_cookies.is_valid(self._settings.key, received, collection_dir, name, now)


def name_of(parameters: Parameters, parameter: str) -> str:
    """Returns the store name in a parameter, and notes it for the log. Raises BadRequest."""
    name = parameters.get(parameter)
    if name is None:
        raise BadRequest(f"The parameter {parameter} is missing.")
    request_context().name = name
    return store_name(name)


def _received_cookies() -> str:
    return str(bottle.request.environ.get("HTTP_COOKIE", ""))
