"""Decides which requests may do what: tokens, and whether a request may read an original.

`Access.check_reading` is the only decision about reading with the setting VISIBILITY. Every route that shows an
original, or anything made of it, calls it before it looks at any file. So the response to a request that may not read a
file is the same whether the file exists or not: status, sentence, headers and size.

Concurrency: any number of threads.
"""

from assetstore.auth import tokens
from assetstore.config.loading import Settings
from assetstore.errors import BadRequest, Forbidden, NotPublic
from assetstore.http.parameters import Parameters
from assetstore.routes.responses import request_context
from assetstore.visibility.service import Visibility


class Access:
    """The rules of one server.

    Parameters:
        settings: the effective settings.
        visibility: of the files; None if VISIBILITY is not set.

    Attributes:
        refused_tokens: counts rejected tokens by client.
    """

    def __init__(self, settings: Settings, visibility: Visibility | None) -> None:
        self._settings = settings
        self._visibility = visibility
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
            self._check(parameters, parameters.get(signed))
        except (BadRequest, Forbidden) as error:
            raise self._refused(error) from None

    def check_reading(self, name: str, parameters: Parameters) -> bool:
        """Checks that the current request may read an original, whether it exists or not.

        Parameters:
            name: the store name of the original.
            parameters: of the request; a token among them must sign this name.

        Returns whether everyone gets the same response. With LOCATION_SAFE, that is the location-safe copy, and False
        says that the request has a token and gets the original.

        Raises NotPublic: the file is private or unknown, and there is no valid token.
        """
        request_context().name = name
        if self._is_public(name):
            return not (self._settings.location_safe and self._has_token(name, parameters))
        if "token" not in parameters:
            raise NotPublic
        try:
            self._check(parameters, name)
        except (BadRequest, Forbidden) as error:
            refused = self._refused(error)
            raise NotPublic(refused.public, refused.detail) from None
        return False

    def may_read(self, name: str, parameters: Parameters) -> bool:
        """Says whether the current request may read an original, by the rule of `check_reading`."""
        return self._is_public(name) or self._has_token(name, parameters)

    def _is_public(self, name: str) -> bool:
        if self._visibility is None:
            return True
        # The look-up comes first, so that it takes the same time for all files.
        return self._visibility.is_public(name) and not self._settings.require_key_for_get

    def _has_token(self, name: str, parameters: Parameters) -> bool:
        """Whether the current request has a valid token for an original; an invalid one counts as none."""
        try:
            self._check(parameters, name)
        except (BadRequest, Forbidden):
            return False
        return True

    def _check(self, parameters: Parameters, name: str | None) -> None:
        token, received_at = parameters.get("token"), request_context().received_at
        tokens.check(self._settings.key, token, name, received_at, self._settings.time_tolerance)

    def _refused(self, error: BadRequest | Forbidden) -> Forbidden:
        client = request_context().client
        number = self.refused_tokens.count(client)
        return Forbidden(error.public, f"rejected token {number} from {client}")
