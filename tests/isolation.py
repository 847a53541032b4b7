"""Keeps settings of this machine, as exported for a server, away from the tests."""

from collections.abc import MutableMapping

from assetstore.config.loading import PREFIX, SETTINGS

_OTHERS = ("ASSET_SERVER_URL", "ASSET_SERVER_KEY", "SPECIFY_DATABASE_PASSWORD", "SSL_CERT_FILE")
_PREFIXES = (PREFIX, "AWS_", "SOURCE_AWS_", "TARGET_AWS_")


def remove_settings(environ: MutableMapping[str, str]) -> None:
    """Removes all variables that the server or its commands read."""
    names = {name for setting in SETTINGS.values() for name in setting.other_names} | set(SETTINGS) | set(_OTHERS)
    for name in list(environ):
        if name in names or name.startswith(_PREFIXES):
            del environ[name]
