"""Thumbnails: `service` makes each once and caches it, `warm` makes them in advance, and `prune` removes
those that nobody needs.

`rendering` produces the images in separate processes.
"""
