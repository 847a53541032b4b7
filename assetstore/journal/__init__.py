"""The journal of what happened to originals, in SQLite. It can be deleted at any time: the files are the truth."""
