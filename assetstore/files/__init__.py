"""File operations that all packages share: private folders, locks, durable changes, removal of the files that a crash
left, and translation of system errors. They do not depend on originals or thumbnails.
"""
