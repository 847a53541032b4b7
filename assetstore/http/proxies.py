"""The headers with which trusted reverse proxies describe the client.

If TRUSTED_PROXIES is empty, only the connection itself is used. A proxy must *set* these headers instead of
appending to those of the client; deploy/nginx.conf shows how.
"""

import functools
import ipaddress
import re
from collections.abc import Mapping, Sequence

from assetstore.config.values import Network

#: For how many seconds the proxy has been receiving the request; in nginx, $request_time.
RECEIVING_SECONDS = "HTTP_X_RECEIVING_SECONDS"

_SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?", re.ASCII)


class Proxies:
    """The proxies whose headers are used.

    Parameters:
        networks: their addresses (TRUSTED_PROXIES).
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)

    def client(self, environ: Mapping[str, object]) -> str:
        """Returns the address of the client: that of the connection, or the one that trusted proxies report.

        X-Forwarded-For is read from its end: each trusted proxy appends the address that it saw. Anything before
        the last address that is not a trusted proxy may be forged.
        """
        address = str(environ.get("REMOTE_ADDR") or "-")
        forwarded = str(environ.get("HTTP_X_FORWARDED_FOR") or "").split(",") if self.trusts(address) else []
        while forwarded and self.trusts(address):
            following = forwarded.pop().strip()
            if _parse(following) is None or "%" in following:
                break  # a zone (RFC 4007) may be any text, and is valid only on that machine
            address = following
        return address

    def received_at(self, environ: Mapping[str, object], seen_at: float) -> float:
        """Returns when the request began to arrive, seconds since 1970 by this machine's clock.

        Parameters:
            environ: of the WSGI request.
            seen_at: when its first byte reached this server; this is late if a proxy buffers
                whole uploads before it forwards them.
        """
        said = str(environ.get(RECEIVING_SECONDS, ""))
        if self.trusts(str(environ.get("REMOTE_ADDR"))) and _SECONDS.fullmatch(said):
            return seen_at - float(said)
        return seen_at

    def scheme(self, environ: Mapping[str, object]) -> str:
        """Returns `https` or `http`: how the client reached the first of the proxies, or this server."""
        said = str(environ.get("HTTP_X_FORWARDED_PROTO") or "").split(",")[0].strip().lower()
        if said in ("http", "https") and self.trusts(str(environ.get("REMOTE_ADDR"))):
            return said
        return str(environ.get("wsgi.url_scheme") or "http")

    def request_id(self, environ: Mapping[str, object]) -> str:
        """Returns the request ID that a trusted proxy sent (X-Request-Id), or an empty text."""
        said = str(environ.get("HTTP_X_REQUEST_ID") or "")
        return said if said and self.trusts(str(environ.get("REMOTE_ADDR"))) else ""

    def trusts(self, address: str) -> bool:
        """Says whether this is the address of a trusted proxy."""
        parsed = _parse(address) if self._networks else None
        return parsed is not None and any(parsed in network for network in self._networks)


@functools.lru_cache(maxsize=1000)
def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    # An IPv6 socket reports IPv4 clients as ::ffff:192.0.2.1.
    return getattr(parsed, "ipv4_mapped", None) or parsed
