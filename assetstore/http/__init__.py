"""What HTTP requires of the application, independent of the web framework and of the web server.

It covers the context of a request (`middleware` sets it up), reverse proxies, parameters, uploads,
and responses that send files, including conditional and range requests.
"""
