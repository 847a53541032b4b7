"""From settings to a running server.

`bootstrap` reads the settings and opens the store and its services, `object_storage` opens a store in object storage,
and `run` starts the web server.
"""
