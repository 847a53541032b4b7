"""The HTTP routes outside `server.py`, and the responses that all routes share.

Nothing else in assetstore imports Bottle.
"""
