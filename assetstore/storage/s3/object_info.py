"""What an object says of itself.

An object keeps as metadata of its own: `mtime`, the time of its last change in seconds since 1970 (as rclone
writes it), and `sha256`. Both come from whoever stored it and may be missing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assetstore.errors import StorageFault
from assetstore.storage.models import Version
from assetstore.storage.s3.errors import Overtaken

_SECOND = 1_000_000_000
_MODIFIED = re.compile(r"(\d{1,11})(?:\.(\d{1,9})\d*)?", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Found:
    """An object.

    Fields:
        key: in its bucket.
        size: bytes.
        stored_ns: when it came to the bucket, by the service's clock, nanoseconds since 1970.
        etag: as the service says it, quoted.
        attributes: its metadata and Content-Type; empty in listings.
    """

    key: str
    size: int
    stored_ns: int
    etag: str
    attributes: Mapping[str, str]

    @property
    def modified_ns(self) -> int:
        """When its bytes were last changed, as far as it is known."""
        match = _MODIFIED.fullmatch(self.attributes.get("mtime", ""))
        if match is None:
            return self.stored_ns
        return int(match[1]) * _SECOND + int((match[2] or "").ljust(9, "0"))

    @property
    def sha256(self) -> str | None:
        """The checksum that was stored with it, None if there is none."""
        text = self.attributes.get("sha256", "")
        return text if _SHA256.fullmatch(text) else None

    @property
    def version(self) -> Version:
        """The version that its bytes are."""
        # Services say only the second when it came. The tag alone may be a mere MD5, for which forged
        # files of the same tag can be made.
        changed_ns = max(self.modified_ns, self.stored_ns // _SECOND * _SECOND + _SECOND - 1)
        content = self.etag.strip('"')
        etag = f'"{content}-{self.size:x}-{self.modified_ns:x}-{self.stored_ns // _SECOND:x}"'
        return Version(self.size, self.modified_ns, changed_ns, etag, content)

    def check(self, meta: Any) -> None:
        """Raises Overtaken if what a read brought is of another object: some services ignore the condition."""
        if meta["e_tag"] != self.etag:
            raise Overtaken("The file has just been replaced; please try again.", self.key, retry_after=1)


def found(meta: Any, attributes: Mapping[str, str]) -> Found:
    """Returns what the library says of an object. Raises StorageFault if that is too little."""
    if not meta["e_tag"]:
        raise StorageFault("The file storage does not tell versions of files apart.", f"no ETag of {meta['path']!r}")
    modified = meta["last_modified"]
    stored_ns = int(modified.timestamp()) * _SECOND + modified.microsecond * 1000
    return Found(meta["path"], meta["size"], stored_ns, meta["e_tag"], attributes)


def modified_attribute(modified_ns: int) -> str:
    """Returns the value of `mtime`."""
    return f"{modified_ns // _SECOND}.{modified_ns % _SECOND:09}"
