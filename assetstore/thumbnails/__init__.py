"""Thumbnails: `service` makes and caches them on request, `warm` makes them in advance, `prune` removes unneeded ones,
and `sizes` removes those of sizes that are no longer cached.

`rendering` renders the images in separate processes.
"""
