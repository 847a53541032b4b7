"""Cookies by which a browser may look at one picture for an hour, if REQUIRE_KEY_FOR_GET is on.

A viewer sends hundreds of requests over many minutes, and a token is valid for a short time. So a viewer that was
opened with a valid token gets a cookie for its picture. It is valid for reading that picture and nothing else.

The name of a cookie contains a hash of the picture, so that a browser can have the cookies of several pictures. The
value is the time at which it expires, and an HMAC-SHA-256 of that time and of the picture. The key of the HMAC is
derived from the attachment key, by another algorithm than that of tokens; nothing that Specify signs is a cookie.

Proxies reject requests with large headers, and Specify may be on the same host. So cookies are short, and a browser
has a limited number of them.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

#: For how many seconds a cookie is valid.
LIFETIME_SECONDS = 3600

#: How many cookies a browser may have, of 50 bytes each; the oldest ones are removed.
MOST = 40

#: The text that is signed to derive the key of cookies.
_PURPOSE = b"viewer cookie"

_COOKIE = re.compile(r"(view-[A-Za-z0-9_-]{11})=([0-9a-f]{8,9})\.([A-Za-z0-9_-]{22})", re.ASCII)


def cookie_name(collection_dir: str, name: str) -> str:
    """Returns the name of the cookie of an original."""
    return f"view-{_text(hashlib.sha256(_picture(collection_dir, name)).digest()[:8])}"


def headers(
    key: str, collection_dir: str, name: str, now: float, path: str, *, is_secure: bool, received: str = ""
) -> list[str]:
    """Returns the values of the Set-Cookie headers that allow a browser to look at an original.

    Parameters:
        key: the attachment key.
        collection_dir, name: of the original.
        now: seconds since 1970.
        path: of the server's base address, with a slash at the end.
        is_secure: whether the browser uses https.
        received: the Cookie header of the request; if it has too many cookies of other pictures, they are removed.
    """
    own, expires = cookie_name(collection_dir, name), int(now) + LIFETIME_SECONDS
    # Lax: so that the page can be loaded again after it was opened by a link in Specify.
    attributes = f"Path={path}; HttpOnly; SameSite=Lax" + ("; Secure" if is_secure else "")
    value = f"{expires:x}.{_signature(key, expires, collection_dir, name)}"
    others = sorted({(found[2], found[1]) for found in _found(received) if found[1] != own}, reverse=True)
    return [
        f"{own}={value}; Max-Age={LIFETIME_SECONDS}; {attributes}",
        *(f"{other}=; Max-Age=0; {attributes}" for _, other in others[MOST - 1 :]),
    ]


def is_valid(keys: Sequence[str] | None, received: str, collection_dir: str, name: str, now: float) -> bool:
    """Says whether a request may read an original.

    Parameters:
        keys: the valid attachment keys; None: no cookie is valid.
        received: the Cookie header.
        collection_dir, name: of the original.
        now: seconds since 1970.
    """
    own = cookie_name(collection_dir, name)
    for found in _found(received):
        expires = int(found[2], 16)
        if found[1] == own and now < expires:
            expected = [_signature(key, expires, collection_dir, name) for key in keys or ()]
            if any(hmac.compare_digest(one, found[3]) for one in expected):
                return True
    return False


def _found(received: str) -> list[re.Match[str]]:
    """The cookies of the viewer in a Cookie header; others are ignored, whatever they contain."""
    parts = (part.strip() for part in received.split(";"))
    return [found for part in parts if (found := _COOKIE.fullmatch(part))]


def _signature(key: str, expires: int, collection_dir: str, name: str) -> str:
    derived = hmac.digest(key.encode("utf-8"), _PURPOSE, "sha256")
    return _text(hmac.digest(derived, b"%x " % expires + _picture(collection_dir, name), "sha256")[:16])


def _picture(collection_dir: str, name: str) -> bytes:
    """The original as bytes; a store name contains no slash, so two originals never have the same."""
    return f"{collection_dir}/{name}".encode()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
