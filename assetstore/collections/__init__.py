"""Maps collections to folders or buckets (`mapping`), including collections that were `added` while the server ran."""
