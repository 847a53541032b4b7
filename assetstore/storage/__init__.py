"""The stores of originals and thumbnails.

`protocols` says what a store can do and `models` holds the values that it returns. `disk` and `s3` are the two
stores; `trash_names` and `thumbnail_sizes` hold what their layouts have in common. Routes and services use a store only
by its protocols; `disk.files` also has file operations for the journal and for the server's other private files.
"""
