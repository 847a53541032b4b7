"""Decides whether a request may read an original: the one place that all routes for parts of pictures ask.

`/fileget` and the other routes of the protocol check their tokens in `server.py`.
"""

from assetstore.auth import tokens
from assetstore.collections.mapping import Collections
from assetstore.config.loading import Settings
from assetstore.errors import BadRequest, Forbidden
from assetstore.http.parameters import Parameters
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

    def collection_dir(self, query: Parameters, identifier: Identifier) -> str:
        """Checks a request to read a picture, and returns the folder of its collection.

        With REQUIRE_KEY_FOR_GET, the query must have a valid `token` for the store name, as for /fileget. It is checked
        before anything is looked up, so that nothing about the original is revealed.

        Parameters:
            query: the parameters of the request.
            identifier: of the picture.

        Raises Forbidden, BadRequest, NotFound (the collection is unknown).
        """
        if self._settings.require_key_for_get and self._settings.key is not None:
            self._check_token(query, identifier.name)
        return self._collections.collection_dir(identifier.collection)

    def _check_token(self, query: Parameters, name: str) -> None:
        current = request_context()
        try:
            token = query.get("token")
            tokens.check(self._settings.key or (), token, name, current.received_at, self._settings.time_tolerance)
        except (BadRequest, Forbidden) as error:
            number = self._refused_tokens.count(current.client)
            raise Forbidden(error.public, f"rejected token {number} from {current.client}") from None
