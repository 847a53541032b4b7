"""The fingerprint of a thumbnail, which shows whether it belongs to its original.

The modification time of a thumbnail identifies its source: it is a fingerprint of the source's name, size, and exact
times of modification and of the last change of its inode (or the identifier of the bytes, if the store has one),
written as a timestamp between 1982 and 2001. So one stat(2) shows whether a thumbnail belongs to its original. After an
original is replaced or edited, through the server or by hand, its old thumbnail is never shown. `x.tif` never gets the
thumbnail of `x.png`, although both are cached as `x_100.png`.

The time of the last change of the inode cannot be set, so an edit that keeps size and modification time is noticed,
too. It also changes if the file gets another mode, owner, name or hard link, and if it is restored from a backup. Then
the bytes may be the same, but nothing shows that, so the thumbnail is rendered once more. In a bucket, this does not
happen.

Earlier versions left out that time. Their thumbnails are used if their own files are not older than the last change of
their original: since then, nothing has changed that this stamp does not show.
"""

import hashlib

from assetstore.storage.models import StoredFile, Version

_SECOND, _MICROSECOND = 1_000_000_000, 1_000  # nanoseconds

#: The range of timestamps for fingerprints, in microseconds since 1970. It is in the past, so that no fingerprint looks
#: like the modification time of a thumbnail of an earlier server.
_FIRST_STAMP, _LAST_STAMP = 400_000_000_000_000, 1_000_000_000_000_000


def stamp(name: str, version: Version) -> int:
    """The modification time, in nanoseconds, that marks a thumbnail as made of this version of *name*."""
    return _stamp(name, version, version.content or f"{version.modified_ns}-{version.changed_ns}")


def former_stamp(name: str, version: Version) -> int:
    """The modification time with which earlier versions marked a thumbnail as made of this version of *name*."""
    return _stamp(name, version, version.content or str(version.modified_ns))


def _stamp(name: str, version: Version, source: str) -> int:
    identity = "\0".join((name, str(version.size), source)).encode()
    fingerprint = int.from_bytes(hashlib.blake2b(identity, digest_size=16).digest(), "big")
    return (_FIRST_STAMP + fingerprint % (_LAST_STAMP - _FIRST_STAMP)) * _MICROSECOND


def has_stamp(thumbnail: Version, stamp: int) -> bool:
    """Whether a thumbnail has this stamp; also on file systems that store only whole seconds."""
    own = thumbnail.modified_ns
    is_whole_second = own % _SECOND == 0
    return own // _MICROSECOND == stamp // _MICROSECOND or (is_whole_second and own // _SECOND == stamp // _SECOND)


def has_former_stamp(thumbnail: Version, name: str, version: Version) -> bool:
    """Whether an earlier version made a thumbnail of *name*, and the original has not changed since then."""
    return has_stamp(thumbnail, former_stamp(name, version)) and thumbnail.changed_ns >= version.changed_ns


def as_served(stored: StoredFile) -> StoredFile:
    """Replaces the fingerprint of a thumbnail, for HTTP, by the time when it was made."""
    version = stored.version
    made = Version(version.size, version.changed_ns, version.changed_ns, version.etag)
    return StoredFile(stored.file, made, stored.path)
