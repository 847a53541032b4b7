"""The stores of originals and thumbnails.

`protocols` defines the operations of a store, and `models` the values that it returns. `disk` and `s3` implement them;
`trash_names` and `thumbnail_sizes` have what their layouts have in common. `one_version` reads files that are replaced
meanwhile. Routes and services use a store only through its protocols.
"""
