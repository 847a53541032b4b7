"""Thumbnails: `service` makes each once and caches it, `warm` makes them in advance, and `prune` removes old ones.

`rendering` produces the images in separate processes.
"""
