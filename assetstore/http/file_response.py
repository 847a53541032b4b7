"""Responses that send a stored file: validators, conditions, ranges, Content-Disposition, safe headers.

Most of them are pure functions of header texts. The numbers in parentheses are sections of RFC 9110.
"""

import functools
import logging
import re
import time
import unicodedata
from collections.abc import Iterator, Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import quote

from assetstore.errors import AssetError, RangeNotSatisfiable
from assetstore.storage.models import StoredFile, Version

_log = logging.getLogger(__name__)

_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')
_SINGLE_RANGE = re.compile(r"bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)\s*", re.ASCII | re.IGNORECASE)
_NANOSECONDS = 1_000_000_000

#: The longest download name, in bytes: file systems allow no more, and nginx rejects responses with large headers.
_LONGEST_NAME = 255

#: Headers that nginx sets itself for the files that it sends.
_SET_BY_NGINX = ("Accept-Ranges", "Content-Length", "Content-Range")

#: Types that browsers show without running scripts in them.
_INERT = re.compile(r"(?:image/(?!svg)|audio/|video/|application/pdf\b|text/plain\b)")


class Request(NamedTuple):
    """The headers of a request that decide how a file is sent, as received, None if absent; and the download name."""

    if_none_match: str | None = None
    if_modified_since: str | None = None
    range: str | None = None
    if_range: str | None = None
    download_name: str | None = None


class FileResponse(NamedTuple):
    """How to send a file: status, headers, first byte and number of bytes."""

    status: int
    headers: dict[str, str]
    first: int
    length: int


def respond(version: Version, content_type: str, request: Request) -> FileResponse:
    """Returns the response to a request for a version of a file.

    Raises:
        RangeNotSatisfiable: see `byte_range`.
    """
    headers = {
        "Content-Type": content_type,
        "Accept-Ranges": "bytes",
        # Browsers cache the file but revalidate it each time, so a replaced image appears at once.
        "Cache-Control": "no-cache",
        "ETag": version.etag,
        "Last-Modified": http_date(version.modified_ns),
        **safe_headers(content_type),
    }
    disposition = content_disposition(request.download_name or "")
    if disposition:
        headers["Content-Disposition"] = disposition
    if is_unchanged(version, request.if_none_match, request.if_modified_since):
        return FileResponse(304, headers, 0, 0)
    wanted = byte_range(version, request.range, request.if_range)
    if wanted is None:
        headers["Content-Length"] = str(version.size)
        return FileResponse(200, headers, 0, version.size)
    first, length = wanted
    headers["Content-Length"] = str(length)
    headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{version.size}"
    return FileResponse(206, headers, first, length)


def accel_redirect_headers(headers: Mapping[str, str], location: str, path: str) -> dict[str, str]:
    """Returns the headers of a response whose body nginx sends (X-Accel-Redirect).

    Parameters:
        headers: of the response with the whole file or a part of it; nginx handles ranges itself.
        location: the setting ACCEL_REDIRECT.
        path: of the file, relative to the store.
    """
    kept = {name: text for name, text in headers.items() if name not in _SET_BY_NGINX}
    return {**kept, "X-Accel-Redirect": f"{location}/{quote(path)}"}


def http_date(modified_ns: int) -> str:
    """Returns a time (nanoseconds since 1970) as an HTTP date, never later than now (8.8.2.1)."""
    return _date(min(modified_ns // _NANOSECONDS, int(time.time())))


@functools.lru_cache(maxsize=1000)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def is_unchanged(version: Version, if_none_match: str | None, if_modified_since: str | None) -> bool:
    """Says whether the client already has this version, so that the response is 304 (13.1.2, 13.1.3).

    Parameters:
        version: of the stored file.
        if_none_match: the header, a list of strong or weak tags; has precedence over the date.
        if_modified_since: the header; ignored if it is not a valid date.
    """
    if if_none_match is not None:
        if if_none_match.strip() == "*":
            return True
        return version.etag in _ENTITY_TAG.findall(if_none_match)
    since = _seconds(if_modified_since)
    return since is not None and version.modified_ns // _NANOSECONDS <= since


def byte_range(version: Version, range_header: str | None, if_range: str | None) -> tuple[int, int] | None:
    """Returns the first byte and the number of bytes to send, None for the whole file (14.2).

    Parameters:
        version: of the stored file.
        range_header: `bytes=0-99`, `bytes=100-`, `bytes=-50`; for anything else, such as several ranges,
            the whole file is sent, as 14.2 allows.
        if_range: a strong tag or a date; the range is used only if it matches the version (13.1.5).

    Raises:
        RangeNotSatisfiable: the range begins after the end of the file, or has no bytes.
    """
    match = _SINGLE_RANGE.fullmatch(range_header or "")
    if match is None or not _range_applies(version, if_range):
        return None
    first_text, last_text = match.groups()
    size = version.size
    if not first_text:
        if not last_text:
            return None
        length = min(_number(last_text), size)
        first = size - length
    else:
        first = _number(first_text)
        if last_text and _number(last_text) < first:
            return None  # not a valid range (14.1.1), so it is ignored
        last = min(_number(last_text), size - 1) if last_text else size - 1
        length = last - first + 1
    if length <= 0:
        raise RangeNotSatisfiable(size)
    return first, length


def content_disposition(download_name: str) -> str | None:
    """Returns the Content-Disposition header for a download name, None if no printable character is left of it.

    Only the base name is used, shortened to 255 bytes. The disposition is always inline, because Specify shows
    attachments in its pages. The name appears twice (RFC 6266, 4.3): in percent-encoded UTF-8 (RFC 8187), and in ASCII
    for programs that do not support that form. Neither can inject another header. docs/protocol.md specifies their
    order.
    """
    if not download_name:
        return None
    base = re.split(r"[/\\]", download_name)[-1]
    printable = _shortened("".join(character for character in base if character.isprintable()).strip())
    if not printable:
        return None
    encoded = quote(printable, safe="", errors="replace")
    return f"inline; filename*=utf-8''{encoded}; filename=\"{_in_ascii(printable)}\""


def _shortened(name: str) -> str:
    """The name in at most as many bytes as file systems allow, with its extension."""
    encoded = name.encode()
    if len(encoded) <= _LONGEST_NAME:
        return name
    extension = re.search(rb"\.[A-Za-z0-9]{1,16}$|$", encoded)
    ending = extension[0] if extension else b""
    return (encoded[: _LONGEST_NAME - len(ending)] + ending).decode("utf-8", "ignore")


def _in_ascii(name: str) -> str:
    """The name in ASCII, for a quoted string: letters without accents, and `_` instead of other characters."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    # Some programs interpret a percent sign or backslash (RFC 6266, appendix D).
    return re.sub(r"[^\x20-\x7e]|[\"\\%]", "_", plain) or "_"


def safe_headers(content_type: str) -> dict[str, str]:
    """Returns the headers that keep stored files from running scripts.

    The server may share its origin with Specify 7, so a stored HTML or SVG file must not run scripts there. Images,
    audio, video, plain text and PDF files cannot, and PDF viewers do not work in a sandbox. Every response also has
    `nosniff` (`middleware`), so browsers do not treat one type as another.
    """
    if _INERT.match(content_type):
        return {}
    return {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}


class FileBody:
    """The bytes of an open file, or a part of them, as the body of a response.

    Parameters:
        stored: the open file; `close` closes it.
        first: the first byte to send.
        length: how many bytes to send.
    """

    def __init__(self, stored: StoredFile, first: int, length: int) -> None:
        self._file = stored.file
        self._pieces = stored.pieces(first, length)

    def __iter__(self) -> Iterator[bytes]:
        # If the disk fails, or the file was truncated, there are too few pieces. The headers have been sent already, so
        # the client notices that bytes are missing.
        try:
            yield from self._pieces
        except (OSError, AssetError) as error:
            _log.error("reading a file failed in the middle of a response: %s %s", error, getattr(error, "detail", ""))

    def close(self) -> None:
        """Closes the file; the web server calls this, also after the connection was lost."""
        self._file.close()


def _range_applies(version: Version, if_range: str | None) -> bool:
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range.strip() == version.etag
    return _seconds(if_range) == version.modified_ns // _NANOSECONDS


def _number(digits: str) -> int:
    # File sizes fit into 18 digits, and int() is slow with a million digits.
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= 18 else 10**18


def _seconds(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (TypeError, ValueError, OverflowError):
        return None
