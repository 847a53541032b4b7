"""The readiness checks: certificate, store, space, journal, tools, render workers, verification."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from assetstore.config.loading import Settings
from assetstore.errors import AssetError, JournalLocked, OutOfSpace, ReadOnly
from assetstore.fixity import schedule
from assetstore.monitoring.health import ERROR, OK, WARNING, Result
from assetstore.originals.service import Originals
from assetstore.programs import admin_name
from assetstore.serving import tls
from assetstore.thumbnails.rendering import engines
from assetstore.thumbnails.rendering.pool import RenderPool
from assetstore.thumbnails.rendering.tools import GHOSTSCRIPT, IMAGEMAGICK
from assetstore.visibility.models import Status
from assetstore.visibility.poller import SHARE_OF_POLL
from assetstore.visibility.service import Visibility

_log = logging.getLogger(__name__)

_GIGABYTE = 1_000_000_000
_DAY = 86_400


def checks(
    settings: Settings, originals: Originals, pool: RenderPool, visible: Visibility | None
) -> Mapping[str, Callable[[], Result]]:
    """Returns the checks of a server by name, for `Health`.

    Parameters:
        settings: the effective settings.
        originals: the store.
        pool: the render workers.
        visible: the visibility of files; None if VISIBILITY is not set.
    """
    visibility = {} if visible is None else {"visibility": lambda: _visibility(visible)}
    certificate, key = settings.tls_certificate, settings.tls_key
    https = {} if certificate is None or key is None else {"certificate": lambda: _certificate(certificate, key)}
    return {
        **https,
        "store": lambda: _store(originals),
        "thumbnails": lambda: _thumbnails(originals),
        "space": lambda: _space(settings, originals),
        "journal": lambda: _journal(originals),
        "tools": _tools,
        "rendering": lambda: _rendering(pool),
        "verification": lambda: _verification(settings, originals),
        **visibility,
    }


def _certificate(certificate: Path, key: Path) -> Result:
    try:
        checked = tls.check(certificate, key)
    except tls.CertificateError:
        # Requests are still served with the certificate that was loaded.
        said = "The certificate files cannot be used, so the next restart will fail;"
        return Result(WARNING, f"{said} {admin_name()} doctor shows the reason.")
    is_late = checked.days_left < tls.WARNING_DAYS
    return Result(WARNING if is_late else OK, f"The certificate is valid until {checked.expiry_date}.")


def _store(originals: Originals) -> Result:
    try:
        originals.space.probe()
    except ReadOnly as error:
        return Result(WARNING, error.public)
    return Result(OK, "Storage is writable.")


def _thumbnails(originals: Originals) -> Result:
    """An unwritable cache is only a warning: thumbnails are served, but slowly."""
    try:
        originals.space.probe_thumbnails()
    except AssetError as error:
        _log.warning("health check thumbnails: %s %s", error.public, error.detail)
        return Result(WARNING, "Thumbnails cannot be cached, so each is rendered again for each request.")
    return Result(OK, "Thumbnails can be cached.")


def _space(settings: Settings, originals: Originals) -> Result:
    free = originals.space.free_bytes()
    if free is None:
        return Result(OK, "The free space of the store is unknown.")
    if free <= settings.reserved_bytes:
        raise OutOfSpace("The disk is full, so uploads are rejected.")
    return Result(OK, f"{free / _GIGABYTE:.1f} GB are free.")


def _journal(originals: Originals) -> Result:
    try:
        originals.journal.probe()
    except JournalLocked as error:
        number = originals.journal.pending()
        return Result(WARNING, f"{error.public} Changes that wait to be recorded in it: {number}.")
    except ReadOnly:
        return Result(WARNING, "The disk of the journal is read-only, so changes cannot be recorded.")
    return Result(OK, "The journal is writable.")


def _tools() -> Result:
    tools = [tool for tool in (IMAGEMAGICK, GHOSTSCRIPT) if tool.find() is None]
    libraries = engines.missing_libraries()
    missing = [f"{tool.title} (package {tool.package})" for tool in tools]
    missing += [f"{engine.title} (Python package {engine.package})" for engine in libraries]
    if not missing:
        return Result(OK, "ImageMagick, Ghostscript and the libraries for thumbnails are installed.")
    # Either group renders the usual formats.
    return Result(ERROR if tools and libraries else WARNING, f"Not installed: {', '.join(missing)}.")


def _rendering(pool: RenderPool) -> Result:
    workers = pool.workers()
    noun = "worker" if workers.running == 1 else "workers"
    waiting = f"thumbnails waiting: {workers.waiting}" if workers.waiting else "no thumbnails waiting"
    reason = f"{workers.running} {noun} running, {workers.busy or 'none'} busy; {waiting}."
    return Result(ERROR if workers.closed else OK, reason)


def _verification(settings: Settings, originals: Originals) -> Result:
    """Findings are only a warning: they are for the curator, and the server is still ready."""
    try:
        last = schedule.last_run(originals)
    except JournalLocked as error:
        return Result(WARNING, f"{error.public} The last verification is not known.")
    if last is None:
        return Result(OK, "No verification has been run yet.")
    if last["ended"] is None:
        return Result(OK, f"A verification has been running since {_date(last['began'])}.")
    summary = last["summary"]
    found = ", ".join(f"{number} {kind}" for kind, number in sorted(summary["findings"].items()))
    noun = "file" if summary["files"] == 1 else "files"
    text = f"The verification of {_date(last['ended'])} read {summary['files']} {noun}: {found or 'no errors'}."
    is_late = settings.verify_days and time.time() - last["ended"] > settings.verify_days * _DAY
    return Result(WARNING if found or is_late else OK, text)


def _visibility(visible: Visibility) -> Result:
    """An unreadable source is only a warning: files keep their last state, and requests with a token are served."""
    try:
        status = visible.status()
    except AssetError as error:
        _log.warning("health check visibility: %s %s", error.public, error.detail)
        return Result(WARNING, f"{error.public} No file is public.")
    if status.checked_at is None:
        reason = status.fault or "The visibility of files has not been read yet."
        return Result(WARNING, f"{reason} No file is public.")
    reason = _reason_for_doubt(status, visible.seconds)
    counts = f"Files: {status.public} public, {status.private} private, {status.unknown} unknown"
    return Result(WARNING, reason) if reason else Result(OK, f"{counts}, as of {_age(status):.0f} seconds ago.")


def _age(status: Status) -> float:
    return max(0, time.time() - (status.checked_at or 0))


def _reason_for_doubt(status: Status, seconds: int) -> str:
    """Why the state of files may not be that of the source; empty if it is. *seconds* is VISIBILITY_SECONDS."""
    if not status.is_current(seconds, time.time()):
        reason = status.fault or f"Reading the visibility of files is overdue (VISIBILITY_SECONDS: {seconds})."
        return f"{reason} Files keep the state of {_age(status):.0f} seconds ago."
    if status.took > seconds * SHARE_OF_POLL:
        took = f"Reading the visibility of files took {status.took:.1f} seconds, too long for VISIBILITY_SECONDS"
        return f"{took} ({seconds}): changes in the source may take effect later."
    if status.unknown and not status.records:
        return "The source of visibility has no records. Files keep their last state."
    if status.problems:
        return f"Some records of the visibility of files cannot be used: {status.problems[0]}"
    return ""


def _date(timestamp: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(timestamp))
