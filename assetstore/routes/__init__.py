"""The HTTP routes outside `server.py`, and the responses that all routes share. Only this package imports Bottle."""
