"""Translates the errors of the S3 library to ours.

The library (obstore) has classes for only a few errors of an object store. Other errors differ only in their message,
which contains addresses and is therefore only logged.
"""

import re

from obstore.exceptions import AlreadyExistsError, PermissionDeniedError, PreconditionError, UnauthenticatedError

from assetstore.errors import AssetError, ClockSkew, NotFound, OutOfSpace, Overtaken, StorageFault, Unavailable

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z]+)</Code>")

#: In messages about requests to what gives roles to machines and service accounts, and about the file of a token.
_OF_ROLES = re.compile(r"/latest/api/token|/iam/security-credentials|AssumeRoleWithWebIdentity|read token file")

_FULL = ("QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "EntityTooLarge")

#: How many characters of a message to log.
_DETAIL = 400

#: After how many seconds clients may try again.
RETRY_SECONDS = 10


class Passing(Unavailable):
    """A temporary failure: the store cannot be reached or is too busy, and a retry may succeed."""


class Occupied(AssetError):
    """There is an object already where one was to be created."""


class Rejected(Unavailable):
    """The service rejects the key or what is done with it. The administrator can correct this without a restart."""


def unreachable(detail: str) -> Passing:
    """Returns the error for a store that does not respond."""
    return Passing("The file storage cannot be reached; please try again soon.", detail, retry_after=RETRY_SECONDS)


def translated(error: BaseException) -> AssetError:
    """Translates an error that the library raised."""
    if isinstance(error, AssetError):
        return error
    message = str(error)
    code = _CODE.search(message)
    # The rest of the message may contain the key ID or the signed request.
    said = re.split(r"<|Debug source", message, maxsplit=1)[0]
    detail = " ".join(f"{said} {code[1] if code else ''}".split())[:_DETAIL]
    if _OF_ROLES.search(detail):
        sentence = "The server has no access key for the file storage: none is set, and no role provides one."
        return Rejected(sentence, detail, retry_after=60)
    return (code and _by_code(code[1], detail)) or _by_class(error, detail) or _by_status(message, detail)


def _by_code(code: str, detail: str) -> AssetError | None:
    if code == "NoSuchBucket":
        return Unavailable("The bucket of the file storage does not exist.", detail, retry_after=60)
    if code == "NoSuchUpload":  # a lifecycle rule of the bucket aborted it
        sentence = "The file storage has aborted the upload; please try again."
        return Unavailable(sentence, detail, retry_after=RETRY_SECONDS)
    if code == "RequestTimeTooSkewed":
        return ClockSkew("The clocks of this server and of the file storage differ too much.", detail, retry_after=60)
    if code in _FULL:
        return OutOfSpace("The file storage is full; nothing was stored or changed.", detail)
    return None


def _by_class(error: BaseException, detail: str) -> AssetError | None:
    if isinstance(error, FileNotFoundError):
        return NotFound("There is no such file.", detail)
    if isinstance(error, AlreadyExistsError):
        return Occupied("There is such a file already.", detail)
    if isinstance(error, PreconditionError):
        return Overtaken("The file has just been replaced; please try again.", detail, retry_after=1)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return _refused(detail)
    return None


def _refused(detail: str) -> AssetError:
    return Rejected("The file storage rejects this server's key.", detail, retry_after=60)


def _by_status(message: str, detail: str) -> AssetError:
    status = _STATUS.search(message)
    if status is not None and status[1] in ("401", "403"):
        return _refused(detail)  # for listings, the library has no class for this error
    if status is not None and status[1] == "501":
        return StorageFault("The file storage does not support the request.", detail)
    if status is not None and status[1].startswith("4") and status[1] not in ("408", "429"):
        return StorageFault("The file storage rejects the request.", detail)
    return unreachable(detail)
