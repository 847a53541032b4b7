"""Readers of setting values: each takes what settings.py holds, or the text of an environment
variable, and returns the effective value or raises ValueError with what was expected.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from assetstore.names import PRIVATE_FOLDER, is_bucket_url

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_HOST_NAME = re.compile(r"[A-Za-z0-9._:%\[\]-]+", re.ASCII)
_BUCKET_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[^/\s]+)*)/?")
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+", re.ASCII)


def optional(read: Callable[[object], object]) -> Callable[[object], object]:
    """Returns a reader that also takes None (as text: `None`)."""

    def read_optional(value: object) -> object:
        return None if _is_none(value) else read(value)

    return read_optional


def flag(value: object) -> bool:
    """Reads True or False; as text also yes, no, on, off, 1, 0 in any case."""
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("True or False")


def is_flag(text: str) -> bool:
    """Says whether a text is one that `flag` reads."""
    return text.strip().lower() in (*_TRUE, *_FALSE)


def whole_number(least: int, most: int) -> Callable[[object], int]:
    """Returns a reader of whole numbers in these bounds."""

    def read_number(value: object) -> int:
        digits = str(value).strip()
        if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,18}", digits, re.ASCII):
            raise ValueError(f"a whole number from {least} to {most}")
        if not least <= int(digits) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(digits)

    return read_number


def text(value: object) -> str:
    """Reads a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text")
    return value.strip()


def one_of(*choices: str) -> Callable[[object], str]:
    """Returns a reader of one of these words, in any case."""

    def read_choice(value: object) -> str:
        choice = str(value).strip().lower()
        if choice not in choices:
            raise ValueError(" or ".join(repr(choice) for choice in choices))
        return choice

    return read_choice


def keys(value: object) -> tuple[str, ...] | None:
    """Reads a key or a list of keys; nothing and `''` give none, None (as text: `None`) turns checking off."""
    if _is_none(value):
        return None
    if value == "":
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and value and all(isinstance(key, str) and key for key in value):
        return tuple(value)
    raise ValueError("a text, a list of texts that are not empty, or None")


def host_name(value: object) -> str:
    """Reads a host name or address, without scheme, port or path."""
    if not isinstance(value, str) or not _HOST_NAME.fullmatch(value.strip()):
        raise ValueError("a host name or address such as 'assets.museum.org', without http:// and port")
    name = value.strip().strip("[]")
    if name.count(":") == 1:
        raise ValueError("a host name or address without a port")
    return name


def address(value: object) -> tuple[str, int]:
    """Reads an address to listen on, with its port."""
    expected = "an address and a port such as '127.0.0.1:9101'"
    host, colon, port = str(value).strip().rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or int(port) > 65535:
        raise ValueError(expected)
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError:
        raise ValueError(expected) from None


def base_url(value: object) -> str:
    """Reads the address under which clients reach the server; returns it without a final slash."""
    expected = "an address such as 'https://assets.museum.org' or 'https://museum.org/assets'"
    if not isinstance(value, str) or re.search(r"[\s<>\"]", value.strip()):
        raise ValueError(expected)
    try:
        parts = urlsplit(value.strip())
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not has_port or parts.query or parts.fragment:
        raise ValueError(expected)
    return value.strip().rstrip("/")


def url_path(value: object) -> str:
    """Reads the path of an address, without a final slash."""
    if not isinstance(value, str) or not re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)+/?", value.strip(), re.ASCII):
        raise ValueError("a path such as '/protected-store'")
    return value.strip().rstrip("/")


def path(value: object) -> str:
    """Reads a path."""
    if not str(value).strip() or "\0" in str(value):
        raise ValueError("the path of a folder")
    return str(value).strip()


def folder_name(value: object) -> str:
    """Reads the name of one folder."""
    name = value.rstrip("/") if isinstance(value, str) else ""
    if not name or "/" in name or "\0" in name or name in (".", "..", PRIVATE_FOLDER):
        raise ValueError("the name of one folder such as 'originals'")
    return name


def folders(value: object) -> dict[str, str] | None:
    """Reads the mapping from collection names to folders, as text in JSON; an empty one gives None."""
    expected = "a mapping from collection names to folders below BASE_DIR, such as {'KU Fish': 'ichthyology'}"
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise ValueError(f"{expected}, in JSON") from None
    if not isinstance(value, Mapping):
        raise ValueError(expected)
    mapping = {}
    for collection, folder in value.items():
        if not isinstance(collection, str) or not isinstance(folder, str):
            raise ValueError(expected)
        if is_bucket_url(folder):
            mapping[collection] = bucket_url(folder)
        elif _is_below(folder):
            mapping[collection] = folder.strip("/")
        else:
            raise ValueError(expected)
    return mapping or None


def bucket_url(value: object) -> str:
    """Reads the address of a bucket and a prefix in it; returns it without a final slash."""
    match = _BUCKET_URL.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not _is_below(match[2].lstrip("/")):
        raise ValueError("the address of a bucket such as 's3://bucket' or 's3://bucket/prefix', without keys")
    return f"s3://{match[1]}{match[2]}"


def endpoints(value: object) -> str | dict[str, str]:
    """Reads the address of an S3 service, or a mapping from buckets to such; as text, the mapping in JSON."""
    expected = "an address such as 'https://s3.museum.org', or a mapping from buckets to such"
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise ValueError(f"{expected}, in JSON") from None
    if isinstance(value, Mapping):
        if not all(isinstance(bucket, str) for bucket in value):
            raise ValueError(expected)
        return {bucket: _endpoint(address, expected) for bucket, address in value.items()}
    return _endpoint(value, expected)


def _endpoint(value: object, expected: str) -> str:
    try:
        address = base_url(value)
    except ValueError:
        raise ValueError(expected) from None
    if urlsplit(address).path or urlsplit(address).username is not None:
        raise ValueError(expected)
    return address


def media_types(value: object) -> frozenset[str]:
    """Reads a set of media types, as text separated by commas or blanks."""
    expected = "a set of media types such as {'image/jpeg', 'application/pdf'}"
    if isinstance(value, str):
        value = [part for part in re.split(r"[\s,]+", value) if part]
    if not isinstance(value, Iterable):
        raise ValueError(expected)
    types = frozenset(str(entry).lower() for entry in value)
    if not all(_MEDIA_TYPE.fullmatch(entry) for entry in types):
        raise ValueError(expected)
    return types


def networks(value: object) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Reads addresses or networks, as text separated by commas or blanks; nothing gives none."""
    expected = "addresses or networks such as ['127.0.0.1', '10.0.0.0/8']"
    if _is_none(value):
        return ()
    if isinstance(value, str):
        value = [part for part in re.split(r"[\s,]+", value) if part]
    if not isinstance(value, Iterable):
        raise ValueError(expected)
    try:
        return tuple(ipaddress.ip_network(str(entry), strict=False) for entry in value)
    except ValueError:
        raise ValueError(expected) from None


def _is_none(value: object) -> bool:
    return value is None or value == "None"


def _is_below(folder: str) -> bool:
    parts = folder.rstrip("/").split("/")
    return not folder.startswith("/") and "\0" not in folder and not {"..", ".", PRIVATE_FOLDER}.intersection(parts)
