"""Cookies by which a browser may look at some pictures for an hour, if REQUIRE_KEY_FOR_GET is on.

A viewer sends hundreds of requests over many minutes, and a token is valid for a short time. So a viewer that was
opened with valid tokens gets a cookie for its pictures, usually one. It is valid for reading them and nothing else.

The value of a cookie is the time at which it expires, an HMAC-SHA-256 of the rest, and a hash of each picture. The name
contains a hash of these hashes, so that a browser can have the cookies of several viewers. The key of the HMAC is
derived from the attachment key, by another algorithm than that of tokens; nothing that Specify signs is a cookie.

Proxies reject requests with large headers, and Specify may be on the same host. So cookies are short, and those of a
browser have a limited length together.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence

#: For how many seconds a cookie is valid.
LIFETIME_SECONDS = 3600

#: How many pictures a cookie may be for.
MOST_PICTURES = 20

#: How many bytes all cookies of a browser may have; the oldest ones are removed. One for a single picture has 62.
MOST_BYTES = 2500

#: The text that is signed to derive the key of cookies.
_PURPOSE = b"viewer cookie"

#: The length of the hash of a picture, in bytes and as text.
_HASH_BYTES, _HASH_LENGTH = 12, 16

_COOKIE = re.compile(
    rf"(view-[\w-]{{8}})=([0-9a-f]{{8,9}})\.([\w-]{{22}})\.((?:[\w-]{{{_HASH_LENGTH}}}){{1,{MOST_PICTURES}}})", re.ASCII
)


def headers(
    key: str, pictures: Iterable[tuple[str, str]], now: float, path: str, *, is_secure: bool, received: str = ""
) -> list[str]:
    """Returns the values of the Set-Cookie headers that allow a browser to look at originals.

    Parameters:
        key: the attachment key.
        pictures: collection folder and name of each original; MOST_PICTURES at most.
        now: seconds since 1970.
        path: of the server's base address, with a slash at the end.
        is_secure: whether the browser uses https.
        received: the Cookie header of the request; if it has too many cookies of other viewers, they are removed.
    """
    hashes = "".join(sorted({_hash(*picture) for picture in pictures}))
    own, expires = f"view-{_text(hashlib.sha256(hashes.encode()).digest()[:6])}", int(now) + LIFETIME_SECONDS
    # Lax: so that the page can be loaded again after it was opened by a link in Specify.
    attributes = f"Path={path}; HttpOnly; SameSite=Lax" + ("; Secure" if is_secure else "")
    value = f"{expires:x}.{_signature(key, expires, hashes)}.{hashes}"
    others = {(found[2], found[1], len(found[0])) for found in _found(received) if found[1] != own}
    length, removed = len(f"{own}={value}; "), []
    for _, name, own_length in sorted(others, reverse=True):
        length += own_length + len("; ")
        if length > MOST_BYTES:
            removed.append(f"{name}=; Max-Age=0; {attributes}")
    return [f"{own}={value}; Max-Age={LIFETIME_SECONDS}; {attributes}", *removed]


def is_valid(keys: Sequence[str] | None, received: str, collection_dir: str, name: str, now: float) -> bool:
    """Says whether a request may read an original.

    Parameters:
        keys: the valid attachment keys; None: no cookie is valid.
        received: the Cookie header.
        collection_dir, name: of the original.
        now: seconds since 1970.
    """
    asked = _hash(collection_dir, name)
    for found in _found(received):
        expires, signature, hashes = int(found[2], 16), found[3], found[4]
        is_for_it = asked in (hashes[at : at + _HASH_LENGTH] for at in range(0, len(hashes), _HASH_LENGTH))
        if is_for_it and now < expires:
            expected = [_signature(key, expires, hashes) for key in keys or ()]
            if any(hmac.compare_digest(one, signature) for one in expected):
                return True
    return False


def _found(received: str) -> list[re.Match[str]]:
    """The cookies of the viewer in a Cookie header; others are ignored, whatever they contain."""
    parts = (part.strip() for part in received.split(";"))
    return [found for part in parts if (found := _COOKIE.fullmatch(part))]


def _signature(key: str, expires: int, hashes: str) -> str:
    derived = hmac.digest(key.encode("utf-8"), _PURPOSE, "sha256")
    return _text(hmac.digest(derived, f"{expires:x} {hashes}".encode(), "sha256")[:16])


def _hash(collection_dir: str, name: str) -> str:
    """Stands for an original; a store name contains no slash, so two originals never have the same text."""
    return _text(hashlib.sha256(f"{collection_dir}/{name}".encode()).digest()[:_HASH_BYTES])


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
