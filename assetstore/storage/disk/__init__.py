"""The store on disk: originals and thumbnails are ordinary files in ordinary folders.

`disk` is the store of originals, `trash` the trash of deleted and replaced originals, `thumbnails` the store of
thumbnails, and `files` has the file operations that all of them use.
"""
