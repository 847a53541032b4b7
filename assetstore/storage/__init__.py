"""The stores of originals and thumbnails.

`protocols` says what a store can do and `models` holds the values that it returns. `disk` and `s3` are the two
stores. Routes and services know only the protocols.
"""
