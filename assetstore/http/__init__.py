"""HTTP, independent of the web framework and of the web server.

The package covers the request context (which `middleware` creates), reverse proxies, parameters, uploads, and
responses that send files, including conditional and range requests.
"""
