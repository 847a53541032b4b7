"""The store on disk: originals and thumbnails are plain files in plain folders.

`disk` is the store of originals, `trash` holds the originals that were deleted or replaced, `thumbnails` is the store
of thumbnails, and `files` has the operations on files that all of them use.
"""
