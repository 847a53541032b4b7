"""The attachment store behind the Web Asset Server: everything but HTTP routes and settings values.

Nothing here imports the settings module, only `routes` imports Bottle, and importing opens no file, tool or socket.
"""

__version__ = "0.1.0"
