"""Exits with 0 if the server in this container responds: the HEALTHCHECK of the Dockerfile.

It reads PORT and TLS_CERTIFICATE as the server does: from settings.py, unless the environment has them.
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
    # The certificate is for another name than 127.0.0.1; /readyz says whether it is valid.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = http.client.HTTPSConnection("127.0.0.1", port, timeout=_SECONDS, context=context)
client.request("GET", "/healthz")
sys.exit(client.getresponse().status != http.client.OK)
