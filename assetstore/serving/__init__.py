"""One thin module per web server, and the rule for who may hold a thread (`admission`), which is the same for all.

`paste` is the default and serves in one process. `granian` serves production: several processes, HTTPS, HTTP/2 and
slow clients. Any other WSGI server runs the same application without this package.
"""
