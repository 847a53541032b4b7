"""A client of the protocol: talks to an attachment server over HTTP, as Specify does.

`http_client` sends one request, `multipart_encoder` builds the body of an upload, and `asset_client` knows the routes,
the tokens and the server's clock. `receipts` and `downloads` record how far an interrupted command got.
"""
