"""Originals and thumbnails in S3-compatible object storage.

client.py           one bucket: the few calls that are used, with timeouts and retries
circuit_breaker.py  fails at once while the service does not work
errors.py           errors of the library, translated to ours
object_info.py      what an object says of itself
objects.py          an object as a file to read
layout.py           which bucket and key belong to which collection folder and name
spool.py            local temporary copies, limited in size
originals.py        the store of originals
uploads.py          an upload on its way into a bucket
parts.py            multipart uploads; copies of very large objects
trash.py            originals that were deleted or replaced
thumbnails.py       the store of thumbnails
"""
