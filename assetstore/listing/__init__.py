"""The listing of all originals: sorted, filtered and in pages, from an index that is rebuilt from the files.

The files are authoritative, and the index is only their list at a certain time. It can be deleted at any time.
"""
