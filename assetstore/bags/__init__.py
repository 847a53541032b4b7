"""Bags (BagIt, RFC 8493): folders with originals and a manifest that allows their validation.

`export` writes a bag for an archive or another museum, `import_` imports one, and `inventory` reads and writes the
table of the originals in it.
"""
