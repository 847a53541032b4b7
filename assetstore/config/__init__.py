"""The settings: read from `settings.py` and the environment into one checked, immutable object.

`loading` reads them, `values` parses each value, and `limits` derives limits that are not settings. At the start,
`announcement` logs which are in effect, and warns of those in `removed`. `public_urls` derives the URLs for clients.
"""
