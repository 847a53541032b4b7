"""The settings: the key, and what clients are told."""

import os
import socket
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from assetstore.auth import server_key
from assetstore.config import announcement, public_urls
from assetstore.config.announcement import EXAMPLE_KEYS
from assetstore.config.loading import Settings
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.serving import tls

#: Below this many characters, or different ones, a key is guessed from a single token that somebody overheard.
_SHORTEST_KEY, _FEWEST_CHARACTERS = 16, 6

_THIS_MACHINE = ("localhost", "127.", "0.0.0.0", "::1")  # noqa: S104 - as an address that clients are told


def examine(settings: Settings, own: Mapping[str, object]) -> Iterator[Finding]:
    """Yields what there is to say of the settings.

    Parameters:
        settings: the effective ones.
        own: names and values of settings.py.
    """
    yield ok("settings", "All settings can be used.")
    yield from _keys(settings)
    yield from _own_key(settings)
    for sentence in announcement.warnings(settings, own, os.environ):
        if not sentence.startswith("KEY"):
            yield warning("settings", sentence, "Something may not work as you expect.", "Correct settings.py.")
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
    """Whether this name means, on every machine, that machine itself."""
    return host.startswith(_THIS_MACHINE)


def _keys(settings: Settings) -> Iterator[Finding]:
    if settings.key is None:
        yield warning(
            "key",
            "KEY is None: nothing is checked.",
            "Anybody who reaches the server can upload and delete attachments.",
            "Set KEY to a long random text, and the same in Specify.",
        )
        return
    remedy = "Set KEY to a long random text (openssl rand -hex 24), and the same in Specify."
    for key in settings.key:
        if key in EXAMPLE_KEYS:
            meaning = "Anybody can upload and delete attachments: this key stands in manuals."
            yield error("key", "The key is a well-known example.", meaning, remedy)
        elif key != key.strip() or key.strip("\"'") != key:
            yield warning(
                "key",
                "The key begins or ends with a blank or a quotation mark.",
                "Specify most likely has it without, and then every upload is refused.",
                "Remove it from KEY or ATTACHMENT_KEY.",
            )
        elif len(key) < _SHORTEST_KEY or len(set(key)) < _FEWEST_CHARACTERS:
            meaning = "Who overhears one upload can find the key by trying, and then delete attachments."
            yield warning("key", f"The key is easily guessed: {len(key)} characters.", meaning, remedy)
        else:
            yield ok("key", f"The key has {len(key)} characters.")
    if len(settings.key) > 1:
        meaning = "The old key still opens the server."
        yield warning("key", "Two keys are valid.", meaning, "Remove the old one when Specify has the new one.")


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
    yield ok("key file", "The server has made its key itself, and only its user can read it.")


def _advertised(settings: Settings) -> Iterator[Finding]:
    base = public_urls.base_url(settings, settings.scheme)
    host = urlsplit(base).hostname or ""
    if is_this_machine(host):
        yield warning(
            "advertised address",
            f"Clients are told {base}, which on each machine is that machine itself.",
            "Specify on other machines shows no attachments.",
            "Set PUBLIC_URL, or SERVER_NAME and SERVER_PORT, to the address that people use.",
        )
        return
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        yield error(
            "advertised address",
            f"Clients are told {base}, and there is no machine of that name.",
            "Specify reads the XML, but cannot upload or show anything.",
            "Correct PUBLIC_URL, SERVER_NAME or HOST, or have the name entered in the DNS.",
        )
        return
    yield ok("advertised address", f"Clients are told {base}.")


def _proxy(settings: Settings) -> Iterator[Finding]:
    is_behind = settings.bind_address.startswith("127.") and not is_this_machine(
        urlsplit(public_urls.base_url(settings, settings.scheme)).hostname or ""
    )
    if is_behind and not settings.trusted_proxies:
        yield warning(
            "trusted proxies",
            "The server listens for a proxy on this machine, but TRUSTED_PROXIES names none.",
            "Long uploads may be refused as out of time, and the journal names the proxy instead of people's machines.",
            'Set TRUSTED_PROXIES = ["127.0.0.1"].',
        )
