"""The start of the program: settings, log, and the warnings of the first lines.

Each step that can fail raises SettingsError with a message of one line for the administrator.
"""

import importlib.util
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from assetstore import __version__
from assetstore.concurrency import memory
from assetstore.config import announcement, loading, settings_file, unknown_names
from assetstore.config.limits import this_machine
from assetstore.config.loading import Settings, SettingsError
from assetstore.monitoring import logs

_log = logging.getLogger(__name__)

#: Web servers that start by their own command, because each of their processes must create the application.
_OWN_START = ("gunicorn", "uwsgi")

#: Adapters of Bottle whose libraries are modules of Python, and no web servers.
_OLD_ADAPTERS = ("cgi",)


def begin(folder: Path, adapters: Iterable[str], *, verbose: bool = False) -> Settings:
    """Reads the settings, sets up the log, and logs the effective settings.

    Parameters:
        folder: of the program, with settings.py.
        adapters: the names of web servers that SERVER may have.
        verbose: whether to log all effective settings, as with DEBUG.
    """
    memory.return_freed_memory()
    settings, own = load_settings(folder)
    _check_server(settings.server, adapters)
    if settings.tls_certificate and settings.server != loading.GRANIAN and settings.processes == 1:
        reason = f"TLS_CERTIFICATE is set and SERVER is {settings.server!r}"
        raise SettingsError(f"{reason}; expected SERVER = 'granian' for HTTPS.")
    logs.set_up(settings.log_format, settings.debug)
    announce(settings, own, verbose or settings.debug)
    _log.info("Settings: %s", settings_source(folder))
    if is_installed(folder):
        _log.info("Installed as a package: relative paths are relative to %s", Path.cwd())
    return settings


def _check_server(server: str, adapters: Iterable[str]) -> None:
    """Raises SettingsError if SERVER is unknown, with those that can be used here."""
    if server in _OWN_START:
        raise SettingsError(f"SERVER is {server!r}, which has its own start command; see docs/serving.md.")
    if server == loading.GRANIAN or server in adapters or ":" in server:
        return
    # The name of an adapter is that of its library, except for those of Bottle itself.
    installed = (name for name in (loading.GRANIAN, *adapters) if importlib.util.find_spec(name) is not None)
    usable = sorted({*installed, loading.PASTE} - {*_OWN_START, *_OLD_ADAPTERS, loading.WSGIREF})
    expected = f"{', '.join(usable)}; or, for development, {loading.REALLY_WSGIREF}"
    raise SettingsError(f"SERVER is {server!r}; expected one that is installed here: {expected}.")


def is_installed(folder: Path) -> bool:
    """Says whether the program runs from the package that pip installed: server.py is in `assetstore` only there."""
    return folder == Path(__file__).resolve().parents[1]


def load_settings(folder: Path) -> tuple[Settings, Mapping[str, object]]:
    """Reads the file with settings (`config.settings_file`) and the environment.

    Relative paths are relative to *folder*, or to the working directory if the program was installed as a package.
    Returns the effective settings, and the names and values of the file.
    """
    own = settings_file.read(settings_file.find(folder, is_installed(folder), os.environ))
    unknown_names.check_buckets(own, os.environ)
    start = Path.cwd() if is_installed(folder) else folder
    machine = this_machine()
    return loading.load(own, os.environ, start, machine.cores, machine.memory_bytes), own


def settings_source(folder: Path) -> str:
    """Returns where the settings come from, for people: the file, and the environment variables that have a value."""
    path = settings_file.find(folder, is_installed(folder), os.environ)
    names = sorted(loading.used_variables(os.environ))
    variables = f"the environment variables {', '.join(names)}" if names else ""
    return " and ".join(filter(None, (str(path) if path else "", variables))) or "the defaults"


def announce(settings: Settings, own: Mapping[str, object], verbose: bool) -> None:
    """Logs the version, what matters at the first start, and warnings; if verbose, all effective settings."""
    _log.info("Web Asset Server %s", __version__)
    how = ["All effective settings: start with --verbose, or set DEBUG."]
    for line in announcement.summary(settings) + (announcement.describe(settings) if verbose else how):
        _log.info("  %s", line)
    for warning in announcement.warnings(settings, own, os.environ):
        _log.warning("%s", warning)
    if os.geteuid() == 0:
        _log.warning("The server runs as root. Run it as a user of its own (docs/install.md).")
