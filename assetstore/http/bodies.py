"""Request bodies: their length, reading them, and draining the bodies of rejected requests."""

import logging
import time
from typing import Any

from assetstore.errors import BadRequest, LengthRequired

_log = logging.getLogger(__name__)

#: How much of the body of a rejected request is drained, in bytes, and for how many seconds.
_DRAIN_BYTES, _DRAIN_SECONDS = 256 << 20, 20.0

_DRAIN_PIECE = 16 * 1024


def body_length(environ: dict[str, Any]) -> int:
    """Returns the length of a request's body in bytes.

    Raises:
        BadRequest: the Content-Length is not a number (RFC 9110, 8.6).
        LengthRequired: the length of the body is unknown: it is chunked, or HTTP/2 without Content-Length.
    """
    announced = environ.get("CONTENT_LENGTH")
    may_be_open = environ["SERVER_PROTOCOL"].startswith("HTTP/2") and environ["REQUEST_METHOD"] == "POST"
    if environ.get("HTTP_TRANSFER_ENCODING") or (announced is None and may_be_open):
        raise LengthRequired("The upload requires a Content-Length header; chunked transfer is not supported.")
    text = str(announced or "0")
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise BadRequest("The Content-Length header is not a valid number of bytes.")
    return int(text)


class RequestBody:
    """The body of a request, never read beyond its length.

    Parameters:
        stream: the web server's `wsgi.input`.
        length: bytes.
    """

    def __init__(self, stream: Any, length: int) -> None:
        self.length = self.left = length
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Returns the next bytes, at most *size*; none at the end.

        Raises:
            BadRequest: the connection ended or stalled before the announced length.
        """
        if not self.left:
            return b""
        try:
            data: bytes = self._stream.read(min(size, self.left))
        except OSError as error:
            self.left = 0
            raise BadRequest("The upload stalled or was interrupted; nothing was stored.", str(error)) from error
        if not data:  # Granian reports an interrupted body as one that ended
            missing, self.left = self.left, 0
            raise BadRequest("The upload was interrupted; nothing was stored.", f"{missing} bytes are missing")
        self.left -= len(data)
        return data

    def drain(self) -> None:
        """Reads what is left, within limits. Otherwise the connection is reset, and the response may be lost."""
        end, most = time.monotonic() + _DRAIN_SECONDS, _DRAIN_BYTES
        try:
            while most > 0 and time.monotonic() < end and (data := self.read(_DRAIN_PIECE)):
                most -= len(data)
        except BadRequest as error:
            _log.info("the rest of a rejected request body did not arrive: %s", error.detail)
