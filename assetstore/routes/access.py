"""Decides whether a request may read an original: the one place that all routes for parts of pictures ask.

`/fileget` and the other routes of the protocol check their tokens in `server.py`.
"""

import bottle

from assetstore.auth import tokens
from assetstore.collections.mapping import Collections
from assetstore.config.loading import Settings
from assetstore.errors import BadRequest, Forbidden, NotFound
from assetstore.http.parameters import Parameters
from assetstore.iiif import identifiers
from assetstore.iiif.identifiers import Identifier
from assetstore.routes.responses import request_context


class ReadAccess:
    """Checks requests that name an original by an identifier of IIIF.

    Parameters:
        settings: the settings.
        collections: the mapping of collections.
        refused_tokens: counts rejected tokens by client.
    """

    def __init__(self, settings: Settings, collections: Collections, refused_tokens: tokens.Refusals) -> None:
        self._settings = settings
        self._collections = collections
        self._refused_tokens = refused_tokens

    def identifier(self, text: str) -> Identifier:
        """Returns what an identifier names. Raises NotFound, also if its name is no store name."""
        try:
            found = identifiers.parse(text, self._collections.folders() is not None)
        except BadRequest as error:
            raise NotFound(error.public) from None
        request_context().name = found.name
        return found

    def check(self, identifier: Identifier) -> str:
        """Returns the collection folder of an original that the current request may read.

        With REQUIRE_KEY_FOR_GET, the query must have a valid `token` for the store name, as for /fileget. It is checked
        before anything is looked up, so that nothing about the original is revealed.

        Raises Forbidden, BadRequest, NotFound (the collection is unknown).
        """
        if self._settings.require_key_for_get and self._settings.key is not None:
            self._check_token(identifier.name)
        return self._collections.collection_dir(identifier.collection)

    def _check_token(self, name: str) -> None:
        current = request_context()
        query = Parameters.from_query(bottle.request.environ.get("QUERY_STRING", ""))
        try:
            token = query.get("token")
            tokens.check(self._settings.key or (), token, name, current.received_at, self._settings.time_tolerance)
        except (BadRequest, Forbidden) as error:
            number = self._refused_tokens.count(current.client)
            raise Forbidden(error.public, f"rejected token {number} from {current.client}") from None
