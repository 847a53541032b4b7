"""The attachment store of the Web Asset Server: everything except the HTTP routes and the values of settings.

Nothing here imports the settings module, only `routes` imports Bottle, and importing opens no files, tools or sockets.
"""

__version__ = "1.0.0"
