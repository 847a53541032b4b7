"""Originals and thumbnails in S3-compatible object storage.

client.py      one bucket: the few calls that are used, with timeouts and retries
fuse.py        fails at once while nothing works
faults.py      what the library raises, as errors of ours
objects.py     what an object says of itself; an object as a file to read
layout.py      which bucket and key belong to which place and name
spool.py       local copies for a moment, with a bound
originals.py   the store of originals
uploads.py     an upload on its way into a bucket
parts.py       objects in parts; copies of very large ones
trash.py       what was deleted or replaced
thumbnails.py  the store of thumbnails
"""
