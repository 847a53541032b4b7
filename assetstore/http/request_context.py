"""The context of the request that is being handled.

Concurrency: a context belongs to the thread that serves its request.
"""

import time
from dataclasses import dataclass

#: Key of the RequestContext in the WSGI environment.
REQUEST_CONTEXT = "assetstore.request_context"


@dataclass(slots=True)
class RequestContext:
    """A request and its response.

    Fields:
        request_id: identifies the request in the log.
        client: the client's address, as far as it is known.
        method, path: of the request; the path is decoded, without the query.
        received_at: when the request began to arrive, seconds since 1970.
        began: when the middleware received the request, by `time.monotonic`.
        route: the first segment of the path if the server has such a route, else "other".
        name: the requested store name; empty if it is not known.
        status: of the response; 0 until there is one.
        sent: bytes of the response body, by Content-Length.
        received: bytes of the request body, by Content-Length.
        sentence: the error sentence of the response; empty if there is none.
    """

    request_id: str
    client: str
    method: str
    path: str
    received_at: float
    began: float
    route: str
    received: int = 0
    name: str = ""
    status: int = 0
    sent: int = 0
    sentence: str = ""

    @property
    def seconds(self) -> float:
        """How long the request has taken so far."""
        return time.monotonic() - self.began
