"""From settings to a running server.

`bootstrap` reads the settings and opens the store with everything that serves it, `object_storage` opens a store in
S3, and `run` starts the web server.
"""
