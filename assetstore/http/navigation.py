"""Recognises the requests by which a browser opens an address in a tab, instead of loading a part of a page.

Browsers say so in the headers Sec-Fetch-Mode and Sec-Fetch-Dest (Fetch Metadata). They leave these out on plain http,
except on localhost, and Safari before 16.4 always does. Then a browser is recognised by the Accept header with which it
requests pages, together with Upgrade-Insecure-Requests, which no other program sends.
"""

from collections.abc import Mapping
from typing import Any

#: The header Vary of responses that are different for navigations.
VARY = "Accept, Sec-Fetch-Dest, Sec-Fetch-Mode, Upgrade-Insecure-Requests"


def is_navigation(environ: Mapping[str, Any]) -> bool:
    """Says whether a browser will show the response in a tab or window of its own.

    Parameters:
        environ: of the WSGI request. A request for a range is none: a browser continues an interrupted download.
    """
    if environ["REQUEST_METHOD"] != "GET" or "HTTP_RANGE" in environ:
        return False
    mode, destination = environ.get("HTTP_SEC_FETCH_MODE"), environ.get("HTTP_SEC_FETCH_DEST")
    if mode is not None or destination is not None:
        return mode == "navigate" and destination == "document"
    accepts_pages = str(environ.get("HTTP_ACCEPT", "")).startswith("text/html")
    return accepts_pages and environ.get("HTTP_UPGRADE_INSECURE_REQUESTS") == "1"
