"""The store on disk: originals and thumbnails are ordinary files in ordinary folders.

store.py          creates a store
layout.py         the folders of each collection, and whether their disk is mounted
originals.py      originals
uploads.py        an upload in progress
trash.py          the trash of one folder of originals
trash_storage.py  the trash of all collections
space.py          creates and tests the folders, and measures the free space
thumbnails.py     thumbnails
sizes.py          the sizes of which thumbnails are cached
files.py          file operations that all of them use
"""
