"""Thumbnails: `service` makes and caches them on request, `warm` makes them in advance, and `prune` removes
unneeded ones.

`rendering` renders the images in separate processes.
"""
