"""Originals and thumbnails in S3-compatible object storage.

client.py           one bucket: the few calls that are used
calls.py            makes the calls, with timeouts and retries
library.py          the clients of the library
circuit_breaker.py  lets calls fail at once while the service is down
errors.py           translation of the library's errors
object_info.py      the metadata of an object
objects.py          an object as a readable file
layout.py           the bucket and key of a collection folder and a name
spool.py            temporary local files, with a limit on their size
originals.py        the originals
uploads.py          uploads to a bucket
parts.py            multipart uploads; copies of very large objects
multipart_uploads.py  aborts uploads in parts that no client completes
trash.py            the trash of deleted and replaced originals
space.py            tests the buckets
thumbnails.py       the store of thumbnails
sizes.py            the sizes of which thumbnails are cached
"""
