"""What the start says of the settings: all that are in effect, and what the administrator should know."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from assetstore import formats
from assetstore.config.loading import PREFIX, REMOVED, SETTINGS, Settings, is_of_others

#: Keys that stand in examples all over the internet.
EXAMPLE_KEYS = frozenset(
    ("test_attachment_key", "your_asset_server_access_key", "attachment_key", "asset_server_key", "secret", "changeme")
)


def describe(settings: Settings) -> list[str]:
    """Returns the effective settings as lines `NAME = value`, secrets as stars."""
    lines = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name == "key" and value:
            value = ["*****"] * len(value) if len(value) > 1 else "*****"
        elif isinstance(value, frozenset):
            value = sorted(value)
        elif field.name == "trusted_proxies":
            value = [str(network) for network in value]
        lines.append(f"{field.name.upper()} = {str(value) if isinstance(value, Path) else value!r}")
    return lines


def warnings(settings: Settings, own: Mapping[str, object], environ: Mapping[str, str]) -> list[str]:
    """Returns what the administrator should know at every start, a sentence each.

    Parameters:
        settings: the effective settings.
        own, environ: the names and values of settings.py, and the environment.
    """
    found = _of_environment(own, environ)
    if settings.key is None:
        found.append("KEY is None: anybody who reaches this server can upload and delete files.")
    elif EXAMPLE_KEYS.intersection(settings.key):
        found.append("KEY IS A WELL-KNOWN EXAMPLE: anybody can upload and delete files. Choose a key of your own.")
    if settings.require_key_for_get and settings.allow_static_file_access:
        found.append(
            "REQUIRE_KEY_FOR_GET asks for a token at /fileget, but ALLOW_STATIC_FILE_ACCESS gives the same"
            " files at /static/ without one."
        )
    if settings.storage_url and settings.accel_redirect:
        found.append("ACCEL_REDIRECT has no effect with STORAGE_URL: nginx cannot find the files.")
    if settings.storage_redirect_seconds and not settings.storage_url:
        found.append("STORAGE_REDIRECT_SECONDS has no effect without STORAGE_URL.")
    if settings.storage_url and settings.key == ():
        found.append("No KEY is configured: servers that share a bucket need the same one.")
    unknown = settings.can_thumbnail - formats.THUMBNAIL_TYPES
    if unknown:
        found.append(f"CAN_THUMBNAIL names types that get no thumbnails here: {', '.join(sorted(unknown))}.")
    strangers = sorted(name for name in own if name.isupper() and name not in {*SETTINGS, *REMOVED})
    if strangers:
        found.append(f"settings.py has names that mean nothing to this server: {', '.join(strangers)}.")
    return found


def _of_environment(own: Mapping[str, object], environ: Mapping[str, str]) -> list[str]:
    """Warnings of settings that are gone, and of variables that other programs set."""
    gone = [
        f"{name} has no effect any more: {reason}."
        for name, reason in REMOVED.items()
        if own.get(name) is not None or environ.get(name)
    ]
    foreign = [
        f"The environment variable {variable} is {environ[variable]!r}, which another program seems to have set;"
        f" it is ignored. To set {name}, use {PREFIX}{name}."
        for name, setting in SETTINGS.items()
        for variable in (name, *setting.other_names)
        if not environ.get(PREFIX + name) and is_of_others(variable, environ.get(variable) or "off")
    ]
    return gone + foreign
