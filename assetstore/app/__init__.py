"""From settings to a running server.

`startup` reads the settings and sets up the log, `bootstrap` opens the store and its services, `object_storage` opens a
store in object storage, `tasks` has the periodic tasks, and `run` starts the web server.
"""
