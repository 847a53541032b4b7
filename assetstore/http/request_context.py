"""What is known of the request that is being answered.

Concurrency: a context belongs to the thread that serves its request.
"""

import time
from dataclasses import dataclass

#: In the WSGI environment: the RequestContext.
REQUEST_CONTEXT = "assetstore.request_context"


@dataclass
class RequestContext:
    """One request and its answer.

    Fields:
        request_id: under which the log tells its story.
        client: its address, as far as it can be known.
        method, path: of the request; the path as text, without the query.
        received_at: when the request began to arrive, seconds since 1970.
        began: by `time.monotonic`, when this layer got it.
        route: the first part of the path if the server has such a route, else "other".
        name: the store name that it is about, as far as that is known.
        status: of the answer; 0 as long as there is none.
        sent: bytes of the answer's body, as announced.
        received: bytes of the request's body, as announced.
        sentence: with which it was refused; empty if it was not.
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
        """How long it has taken so far."""
        return time.monotonic() - self.began
