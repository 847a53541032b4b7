"""The other end of the protocol: an attachment server is asked over HTTP, as Specify asks it.

`wire` does one request, `forms` makes the body of an upload, `remote` knows the routes, tokens and
the server's clock, `receipts` and `downloads` remember how far an interrupted command came.
"""
