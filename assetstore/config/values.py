"""Readers of setting values.

Each takes a value from settings.py, or the text of an environment variable. It returns the effective value, or raises
ValueError with what was expected.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from assetstore.names import PRIVATE_FOLDER, is_bucket_url

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: In the address of an S3 service: where the name of the bucket goes.
BUCKET_IN_HOST_NAME = "{bucket}."

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_HOST_NAME = re.compile(r"[A-Za-z0-9._:%\[\]-]+", re.ASCII)
#: A page of this server at the end of its URL: many people enter the URL that they enter in Specify, or try out.
_PAGE = re.compile(
    r"/+(?:web_asset_store\.xml|fileget|fileupload|filedelete|getmetadata|getfileref|testkey)$", re.IGNORECASE
)
_BUCKET_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[^/\s]+)*)/?")
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+", re.ASCII)


def optional(read: Callable[[object], object]) -> Callable[[object], object]:
    """Returns a reader that also accepts None (as text: `None`)."""

    def read_optional(value: object) -> object:
        return None if _is_none(value) else read(value)

    return read_optional


def flag(value: object) -> bool:
    """Reads True or False; as text also yes, no, on, off, 1 and 0, in upper or lower case."""
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("True or False")


def is_flag(text: str) -> bool:
    """Returns whether `flag` can read this text."""
    return text.strip().lower() in (*_TRUE, *_FALSE)


def whole_number(least: int, most: int) -> Callable[[object], int]:
    """Returns a reader of whole numbers within these limits, which are included."""

    def read_number(value: object) -> int:
        digits = str(value).strip()
        if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,18}", digits, re.ASCII):
            raise ValueError(f"a whole number from {least} to {most}")
        if not least <= int(digits) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(digits)

    return read_number


def whole_numbers(number: int, least: int, most: int) -> Callable[[object], frozenset[int]]:
    """Returns a reader of a list of whole numbers.

    Parameters:
        number: how many there may be.
        least, most: the limits of each, which are included.

    As text, the numbers are separated by commas or spaces, with or without square brackets. None gives no numbers.
    """
    read_number = whole_number(least, most)

    def read_numbers(value: object) -> frozenset[int]:
        expected = f"a list of at most {number} whole numbers from {least} to {most}, such as [123, 200]"
        if _is_none(value):
            return frozenset()
        if isinstance(value, str):
            stripped = value.strip()
            is_bracketed = stripped.startswith("[") and stripped.endswith("]")
            value = re.findall(r"[^\s,]+", stripped[1:-1] if is_bracketed else stripped)
        if not isinstance(value, Iterable):
            raise ValueError(expected)
        try:
            numbers = frozenset(map(read_number, value))
        except ValueError:
            raise ValueError(expected) from None
        if len(numbers) > number:
            raise ValueError(expected)
        return numbers

    return read_numbers


def text(value: object) -> str:
    """Reads a text; it must not be empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a non-empty text")
    return value.strip()


def one_of(*choices: str) -> Callable[[object], str]:
    """Returns a reader of one of these words, in upper or lower case."""

    def read_choice(value: object) -> str:
        choice = str(value).strip().lower()
        if choice not in choices:
            raise ValueError(" or ".join(repr(choice) for choice in choices))
        return choice

    return read_choice


def keys(value: object) -> tuple[str, ...] | None:
    """Reads a key or a list of keys. An empty text gives no keys; None (as text: `None`) disables checking."""
    if _is_none(value):
        return None
    if value == "":
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and value and all(isinstance(key, str) and key for key in value):
        return tuple(value)
    raise ValueError("a text, a list of non-empty texts, or None")


def host_name(value: object) -> str:
    """Reads a host name or address, without scheme, port or path."""
    if not isinstance(value, str) or not _HOST_NAME.fullmatch(value.strip()):
        raise ValueError("a host name or address such as 'assets.museum.org', without http:// and without a port")
    name = value.strip().strip("[]")
    if name.count(":") == 1:
        raise ValueError("a host name or address without a port")
    return name


def address(value: object) -> tuple[str, int]:
    """Reads an IP address and port to listen on."""
    expected = "an IP address and a port such as '127.0.0.1:9101'"
    host, colon, port = str(value).strip().rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or int(port) > 65535:
        raise ValueError(expected)
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError:
        raise ValueError(expected) from None


def base_url(value: object) -> str:
    """Reads the URL at which clients reach the server; returns it without a final slash."""
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


def public_url(value: object) -> str:
    """Reads the URL at which clients reach the server; returns it without a page of the server at its end."""
    return _PAGE.sub("", base_url(value))


def database(value: object) -> str:
    """Reads the address of Specify's database; it must not contain a password."""
    expected = "an address without a password such as 'mysql://reader@dbhost:3306/specify'"
    if not isinstance(value, str) or re.search(r"\s", value.strip()):
        raise ValueError(expected)
    try:
        parts = urlsplit(value.strip())
        is_valid = parts.scheme in ("mysql", "mariadb") and (parts.port is None or parts.port > 0)
    except ValueError:
        raise ValueError(expected) from None
    if not is_valid or not parts.username or parts.password is not None or parts.path in ("", "/") or parts.fragment:
        raise ValueError(expected)
    return value.strip()


def url_path(value: object) -> str:
    """Reads the path of a URL; returns it without a final slash."""
    if not isinstance(value, str) or not re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)+/?", value.strip(), re.ASCII):
        raise ValueError("a path such as '/protected-store'")
    return value.strip().rstrip("/")


def path(value: object) -> str:
    """Reads a path."""
    if not str(value).strip() or "\0" in str(value):
        raise ValueError("the path of a folder")
    return str(value).strip()


def folder_name(value: object) -> str:
    """Reads the name of a folder, without a path."""
    name = value.rstrip("/") if isinstance(value, str) else ""
    # Blanks, line breaks and quotation marks come from files of environment variables, not from names of folders.
    is_plain = name.isprintable() and name == name.strip(" \"'")
    if not name or not is_plain or "/" in name or name in (".", "..", PRIVATE_FOLDER):
        raise ValueError("the name of a folder, without a path, such as 'originals'")
    return name


def folders(value: object) -> dict[str, str] | None:
    """Reads the mapping from collection names to folders, as text in JSON; an empty mapping gives None."""
    expected = 'a mapping from collection names to folders below BASE_DIR, such as {"KU Fish": "ichthyology"}'
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
    """Reads the URL of a bucket, with or without a prefix; returns it without a final slash."""
    match = _BUCKET_URL.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not _is_below(match[2].lstrip("/")):
        raise ValueError("the address of a bucket such as 's3://bucket' or 's3://bucket/prefix', without credentials")
    return f"s3://{match[1]}{match[2]}"


def endpoints(value: object) -> str | dict[str, str]:
    """Reads the URL of an S3 service, or a mapping from buckets to such URLs; as text, the mapping is in JSON."""
    return _for_buckets(value, endpoint, "an address such as 'https://s3.museum.org'", "addresses")


def regions(value: object) -> str | dict[str, str]:
    """Reads the region of an S3 service, or a mapping from buckets to regions; as text, the mapping is in JSON."""
    return _for_buckets(value, text, "a region such as 'eu-central-1'", "regions")


def credential_prefixes(value: object) -> dict[str, str]:
    """Reads a mapping from buckets to prefixes of environment variables; as text, it is in JSON."""
    expected = "a mapping from bucket names to prefixes of environment variables such as {'herps-files': 'HERPS'}"
    prefixes = _for_buckets(value, text, expected, "prefixes")
    if isinstance(prefixes, str) or not all(re.fullmatch(r"[A-Z][A-Z0-9_]*", prefix) for prefix in prefixes.values()):
        raise ValueError(expected)
    return prefixes


def _for_buckets(value: object, read: Callable[[object], str], one: str, many: str) -> str | dict[str, str]:
    """Reads one value, or a mapping from buckets to such values; as text, the mapping is in JSON."""
    expected = f"{one}, or a mapping from bucket names to such {many}"
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise ValueError(f"{expected}, in JSON") from None
    if isinstance(value, Mapping):
        if not all(isinstance(bucket, str) for bucket in value):
            raise ValueError(expected)
        return {bucket: read(item) for bucket, item in value.items()}
    return read(value)


def endpoint(value: object) -> str:
    """Reads the URL of an S3 service; its host name may begin with BUCKET_IN_HOST_NAME."""
    expected = f"an address such as 'https://s3.museum.org' or 'https://{BUCKET_IN_HOST_NAME}s3.museum.org'"
    try:
        address = base_url(value)
        parts = urlsplit(base_url(address.replace(f"://{BUCKET_IN_HOST_NAME}", "://")))
    except ValueError:
        raise ValueError(expected) from None
    if parts.path or parts.username is not None or "{" in parts.netloc:
        raise ValueError(expected)
    return address


def media_types(value: object) -> frozenset[str]:
    """Reads a set of media types; as text, they are separated by commas or spaces."""
    expected = "a set of media types such as {'image/jpeg', 'application/pdf'}"
    if isinstance(value, str):
        value = [part for part in re.split(r"[\s,]+", value) if part]
    if not isinstance(value, Iterable):
        raise ValueError(expected)
    types = frozenset(str(entry).lower() for entry in value)
    if not all(_MEDIA_TYPE.fullmatch(entry) for entry in types):
        raise ValueError(expected)
    return types


def networks(value: object) -> tuple[Network, ...]:
    """Reads IP addresses or networks; as text, they are separated by commas or spaces. None gives no networks."""
    expected = "IP addresses or networks such as ['127.0.0.1', '10.0.0.0/8']"
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
