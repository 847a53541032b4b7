"""One family of errors: the HTTP status, a sentence for the client, a detail for the log.

The public sentence is what a curator reads in Specify: short, plain, without paths, keys or
tracebacks (protocol.md, "Rules for every answer"). The detail is what the administrator finds in
the log under the same request id.
"""


class AssetError(Exception):
    """Base of all errors that become an answer.

    Parameters:
        public: a sentence for the client.
        detail: what only the log may say (paths, tool output); empty if the sentence says it all.
        retry_after: seconds for the Retry-After header, or None.
    """

    status = 500

    def __init__(self, public: str, detail: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(public)
        self.public = public
        self.detail = detail
        self.retry_after = retry_after


class BadRequest(AssetError):
    """The request is malformed: a name, a number, an encoding, a multipart body."""

    status = 400


class Forbidden(AssetError):
    """The token is missing, malformed, made with another key, or out of time."""

    status = 403


class NotFound(AssetError):
    """No such collection or original."""

    status = 404


class LengthRequired(AssetError):
    """The body comes without a length and the web server cannot tell its end (RFC 9110, 15.5.12)."""

    status = 411


class TooLarge(AssetError):
    """More than a limit allows."""

    status = 413


class UnsupportedType(AssetError):
    """A thumbnail is asked of a type that has none."""

    status = 415


class RangeNotSatisfiable(AssetError):
    """The range lies outside the file (RFC 9110, 15.5.17).

    Parameters:
        size: the file's length in bytes, for the Content-Range header.
    """

    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"The requested range lies outside the file, which has {size} bytes.")
        self.size = size


class Unrenderable(AssetError):
    """The file cannot be made into a picture: damaged, encrypted, not what its name says."""

    status = 422


class Unavailable(AssetError):
    """Too busy, or a tool is missing; the client may come back later."""

    status = 503


class RemoteFault(AssetError):
    """Another server, which we ask, cannot be reached, refuses, or answers against the protocol.

    Parameters:
        answered: the status of its answer, None if there was none.
        may_pass: whether the same may well go right in a moment.
    """

    status = 502

    def __init__(self, public: str, detail: str = "", *, answered: int | None = None, may_pass: bool = False) -> None:
        super().__init__(public, detail)
        self.answered = answered
        self.may_pass = may_pass


class OutOfSpace(AssetError):
    """The disk is full (RFC 4918, 11.5)."""

    status = 507


class StorageFault(AssetError):
    """The store cannot be read or written although the request is right."""

    status = 500


class Unsynced(StorageFault):
    """A change has been made, but may not survive a power failure: the disk did not confirm it.

    Attributes:
        replaces: whether the change replaced an original.
    """

    replaces = False
