"""Exits with 0 if the server in this container responds. This is the HEALTHCHECK of the Dockerfile.

It runs in the folder of the program, and reads the settings as the server does.
"""

import http.client
import os
import ssl
import sys
from pathlib import Path

_SECONDS = 4

folder = Path.cwd()
sys.path.insert(0, str(folder))

from assetstore.config import loading, settings_file  # noqa: E402 - found only now

own = settings_file.read(settings_file.find(folder, is_installed=False, environ=os.environ))
settings = loading.load(own, os.environ, folder, 1)
host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.bind_address, settings.bind_address)  # noqa: S104
client = http.client.HTTPConnection(host, settings.port, timeout=_SECONDS)
if settings.scheme == "https":
    # The certificate is not for this address, so it is not verified here; /readyz checks whether it is valid.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = http.client.HTTPSConnection(host, settings.port, timeout=_SECONDS, context=context)
client.request("GET", "/healthz")
sys.exit(client.getresponse().status != http.client.OK)
