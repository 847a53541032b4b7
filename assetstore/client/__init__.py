"""A client of the protocol: sends requests to an attachment server over HTTP, as Specify does.

`http_client` sends one request, `multipart_encoder` builds the body of an upload, and `asset_client` implements the
routes, the tokens and the server's clock. `receipts` and `downloads` record the progress of an interrupted command.
"""
