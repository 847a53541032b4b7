"""The errors of the server, each with an HTTP status, a sentence for the client and a detail for the log.

The public sentence is what a curator reads in Specify: short and plain, without paths, keys or
tracebacks (docs/protocol.md). The detail goes to the log under the request ID, for the administrator.
"""


class AssetError(Exception):
    """Base of all errors that become a response.

    Parameters:
        public: a sentence for the client.
        detail: what only the log may contain (paths, tool output); empty if the sentence says everything.
        retry_after: seconds for the Retry-After header, or None.
    """

    status = 500

    def __init__(self, public: str, detail: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(public)
        self.public = public
        self.detail = detail
        self.retry_after = retry_after


class BadRequest(AssetError):
    """The request is malformed, such as its file name, a number, an encoding or its multipart body."""

    status = 400


class Unauthorized(AssetError):
    """A IIIF address requires a permission, and the request has none (Image API 3.0, section 8)."""

    status = 401


class Forbidden(AssetError):
    """The token is missing, malformed, signed with another key, or expired."""

    status = 403


class NotPublic(Forbidden):
    """The file may not be read without a valid token; it may not even exist.

    Parameters:
        public: a sentence that is the same for all files; by default the one for requests without a token.
    """

    SENTENCE = "This file is not public, or it does not exist."

    def __init__(self, public: str = SENTENCE, detail: str = "") -> None:
        super().__init__(public, detail)


class NotFound(AssetError):
    """The collection or the original does not exist."""

    status = 404


class LengthRequired(AssetError):
    """The request has a body of unknown length (RFC 9110, 15.5.12)."""

    status = 411


class TooLarge(AssetError):
    """The request exceeds a limit."""

    status = 413


class UnsupportedType(AssetError):
    """A thumbnail was requested of a file type without thumbnails."""

    status = 415


class RangeNotSatisfiable(AssetError):
    """The requested range is outside the file (RFC 9110, 15.5.17).

    Parameters:
        size: the file's length in bytes, for the Content-Range header.
    """

    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"The requested range is outside the file, which has {size} bytes.")
        self.size = size


class Unrenderable(AssetError):
    """No thumbnail can be made of the file: it is damaged, encrypted, or not of the type that its name suggests."""

    status = 422


class Unavailable(AssetError):
    """The server is too busy or a tool is missing; the client may try again later."""

    status = 503


class ClockSkew(Unavailable):
    """Another service rejects requests because its clock and that of this machine differ too much."""


class Overtaken(Unavailable):
    """The file was replaced or modified while it was being read, so its bytes may not be of one version."""


class RemoteFault(AssetError):
    """Another server cannot be reached, rejects a request, or violates the protocol.

    Parameters:
        answered: the status of its response, None if there was none.
        may_pass: whether the same request may succeed if it is repeated.
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
    """The store cannot be read or written, although the request is valid."""

    status = 500


class NotWritable(StorageFault):
    """The store cannot be written, but it can probably be read."""


class ReadOnly(NotWritable):
    """The file system is read-only: a snapshot, a mirror, or a disk that the kernel protects after an error."""

    status = 503


class JournalLocked(StorageFault):
    """Another program has locked the journal."""

    status = 503


class Unsynced(StorageFault):
    """A change was made, but the disk did not confirm it, so it may not survive a power failure.

    Parameters:
        public, detail: as for AssetError.
        replaces: whether the change replaced an original.
    """

    def __init__(self, public: str, detail: str = "", *, replaces: bool = False) -> None:
        super().__init__(public, detail)
        self.replaces = replaces
