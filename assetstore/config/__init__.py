"""The settings, from `settings.py` and the environment to one checked, immutable object.

`loading` reads them, `values` parses each value, `announcement` says at the start which are in effect, and
`public_urls` derives the addresses that clients are told.
"""
