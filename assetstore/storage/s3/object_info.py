"""The metadata of an object.

An object has these attributes: `mtime`, the time of its last change in seconds since 1970 (in the format of rclone),
and `sha256`. Both were set by the program that stored it, and may be missing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assetstore.errors import Overtaken, StorageFault
from assetstore.storage.models import Version

_SECOND = 1_000_000_000
_MODIFIED = re.compile(r"(\d{1,11})(?:\.(\d{1,9})\d*)?", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Found:
    """An object.

    Fields:
        key: in its bucket.
        size: bytes.
        stored_ns: when it was stored, by the clock of the service, nanoseconds since 1970.
        etag: the ETag of the service, quoted.
        attributes: its metadata and Content-Type; empty in listings.
    """

    key: str
    size: int
    stored_ns: int
    etag: str
    attributes: Mapping[str, str]

    @property
    def modified_ns(self) -> int:
        """When its bytes were last changed; if unknown, when it was stored."""
        match = _MODIFIED.fullmatch(self.attributes.get("mtime", ""))
        if match is None:
            return self.stored_ns
        return int(match[1]) * _SECOND + int((match[2] or "").ljust(9, "0"))

    @property
    def sha256(self) -> str | None:
        """The checksum in its metadata, None if there is none."""
        text = self.attributes.get("sha256", "")
        return text if _SHA256.fullmatch(text) else None

    @property
    def version(self) -> Version:
        """The version of its bytes."""
        # Services report only the second in which it was stored. The ETag alone may be an MD5 checksum, for
        # which files with the same checksum can be forged.
        changed_ns = max(self.modified_ns, self.stored_ns // _SECOND * _SECOND + _SECOND - 1)
        content = self.etag.strip('"')
        etag = f'"{content}-{self.size:x}-{self.modified_ns:x}-{self.stored_ns // _SECOND:x}"'
        return Version(self.size, self.modified_ns, changed_ns, etag, content)

    def check(self, meta: Any) -> None:
        """Raises Overtaken if the metadata of a read shows another object: some services ignore the condition."""
        if meta["e_tag"] != self.etag:
            raise Overtaken("The file has just been replaced; please try again.", self.key, retry_after=1)


def found(meta: Any, attributes: Mapping[str, str]) -> Found:
    """Returns an object by the metadata of the library. Raises StorageFault if the ETag is missing."""
    if not meta["e_tag"]:
        raise StorageFault("The file storage does not send ETags, which are required.", f"no ETag of {meta['path']!r}")
    modified = meta["last_modified"]
    stored_ns = int(modified.timestamp()) * _SECOND + modified.microsecond * 1000
    return Found(meta["path"], meta["size"], stored_ns, meta["e_tag"], attributes)


def modified_attribute(modified_ns: int) -> str:
    """Returns the value of `mtime`."""
    return f"{modified_ns // _SECOND}.{modified_ns % _SECOND:09}"
