"""Refusals that the application never sees: of what is no whole, sound request."""

import time
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus


@dataclass(frozen=True)
class Refusal:
    """An answer to what the application never sees, in the form that its own errors have."""

    status: HTTPStatus
    sentence: str
    retry_after: int | None = None

    def as_bytes(self, with_body: bool = True) -> bytes:
        """Returns the whole answer; without its body for HEAD."""
        body = self.sentence.encode()
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            "Server: WebAssetServer",
            f"Date: {formatdate(usegmt=True)}",
            "Content-Type: text/plain; charset=UTF-8",
            f"Content-Length: {len(body)}",
            "Access-Control-Allow-Origin: *",
            f"X-Timestamp: {int(time.time())}",
            "X-Content-Type-Options: nosniff",
            *([] if self.retry_after is None else [f"Retry-After: {self.retry_after}"]),
            "Connection: close\r\n\r\n",
        ]
        return "\r\n".join(lines).encode() + (body if with_body else b"")
