"""Thumbnails: `service` makes and caches them on request, `previews` after an upload, and `warm` on command; `prune`
removes unneeded ones, and `sizes` those of sizes that are no longer cached.

`rendering` renders the images in separate processes.
"""
