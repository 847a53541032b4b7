"""Checks the address of a server: certificate, redirects, web_asset_store.xml, the addresses in it, the clock."""

import datetime
import socket
import ssl
import time
from collections.abc import Iterator
from xml.etree import ElementTree

from assetstore.client.http_client import Address
from assetstore.config import public_urls
from assetstore.doctor import advertised
from assetstore.doctor.client_simulation import Reply, SimulatedClient
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.errors import RemoteFault
from assetstore.monitoring.health import ERROR

_XML = "/web_asset_store.xml"
_NO_ATTACHMENTS = "Specify says that attachments are unavailable."

#: A certificate that expires in fewer days gives a warning.
_FEW_DAYS = 14

#: Differences between two clocks, in seconds, that give a warning and an error.
_APART, _FAR_APART = 10, 150

_CONNECT_SECONDS, _HANDSHAKE_SECONDS = 20, 5

#: After this many seconds, the server's clock has advanced by at least one whole second.
_A_SECOND = 1.1

#: Remedies by the error code of OpenSSL (X509_V_ERR_…).
_REMEDIES = {
    10: "Renew the certificate and reload the web server. certbot renews certificates automatically.",
    18: "Get a certificate that browsers and Java trust, for example from Let's Encrypt.",
    19: "Get a certificate that browsers and Java trust, for example from Let's Encrypt.",
    20: "Configure the web server to send the full certificate chain (fullchain.pem, not cert.pem).",
    21: "Configure the web server to send the full certificate chain (fullchain.pem, not cert.pem).",
    62: "Use a host name that is in the certificate, or get a certificate for this name.",
}


def examine(client: SimulatedClient) -> Iterator[Finding]:
    """Yields findings about the address. Raises RemoteFault if further checks are not possible."""
    address = client.remote.address
    if address.scheme == "https":
        certificate = _certificate(address)
        yield certificate
        if certificate.status == ERROR:
            raise RemoteFault(certificate.found)
    try:
        began = time.monotonic()
        reply = client.ask("GET", _XML)
    except RemoteFault as fault:
        yield error(
            "address", fault.public, _NO_ATTACHMENTS, "Start the server. Check the address, port, DNS and firewall."
        )
        raise
    problem = _xml_problem(reply)
    yield problem or ok("address", f"{address} responds.")
    if problem is not None:
        raise RemoteFault("Further checks are not possible.", answered=reply.status)
    yield from _clock(client, reply, began)
    yield from advertised.examine(client, reply)


def _certificate(address: Address) -> Finding:
    meaning = "Browsers and Specify refuse to connect, so attachments are unavailable."
    no_https = f"Port {address.port} does not use HTTPS."
    http_remedy = "Use http:// in the address, or set up HTTPS on this port (docs/install.md)."
    try:
        plain = socket.create_connection((address.host, address.port), timeout=_CONNECT_SECONDS)
    except OSError as fault:
        remedy = "Start the web server. Check the address, port, DNS and firewall."
        return error("address", f"{address} cannot be reached: {fault.strerror or fault}.", _NO_ATTACHMENTS, remedy)
    plain.settimeout(_HANDSHAKE_SECONDS)
    try:
        with plain, ssl.create_default_context().wrap_socket(plain, server_hostname=address.host) as connection:
            certificate = connection.getpeercert() or {}
    except ssl.SSLCertVerificationError as fault:
        remedy = _REMEDIES.get(fault.verify_code, "Check the certificate of the web server.")
        return error("certificate", f"The certificate is not trusted: {fault.verify_message}.", meaning, remedy)
    except OSError:
        return error("certificate", no_https, meaning, http_remedy)
    return _period(str(certificate["notAfter"]))


def _period(end: str) -> Finding:
    """How long a certificate is still valid."""
    utc = datetime.UTC
    ends = datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(end), utc)
    days = (ends - datetime.datetime.now(utc)).days
    if days < _FEW_DAYS:
        later = "After that, browsers and Specify refuse to connect."
        return warning("certificate", f"The certificate expires on {ends:%Y-%m-%d}.", later, _REMEDIES[10])
    return ok("certificate", f"The certificate is valid until {ends:%Y-%m-%d}.")


def _xml_problem(reply: Reply) -> Finding | None:
    """The problem with the XML, None if there is none."""
    if 300 <= reply.status < 400:
        return error(
            "redirect",
            f"The address redirects clients to {reply.header('Location')!r}.",
            "Specify 6 does not follow redirects and shows no attachments. No client follows redirects of uploads.",
            "Use the final address in Specify. Configure the proxy to serve the XML without a redirect"
            " (deploy/nginx.conf).",
        )
    if reply.status != 200:
        remedy = "Start the asset server behind the proxy, and check the proxy's log."
        return error("address", f"{_XML} returns {reply.status}: {reply.text!r}.", _NO_ATTACHMENTS, remedy)
    wrong = _wrong_xml(reply)
    if wrong:
        return error(
            "xml",
            f"{_XML} is not valid: {wrong}.",
            _NO_ATTACHMENTS,
            "Set Specify's address to the asset server's web_asset_store.xml. The proxy must not change its content.",
        )
    if not reply.header("X-Timestamp").isdigit():
        return error(
            "X-Timestamp",
            "The XML response has no X-Timestamp header with the server's time.",
            "Specify 6 crashes, and Specify 7 does not start.",
            "Configure the proxy to pass this header on.",
        )
    return None


def _wrong_xml(reply: Reply) -> str:
    try:
        root = ElementTree.fromstring(reply.body)  # noqa: S314 - no external entities, and limited in size
    except ElementTree.ParseError:
        return "it is not XML"
    if root.tag != "urls":
        return f"its root is {root.tag[:100]!r}"
    missing = set(public_urls.ROUTES) - {child.get("type", "") for child in root}
    if missing:
        return f"it lacks {', '.join(sorted(missing))}"
    if any((child.text or "") != (child.text or "").strip() for child in root):
        return "there are spaces around addresses"
    return ""


def _clock(client: SimulatedClient, first: Reply, began: float) -> Iterator[Finding]:
    apart = client.remote.skew()
    found = f"The clocks of the server and this machine differ by {abs(apart):.0f} seconds"
    remedy = "Synchronize both clocks by NTP (chrony or systemd-timesyncd)."
    if abs(apart) >= _FAR_APART:
        meaning = "Specify corrects the difference, but scripts and older clients are rejected, and dates are wrong."
        yield error("clock", f"{found}.", meaning, remedy)
    elif abs(apart) >= _APART:
        meaning = "If the difference grows, clients that do not correct it are rejected."
        yield warning("clock", f"{found}.", meaning, remedy)
    else:
        yield ok("clock", f"{found}.")
    time.sleep(max(0.0, began + _A_SECOND - time.monotonic()))
    second = client.ask("GET", _XML)
    advanced = int(second.header("X-Timestamp") or 0) - int(first.header("X-Timestamp"))
    if advanced < 1 or first.header("Age") or second.header("Age"):
        yield error(
            "cache",
            "The XML response comes from a cache, with an old timestamp.",
            "Specify computes a wrong time from it, and its uploads are rejected as expired.",
            "Disable caching in the proxy for this server.",
        )
