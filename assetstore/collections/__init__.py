"""Which folder or bucket holds the files of a collection: `mapping`, and what was `added` while the server ran."""
