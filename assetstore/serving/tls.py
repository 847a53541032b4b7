"""The certificate for HTTPS, which is checked before it is used.

A TLS handshake in memory checks what a client would check: the certificate matches its key and is currently valid.
No file is written; the private key stays in the memory of the process.
"""

import os
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: How many days before a certificate expires to start warning.
WARNING_DAYS = 14

_DAY = 86_400


class CertificateError(Exception):
    """The certificate or its key cannot be used; the message is one line for the administrator."""


@dataclass(frozen=True)
class Certificate:
    """A certificate that was checked.

    Fields:
        expires: when it expires, seconds since 1970.
        names: host names and addresses for which it is valid.
    """

    expires: float
    names: tuple[str, ...]

    @property
    def expiry_date(self) -> str:
        """The date on which it expires (UTC), such as `2027-03-01`."""
        return time.strftime("%Y-%m-%d", time.gmtime(self.expires))

    @property
    def days_left(self) -> int:
        """Whole days until it expires; negative afterwards."""
        return int((self.expires - time.time()) // _DAY)

    def is_for(self, host: str) -> bool:
        """Says whether it is valid for a host name or address (RFC 9525, 6.3: `*` matches one label)."""
        wildcard = "*." + host.partition(".")[2]
        return any(name.lower() in (host.lower(), wildcard.lower()) for name in self.names)


def check(certificate: Path, key: Path) -> Certificate:
    """Checks a certificate and its key, and returns the certificate.

    Parameters:
        certificate: PEM file with the server's certificate first, then intermediate ones.
        key: PEM file with its private key, not encrypted.

    Raises:
        CertificateError: a file cannot be read, the key does not match, or the certificate is not currently valid.
    """
    for name, path in (("TLS_CERTIFICATE", certificate), ("TLS_KEY", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise CertificateError(f"{name} is {str(path)!r}, which cannot be read: {error.strerror}.") from None
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(certificate, key, password=_refuse_password)
    except (ssl.SSLError, ValueError) as error:
        raise CertificateError(f"TLS_CERTIFICATE and TLS_KEY cannot be used together: {_reason(error)}.") from None
    details = _handshake(server, certificate)
    names = tuple(value for _, value in details.get("subjectAltName", ()))
    return Certificate(float(ssl.cert_time_to_seconds(details["notAfter"])), names)


def in_memory(path: Path) -> str:
    """Returns a path at which this process and its children can read a copy of the file.

    Workers that start later read what was checked, even if the file has changed since.
    """
    descriptor = os.memfd_create(path.name)
    os.write(descriptor, path.read_bytes())
    return f"/proc/self/fd/{descriptor}"


def _refuse_password() -> str:
    raise ValueError("the key is encrypted; expected one without a password")


def _handshake(server_context: ssl.SSLContext, certificate: Path) -> dict[str, Any]:
    """Does a TLS handshake in memory that trusts only this certificate; returns its fields as `ssl` decodes them."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        trusting.load_verify_locations(certificate)
        client = trusting.wrap_bio(to_client, to_server)
        server = server_context.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(2):
            for side in (client, server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLError as error:
        raise CertificateError(f"TLS_CERTIFICATE is {str(certificate)!r}: {_reason(error)}.") from None
    return dict(client.getpeercert() or {})


def _reason(error: Exception) -> str:
    message = getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error)
    return message.replace("_", " ").lower()
