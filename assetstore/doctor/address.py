"""The address of a server: certificate, redirects, web_asset_store.xml, the addresses in it, the clock."""

import contextlib
import datetime
import socket
import ssl
import time
from collections.abc import Iterator
from xml.etree import ElementTree

from assetstore.client.asset_client import RemoteServer
from assetstore.client.http_client import Address
from assetstore.config import public_urls
from assetstore.doctor.client_simulation import Reply, Visit
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.doctor.settings_check import is_this_machine
from assetstore.errors import AssetError, BadRequest, RemoteFault
from assetstore.monitoring.health import ERROR

_XML = "/web_asset_store.xml"
_NO_ATTACHMENTS = "Specify says that attachments are unavailable."

#: A certificate that ends in fewer days needs somebody's attention.
_FEW_DAYS = 14

#: So many seconds apart two clocks are noticed, and so many do harm where no client corrects them.
_APART, _FAR_APART = 10, 150

_CONNECT_SECONDS, _HANDSHAKE_SECONDS = 20, 5

#: After so long the server's clock has advanced by at least one whole second.
_A_SECOND = 1.1

#: What OpenSSL says of a certificate (X509_V_ERR_…), and what to do.
_REMEDIES = {
    10: "Renew the certificate, and reload the web server; certbot renews by itself.",
    18: "Get a certificate that browsers and Java trust, for example from Let's Encrypt.",
    19: "Get a certificate that browsers and Java trust, for example from Let's Encrypt.",
    20: "Let the web server send the whole chain (fullchain.pem, not cert.pem).",
    21: "Let the web server send the whole chain (fullchain.pem, not cert.pem).",
    62: "Use the name that the certificate is for, or get one for this name.",
}


def examine(visit: Visit) -> Iterator[Finding]:
    """Yields what there is to say of the address. Raises RemoteFault if nothing more can be asked there."""
    address = visit.remote.address
    if address.scheme == "https":
        certificate = _certificate(address)
        yield certificate
        if certificate.status == ERROR:
            raise RemoteFault(certificate.found)
    try:
        began = time.monotonic()
        reply = visit.ask("GET", _XML)
    except RemoteFault as fault:
        yield error(
            "address", fault.public, _NO_ATTACHMENTS, "Start the server; look at address, port, DNS and firewall."
        )
        raise
    problem = _xml_problem(reply)
    yield problem or ok("address", f"{address} answers.")
    if problem is not None:
        raise RemoteFault("Nothing more can be asked there.", answered=reply.status)
    yield from _clock(visit, reply, began)
    yield from _advertised(address, reply)


def _certificate(address: Address) -> Finding:
    meaning = "Browsers and Specify refuse the address: no attachments."
    no_https = f"Port {address.port} speaks no HTTPS."
    http_remedy = "Use http:// in the address, or set up HTTPS on this port: docs/install.md."
    try:
        plain = socket.create_connection((address.host, address.port), timeout=_CONNECT_SECONDS)
    except OSError as fault:
        remedy = "Start the web server; look at address, port, DNS and firewall."
        return error("address", f"{address} cannot be reached: {fault.strerror or fault}.", _NO_ATTACHMENTS, remedy)
    plain.settimeout(_HANDSHAKE_SECONDS)
    try:
        with plain, ssl.create_default_context().wrap_socket(plain, server_hostname=address.host) as connection:
            certificate = connection.getpeercert() or {}
    except ssl.SSLCertVerificationError as fault:
        remedy = _REMEDIES.get(fault.verify_code, "Look at the certificate of the web server.")
        return error("certificate", f"It cannot be trusted: {fault.verify_message}.", meaning, remedy)
    except OSError:
        return error("certificate", no_https, meaning, http_remedy)
    return _period(str(certificate["notAfter"]))


def _period(end: str) -> Finding:
    """How long a certificate is still good."""
    utc = datetime.UTC
    ends = datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(end), utc)
    days = (ends - datetime.datetime.now(utc)).days
    if days < _FEW_DAYS:
        later = f"From {ends:%Y-%m-%d} on browsers and Specify refuse the address."
        return warning("certificate", f"It ends in {days} days.", later, _REMEDIES[10])
    return ok("certificate", f"It is good until {ends:%Y-%m-%d}.")


def _xml_problem(reply: Reply) -> Finding | None:
    """What is wrong with the XML, None if nothing is."""
    if 300 <= reply.status < 400:
        return error(
            "redirect",
            f"The address sends clients on to {reply.header('Location')!r}.",
            "Specify 6 does not follow: it has no attachments. Uploads are not followed by any client.",
            "Use the final address in Specify; let the proxy answer the XML without a redirect (deploy/nginx.conf).",
        )
    if reply.status != 200:
        remedy = "Start the asset server behind the proxy; look at the proxy's log."
        return error("address", f"{_XML} gives {reply.status}: {reply.text!r}.", _NO_ATTACHMENTS, remedy)
    wrong = _wrong_xml(reply)
    if wrong:
        return error(
            "xml",
            f"{_XML} is not what Specify expects: {wrong}.",
            _NO_ATTACHMENTS,
            "Give Specify the address of the asset server's web_asset_store.xml; a proxy must not change it.",
        )
    if not reply.header("X-Timestamp").isdigit():
        return error(
            "X-Timestamp",
            "The XML comes without the server's time (X-Timestamp).",
            "Specify 6 crashes, and Specify 7 does not start.",
            "Let the proxy pass this header on.",
        )
    return None


def _wrong_xml(reply: Reply) -> str:
    try:
        root = ElementTree.fromstring(reply.body)  # noqa: S314 - no external entities, and 20 s of patience
    except ElementTree.ParseError:
        return "no XML"
    if root.tag != "urls":
        return f"its root is {root.tag[:100]!r}"
    missing = set(public_urls.ROUTES) - {child.get("type", "") for child in root}
    if missing:
        return f"it lacks {', '.join(sorted(missing))}"
    if any((child.text or "") != (child.text or "").strip() for child in root):
        return "there are blanks around addresses"
    return ""


def _clock(visit: Visit, first: Reply, began: float) -> Iterator[Finding]:
    apart = visit.remote.skew()
    found = f"The server's clock and this machine's are {abs(apart):.0f} seconds apart"
    remedy = "Let both machines get their time by NTP (chrony, systemd-timesyncd)."
    if abs(apart) >= _FAR_APART:
        meaning = "Specify corrects for it, but scripts and older clients are refused, and dates are wrong."
        yield error("clock", f"{found}.", meaning, remedy)
    elif abs(apart) >= _APART:
        yield warning("clock", f"{found}.", "Soon clients that do not correct for it are refused.", remedy)
    else:
        yield ok("clock", f"{found}.")
    time.sleep(max(0.0, began + _A_SECOND - time.monotonic()))
    second = visit.ask("GET", _XML)
    advanced = int(second.header("X-Timestamp") or 0) - int(first.header("X-Timestamp"))
    if advanced < 1 or first.header("Age") or second.header("Age"):
        yield error(
            "cache",
            "The XML comes out of a cache, with the time of long ago.",
            "Specify takes a wrong clock from it, and uploads are refused as out of time.",
            "Let the proxy cache nothing of this server.",
        )


def _advertised(address: Address, reply: Reply) -> Iterator[Finding]:
    urls = {str(child.get("type")): child.text or "" for child in ElementTree.fromstring(reply.body)}  # noqa: S314 - as above
    found: dict[str, Finding] = {}
    for kind, path in public_urls.ROUTES.items():
        finding = _one_advertised(address, urls[kind], path)
        found.setdefault(finding.found.replace(path, ""), finding)
    yield from found.values()


def _one_advertised(address: Address, url: str, path: str) -> Finding:
    remedy = "Set PUBLIC_URL to the address that people use, and restart the server."
    nothing = "The XML opens, but uploads go nowhere and pictures do not appear."
    try:
        told = Address.parse(url.removesuffix(path))
    except BadRequest:
        return error("advertised address", f"The XML names {url!r}, which is no address.", nothing, remedy)
    if told == address and url.endswith(path):
        return ok("advertised address", f"The XML names {address}, too.")
    if address.scheme == "https" and told.scheme == "http":
        meaning = "Browsers refuse to load http pictures into https pages (mixed content): Specify 7 shows nothing."
        return error("mixed content", f"This is https, but the XML names {told}.", meaning, remedy)
    if is_this_machine(told.host) and not is_this_machine(address.host):
        return error("advertised address", f"The XML sends every client to itself: {told}.", nothing, remedy)
    with contextlib.suppress(AssetError):
        RemoteServer(told, None, None, timeout=10).skew()
        meaning = "Clients go there. That may be meant, if both are this server."
        return warning("advertised address", f"The XML names another address: {told}.", meaning, remedy)
    found = f"The XML names {told}, where no asset server can be reached."
    return error("advertised address", found, nothing, remedy)
