"""The HTTP routes outside `server.py`, and the responses that all routes share.

No other package in assetstore imports Bottle.
"""
