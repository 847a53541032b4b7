"""Checks the settings: the key, the certificate, and the address that clients are given."""

import os
import socket
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from assetstore.auth import server_key
from assetstore.config import announcement, key_checks, public_urls
from assetstore.config.loading import Settings
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.serving import tls

_THIS_MACHINE = ("localhost", "127.", "0.0.0.0", "::1")  # noqa: S104 - as an advertised address


def examine(settings: Settings, own: Mapping[str, object]) -> Iterator[Finding]:
    """Yields findings about the settings.

    Parameters:
        settings: the effective ones.
        own: names and values of settings.py.
    """
    yield ok("settings", "All settings are valid.")
    yield from _keys(settings)
    yield from _own_key(settings)
    for sentence in announcement.warnings(settings, own, os.environ):
        if not sentence.startswith("KEY"):
            meaning = "The server may not behave as intended."
            yield warning("settings", sentence, meaning, "Correct settings.py, or the environment variable.")
    yield from _advertised(settings)
    yield from _certificate(settings)
    yield from _proxy(settings)


def _certificate(settings: Settings) -> Iterator[Finding]:
    if settings.tls_certificate is None or settings.tls_key is None:
        return
    meaning = "Specify and browsers refuse to connect."
    try:
        certificate = tls.check(settings.tls_certificate, settings.tls_key)
    except tls.CertificateError as fault:
        yield error("certificate", str(fault), meaning, "Renew the certificate, then send SIGHUP to the server.")
        return
    if not certificate.is_for(settings.server_name):
        said = f"The certificate is for {', '.join(certificate.names)}, not for {settings.server_name}."
        yield error("certificate", said, meaning, "Set SERVER_NAME to a name in the certificate, or renew it.")
    elif certificate.days_left < tls.WARNING_DAYS:
        said = f"The certificate expires on {certificate.expiry_date}."
        yield warning("certificate", said, f"After that day: {meaning}", "Renew it, then send SIGHUP to the server.")
    else:
        yield ok("certificate", f"The certificate is valid until {certificate.expiry_date}.")


def is_this_machine(host: str) -> bool:
    """Whether a host name refers, on every machine, to that machine itself."""
    return host.startswith(_THIS_MACHINE)


def _keys(settings: Settings) -> Iterator[Finding]:
    if settings.key is None:
        yield warning(
            "key",
            "KEY is None, so tokens are not checked.",
            "Anyone who can reach the server can upload and delete attachments.",
            "Set KEY to a long random text, and set the same key in Specify.",
        )
        return
    for key, problem in zip(settings.key, key_checks.problems(settings.key), strict=True):
        if problem is None:
            yield ok("key", f"The key has {len(key)} characters.")
        else:
            finding = error if problem.is_open else warning
            yield finding("key", problem.found, problem.meaning, problem.remedy)
    if len(settings.key) > 1:
        yield warning(
            "key",
            f"{len(settings.key)} keys are valid.",
            "Each old key still gives access to the server.",
            "Remove old keys when Specify uses the new one.",
        )


def _own_key(settings: Settings) -> Iterator[Finding]:
    path = server_key.key_path(settings.base_dir)
    if settings.key != () or not path.exists():
        return
    if path.stat().st_mode & 0o077:
        yield warning(
            "key file",
            f"Other users of this machine can read {path}.",
            "They can upload and delete attachments.",
            f"chmod 600 {path}",
        )
        return
    yield ok("key file", "The server has generated its key. Only its user can read the key file.")


def _advertised(settings: Settings) -> Iterator[Finding]:
    base = public_urls.base_url(settings, settings.scheme)
    host = urlsplit(base).hostname or ""
    if is_this_machine(host):
        yield warning(
            "advertised address",
            f"The advertised address is {base}, which on each client is the client itself.",
            "Specify on other machines shows no attachments.",
            "Set PUBLIC_URL, or SERVER_NAME and SERVER_PORT, to the address that clients use.",
        )
        return
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        yield error(
            "advertised address",
            f"The advertised address is {base}, but DNS does not know its host name.",
            "Specify reads the XML, but cannot upload or show attachments.",
            "Correct PUBLIC_URL, SERVER_NAME or HOST, or add the name to the DNS.",
        )
        return
    yield ok("advertised address", f"The advertised address is {base}.")


def _proxy(settings: Settings) -> Iterator[Finding]:
    is_behind = settings.bind_address.startswith("127.") and not is_this_machine(
        urlsplit(public_urls.base_url(settings, settings.scheme)).hostname or ""
    )
    if is_behind and not settings.trusted_proxies:
        yield warning(
            "trusted proxies",
            "The server listens for a proxy on this machine only, but TRUSTED_PROXIES is empty.",
            "Long uploads may be rejected as expired, and the journal records the proxy's address as the client.",
            'Set TRUSTED_PROXIES = ["127.0.0.1"].',
        )
