"""Aborts uploads in parts that no client completes any more.

The library aborts an upload that fails. If the service or the server itself dies, it cannot, and the parts stay in the
bucket, where no client sees them and the owner pays for them.
"""

import datetime
import logging
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from assetstore.errors import AssetError
from assetstore.storage.s3.client import Bucket
from assetstore.storage.s3.layout import Folder

_log = logging.getLogger(__name__)

#: Older uploads are abandoned, in seconds. Even a very large file arrives in less time.
_ABANDONED_AFTER_SECONDS = 2 * 24 * 3600

#: How long a request may take, in seconds.
_TIMEOUT_SECONDS = 5

#: How long a response may be, in bytes: 1000 uploads, the most that a service lists at once.
_LONGEST = 4 << 20


@dataclass(frozen=True)
class _Upload:
    key: str
    identifier: str
    begun: datetime.datetime


def abort_abandoned(folders: Iterable[Folder]) -> None:
    """Aborts the abandoned uploads to some folders.

    Failures are only logged: the key may lack the permission, and a rule of the bucket can do the same.
    """
    oldest = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=_ABANDONED_AFTER_SECONDS)
    for folder in folders:
        where = f"{folder.path} of {folder.bucket.name}"
        try:
            number = _abort(folder, oldest)
        except (urllib.error.HTTPError, ElementTree.ParseError, ValueError) as error:
            _log.warning("unfinished uploads in %s were not aborted: %s", where, error)
            continue
        except (OSError, AssetError) as error:
            _log.warning("unfinished uploads in %s were not aborted: %s", where, error)
            return  # the service does not respond
        if number:
            _log.info("aborted %s unfinished uploads in %s", number, where)


def _abort(folder: Folder, oldest: datetime.datetime) -> int:
    abandoned = [upload for upload in _uploads(folder) if upload.begun < oldest]
    for upload in abandoned:
        _send(folder.bucket, "DELETE", upload.key, {"uploadId": upload.identifier})
    return len(abandoned)


def _uploads(folder: Folder) -> Iterator[_Upload]:
    """The first uploads of a folder, as many as the service lists at once. Raises OSError, ParseError, ValueError."""
    body = _send(folder.bucket, "GET", "", {"uploads": "", "prefix": f"{folder.path}/"})
    for element in ElementTree.fromstring(body).iterfind("{*}Upload"):  # noqa: S314 - of our own service, and limited
        key, identifier, begun = (element.findtext(f"{{*}}{name}", "") for name in ("Key", "UploadId", "Initiated"))
        if folder.name(key):  # some services ignore the prefix
            yield _Upload(key, identifier, datetime.datetime.fromisoformat(begun))


def _send(bucket: Bucket, method: Literal["GET", "DELETE"], key: str, query: dict[str, str]) -> bytes:
    address = bucket.signed(method, quote(key), urlencode(query, quote_via=quote), _TIMEOUT_SECONDS)
    request = urllib.request.Request(address, method=method)  # noqa: S310 - the address is that of the service
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            return bytes(response.read(_LONGEST))
    except urllib.error.HTTPError as error:
        error.close()  # it is the response
        raise
