"""Checks the addresses in web_asset_store.xml: each is requested, as Specify does after it has read the XML."""

import contextlib
import dataclasses
from collections.abc import Iterator
from xml.etree import ElementTree

from assetstore.client.asset_client import RemoteServer
from assetstore.client.http_client import Address, ask
from assetstore.config import public_urls
from assetstore.doctor.client_simulation import Reply, SimulatedClient
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.doctor.settings_check import is_this_machine
from assetstore.errors import AssetError, BadRequest, RemoteFault
from assetstore.monitoring.health import ERROR

_CHECK = "advertised address"
_REMEDY = "Set PUBLIC_URL to the address that clients use, and restart the server."
_MEANING = "Specify reads the XML, but uploads fail and images do not appear."

#: The addresses that accept only POST; the others accept only GET. Each is requested with the wrong method: the
#: response, 405 with the right method in Allow, depends neither on the key nor on collections, and nothing changes.
_WRITING = ("write", "delete")

_TIMEOUT_SECONDS = 10.0


def examine(client: SimulatedClient, reply: Reply) -> Iterator[Finding]:
    """Yields findings about the addresses; those with the same problem have one finding.

    Parameters:
        client: of the server.
        reply: the XML, which is valid.
    """
    urls = {str(child.get("type")): child.text or "" for child in ElementTree.fromstring(reply.body)}  # noqa: S314 - limited in size
    found: dict[str, Finding] = {}
    for kind, path in public_urls.ROUTES.items():
        finding = _one(client.remote.address, kind, urls[kind], path)
        found.setdefault(finding.found.replace(path, ""), finding)
    yield from found.values()


def _one(address: Address, kind: str, url: str, path: str) -> Finding:
    misplaced = _misplaced(address, url, path)
    if misplaced is not None and misplaced.status == ERROR:
        return misplaced
    return _unanswered(kind, url) or misplaced or ok(_CHECK, f"The XML advertises the same address, {address}.")


def _misplaced(address: Address, url: str, path: str) -> Finding | None:
    """What is wrong with the server that a URL names; None if it is the one that is checked."""
    try:
        target, advertised = Address.parse(url), Address.parse(url.removesuffix(path))
    except BadRequest:
        return error(_CHECK, f"The XML contains {url!r}, which is not an address.", _MEANING, _REMEDY)
    if target == dataclasses.replace(address, path=address.path + path):
        return None
    if address.scheme == "https" and advertised.scheme == "http":
        meaning = "Browsers block http images in https pages (mixed content), so Specify 7 shows no attachments."
        found = f"This address uses https, but the XML advertises {advertised}."
        return error("mixed content", found, meaning, _REMEDY)
    if is_this_machine(advertised.host) and not is_this_machine(address.host):
        found = f"The XML advertises {advertised}, which on every client is the client itself."
        return error(_CHECK, found, _MEANING, _REMEDY)
    with contextlib.suppress(AssetError):
        RemoteServer(advertised, None, None, timeout=_TIMEOUT_SECONDS).skew()
        meaning = "Clients use that address. This is correct only if it is the same server."
        return warning(_CHECK, f"The XML advertises another address: {advertised}.", meaning, _REMEDY)
    return error(_CHECK, f"The XML advertises {advertised}, where no asset server can be reached.", _MEANING, _REMEDY)


def _unanswered(kind: str, url: str) -> Finding | None:
    """Requests a URL of the XML; None if the route responds there."""
    accepted, refused = ("POST", "GET") if kind in _WRITING else ("GET", "POST")
    try:
        with ask(Address.parse(url), refused, "", timeout=_TIMEOUT_SECONDS) as response:
            if response.status == 405 and accepted in response.header("Allow"):
                return None
            found = f"The XML advertises {url}, which returns {response.status} instead of an answer of this route."
    except RemoteFault as fault:
        found = f"The XML advertises {url}, where nothing responds: {fault.public}"
    remedy = f"{_REMEDY} If it is right, configure the proxy to pass this address on (deploy/nginx.conf)."
    return error(_CHECK, found, _MEANING, remedy)
