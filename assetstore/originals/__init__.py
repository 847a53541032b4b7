"""The services for originals.

`service` stores, replaces, deletes and restores them. The other modules search them, report usage, purge the trash
and tell what there was at a point in time.
"""
