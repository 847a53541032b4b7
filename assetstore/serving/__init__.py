"""One small module for each web server, and admission control (`admission`), which is the same for all of them.

`paste` is the default and runs in one process. `granian` is for production: several processes, HTTPS, HTTP/2 and
slow clients. Any other WSGI server can run the same application, with `admission` but without the other modules.
"""
