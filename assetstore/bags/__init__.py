"""Bags (BagIt, RFC 8493): originals in a folder that states whether it is complete and unchanged.

`export` writes one for an archive or another museum, `import_` takes one in, and `inventory` is the table of the
originals in it.
"""
