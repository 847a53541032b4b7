"""The services for originals.

`service` stores, replaces, deletes and restores them. The other modules search them, report usage, purge the trash,
and list the originals of a point in time.
"""
