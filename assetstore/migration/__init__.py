"""Moves the originals of one store to another: disk to bucket, bucket to disk, bucket to bucket.

A *pass* (`runner`) lists both sides, copies what the target lacks or has in an older version (`transfer`), and reads
back what arrived. The `state` records which version was copied, so an interrupted pass resumes, and the next one copies
only what has changed since. `endpoints` opens the two stores, and a `receipt` lists what a pass did. The source is only
read. At the target, files that the migration did not put there are left alone.

Thumbnails are not copied: they are generated again. The trash and the journal stay where they are.
"""
