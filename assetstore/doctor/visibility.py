"""Checks the setting VISIBILITY: its source, the rights of the database account, and proxies that would undo it."""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from assetstore.config.loading import FILE, Settings
from assetstore.doctor import samples
from assetstore.doctor.client_simulation import SCALE, SimulatedClient
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.errors import AssetError
from assetstore.specify import database
from assetstore.visibility.service import Visibility

_CHECK = "visibility"

#: Where nginx has its configuration, and what switches on the fast path of deploy/nginx-advanced.conf.
NGINX = Path("/etc/nginx")
_FAST_PATH = re.compile(r"^[^#\n]*\$asset_fast_path\s*\{\s*default\s+on\s*;", re.M)

#: Rights that do not change anything.
_HARMLESS = frozenset(("USAGE", "SELECT", "SHOW VIEW"))
_GRANT = re.compile(r"GRANT (.+?) ON ")
_COLUMNS = re.compile(r"\s*\([^)]*\)")

_TABLES = ("attachment", "collectionobject", "collectionobjectattachment")

#: How many files of each state to request.
_SAMPLE = 3


def examine(settings: Settings, environ: Mapping[str, str] = os.environ, nginx: Path = NGINX) -> Iterator[Finding]:
    """Yields findings about the visibility of files.

    Parameters:
        settings: the effective ones.
        environ: the environment, which may have the password.
        nginx: the folder with the configuration of nginx.
    """
    if settings.visibility is None:
        yield ok(_CHECK, "VISIBILITY is not set, so the same rules apply to all files.")
        return
    yield from _file(settings) if settings.visibility == FILE else _database(settings, environ)
    yield from _state(settings)
    yield from _fast_path(nginx)


def _file(settings: Settings) -> Iterator[Finding]:
    if settings.visibility_file is None or not os.access(settings.visibility_file, os.R_OK):
        meaning = "Files keep their last state, and new ones are private."
        said = f"VISIBILITY_FILE, {settings.visibility_file}, cannot be read."
        yield error(_CHECK, said, meaning, "Create the file, and make it readable for the user of the server.")
        return
    yield ok(_CHECK, f"The table {settings.visibility_file} can be read.")


def _database(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        where = database.configured(settings.specify_database or "", environ, settings.specify_database_password_file)
        with database.connected(where) as cursor:
            for table in _TABLES:
                cursor.execute(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - our own names
                cursor.fetchall()
            cursor.execute("SHOW GRANTS")
            grants = [str(row[0]) for row in cursor.fetchall()]
    except AssetError as fault:
        meaning = "Files keep their last state, and new ones are private."
        remedy = "Correct SPECIFY_DATABASE and its password, and grant SELECT on the three tables (docs/visibility.md)."
        yield error(_CHECK, f"{fault.public} {fault.detail}".strip(), meaning, remedy)
        return
    yield ok(_CHECK, "Specify's database can be read.")
    rights = sorted({right for grant in grants for right in _rights(grant)} - _HARMLESS)
    if rights:
        yield warning(
            "database rights",
            f"The account of SPECIFY_DATABASE may do more than read: {', '.join(rights)}.",
            "Anyone who gets its password from this server can change Specify's records.",
            "Create an account with SELECT on the three tables only (docs/visibility.md#database-account).",
        )
    else:
        yield ok("database rights", "The account may only read.")
    yield ok(
        "Specify 7",
        "Whether Specify 7 sends tokens for reading cannot be seen from here. In its settings,"
        " WEB_ATTACHMENT_REQUIRES_KEY_FOR_GET has to be True (docs/visibility.md#specify-7).",
    )


def _rights(grant: str) -> list[str]:
    match = _GRANT.match(grant)
    return [right.strip() for right in _COLUMNS.sub("", match[1]).split(",")] if match else []


def _visibility(settings: Settings) -> "contextlib.closing[Visibility]":
    return contextlib.closing(Visibility(settings.base_dir, settings.visibility_seconds))


def _state(settings: Settings) -> Iterator[Finding]:
    remedy = "Start the server, and look at its log."
    try:
        with _visibility(settings) as visible:
            status = visible.status()
    except AssetError as fault:
        yield error(_CHECK, f"{fault.public} {fault.detail}", "No file is public.", remedy)
        return
    if status.checked_at is None:
        yield warning(_CHECK, f"The visibility was never read. {status.fault}".strip(), "No file is public.", remedy)
        return
    now = time.time()
    if not status.is_current(settings.visibility_seconds, now):
        age = max(0.0, now - status.checked_at)
        said = f"The visibility was read {age:.0f} seconds ago. {status.fault}".strip()
        yield warning(_CHECK, said, "Changes in Specify since then have no effect.", remedy)
        return
    yield ok(_CHECK, f"Files: {status.public} public, {status.private} private, {status.unknown} unknown.")


def _fast_path(nginx: Path) -> Iterator[Finding]:
    for path in sorted(nginx.rglob("*")):
        text = ""
        with contextlib.suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        if _FAST_PATH.search(text):
            yield error(
                "fast path",
                f"{path} switches on the fast path, with which nginx sends cached thumbnails of private files, too.",
                "Everyone can see thumbnails of private files.",
                'Write: map "" $asset_fast_path { default off; }',
            )
            return


def through_proxies(client: SimulatedClient, settings: Settings | None) -> Iterator[Finding]:
    """Whether the public address withholds what is private, also if the same was just requested with a token.

    Parameters:
        client: of the server at the public address.
        settings: of that server; None if they are not known.
    """
    if settings is None or settings.visibility is None:
        return
    name = client.web_name(".jpg")  # no record names it, so it is private
    if client.upload(name, samples.JPEG.read()).status != 200:
        return  # already reported
    shown = []
    for what, kind in (("original", "O"), ("thumbnail", "T")):
        client.file(name, type=kind, scale=str(SCALE))
        reply = client.ask("GET", "/fileget", client.unsigned(name, {"type": kind, "scale": str(SCALE)}))
        if reply.status != 403:
            shown.append(f"{what} ({reply.status})")
    client.delete(name)
    if shown:
        yield error(
            "private files",
            f"A private file is served without a token: {' and '.join(shown)}.",
            "Everyone can see private files.",
            "Switch off the fast path of nginx-advanced.conf, and caches that ignore queries or Cache-Control.",
        )
    else:
        yield ok("private files", "Private files require a token, also when they were just read with one.")
    yield from _sampled(client, settings)


def _sampled(client: SimulatedClient, settings: Settings) -> Iterator[Finding]:
    """Requests some files as links in portals do, without a token."""
    try:
        with _visibility(settings) as visible:
            samples_of = {is_public: visible.sample(is_public, _SAMPLE) for is_public in (True, False)}
    except AssetError:
        return  # already reported
    for is_public, names in samples_of.items():
        for name in names:
            status = client.ask("HEAD", "/fileget", client.unsigned(name, {})).status
            if is_public and status == 403:
                found, meaning = f"{name} is public, but its link returns 403.", "Portals do not show public files."
                yield error("links", found, meaning, "Set REQUIRE_KEY_FOR_GET to False, and check the proxy.")
                return
            if not is_public and status != 403:
                found, meaning = f"{name} is private, but its link returns {status}.", "Everyone can see private files."
                yield error("links", found, meaning, "Check the proxy, and whether this is the server of BASE_DIR.")
                return
    if any(samples_of.values()):
        yield ok("links", "Links without a token open public files, and no private ones.")
