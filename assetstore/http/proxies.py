"""What a reverse proxy says of the client in front of it, believed only if the proxy is trusted.

With TRUSTED_PROXIES empty everything here is what the connection itself says. A proxy must *set*
these headers, not add to what the client sent; deploy/nginx.conf shows how.
"""

import functools
import ipaddress
import re
from collections.abc import Mapping, Sequence

from assetstore.config.values import Network

#: Says for how many seconds the proxy has been receiving the request; nginx knows it as $request_time.
RECEIVING_SECONDS = "HTTP_X_RECEIVING_SECONDS"

_SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?", re.ASCII)


class Proxies:
    """The proxies whose word counts.

    Parameters:
        networks: their addresses (TRUSTED_PROXIES).
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)

    def client(self, environ: Mapping[str, object]) -> str:
        """Returns the address of the client: of the connection, or what the nearest trusted proxies passed on.

        X-Forwarded-For is read from its end: each trusted proxy appends the address that it saw, and
        whatever stands before the first address that is not a trusted proxy may be invented.
        """
        address = str(environ.get("REMOTE_ADDR") or "-")
        forwarded = str(environ.get("HTTP_X_FORWARDED_FOR") or "").split(",") if self.trusts(address) else []
        while forwarded and self.trusts(address):
            following = forwarded.pop().strip()
            if _parse(following) is None or "%" in following:
                break  # a zone (RFC 4007) may be any text, and means something on that machine only
            address = following
        return address

    def received_at(self, environ: Mapping[str, object], seen_at: float) -> float:
        """Returns when the request began to arrive, seconds since 1970 by this machine's clock.

        Parameters:
            environ: of the WSGI request.
            seen_at: when its first byte came to this server, which is late if a proxy collects
                whole uploads before it passes them on.
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
        """Returns what a trusted proxy calls this request (X-Request-Id), or nothing."""
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
    # A socket for IPv6 shows clients with IPv4 as ::ffff:192.0.2.1.
    return getattr(parsed, "ipv4_mapped", None) or parsed
