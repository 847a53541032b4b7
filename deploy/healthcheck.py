"""Exits with 0 if the server in this container responds. This is the HEALTHCHECK of the Dockerfile.

Like the server, it reads PORT and TLS_CERTIFICATE from environment variables, or else from settings.py.
"""

import http.client
import os
import runpy
import ssl
import sys

_SECONDS = 4

own = runpy.run_path("settings.py")
port = int(os.environ.get("PORT") or own.get("PORT", 8080))
client = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
if (os.environ.get("TLS_CERTIFICATE") or own.get("TLS_CERTIFICATE")) not in (None, "None"):
    # The certificate is not for 127.0.0.1, so it is not verified here; /readyz checks whether it is valid.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = http.client.HTTPSConnection("127.0.0.1", port, timeout=_SECONDS, context=context)
client.request("GET", "/healthz")
sys.exit(client.getresponse().status != http.client.OK)
