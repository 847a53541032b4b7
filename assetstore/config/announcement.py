"""What the log says about the settings at the start: which are in effect, and what the administrator should know."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from assetstore import formats
from assetstore.config import key_checks, public_urls, unknown_names
from assetstore.config.loading import PREFIX, SETTINGS, WSGIREF, Settings, given, is_of_others, is_wsgiref_of_sample
from assetstore.config.removed import REMOVED


def describe(settings: Settings) -> list[str]:
    """Returns the effective settings as lines `NAME = value`, with asterisks for secrets, and a line of the limits."""
    lines = []
    for name in SETTINGS:
        value = getattr(settings, name.lower())
        if name == "KEY" and value:
            value = ["*****"] * len(value) if len(value) > 1 else "*****"
        elif isinstance(value, frozenset):
            value = sorted(value)
        elif name == "TRUSTED_PROXIES":
            value = [str(network) for network in value]
        lines.append(f"{name} = {str(value) if isinstance(value, Path) else value!r}")
    limits = (f"{field.name} = {getattr(settings.limits, field.name)}" for field in fields(settings.limits))
    return [*lines, f"Limits of each process: {', '.join(limits)}"]


def summary(settings: Settings) -> list[str]:
    """Returns the lines that matter at the first start: the address to open, and where files go."""
    store = settings.storage_url or settings.base_dir
    return [f"Page to open: {public_urls.base_url(settings, settings.scheme)}/", f"Attachments: {store}"]


def warnings(settings: Settings, own: Mapping[str, object], environ: Mapping[str, str]) -> list[str]:
    """Returns what the administrator should know at every start, in one or two sentences each.

    Parameters:
        settings: the effective settings.
        own, environ: the names and values of settings.py, and the environment.
    """
    found = _removed(own, environ) + _of_other_programs(environ) + _page_in_public_url(settings, own, environ)
    found += _inner_folders(settings)
    if settings.key is None:
        found.append("KEY is None: anyone who can reach this server can upload and delete files.")
    for problem in filter(None, key_checks.problems(settings.key or ())):
        open_key = "KEY IS A WELL-KNOWN EXAMPLE: anyone can upload and delete files. Choose your own key."
        found.append(open_key if problem.is_open else f"KEY: {problem.found} {problem.meaning}")
    found += _web_server(settings, own, environ) + _blanks(settings)
    if settings.visibility is not None and settings.require_key_for_get:
        found.append("VISIBILITY has no effect with REQUIRE_KEY_FOR_GET: public files also require a token.")
    elif settings.require_key_for_get and settings.allow_static_file_access:
        found.append(
            "REQUIRE_KEY_FOR_GET requires a token at /fileget, but ALLOW_STATIC_FILE_ACCESS serves the same"
            " files at /static/ without one."
        )
    if settings.storage_url and settings.accel_redirect:
        found.append("ACCEL_REDIRECT has no effect with STORAGE_URL: nginx cannot read the bucket.")
    if settings.storage_redirect_seconds and not settings.storage_url:
        found.append("STORAGE_REDIRECT_SECONDS has no effect without STORAGE_URL.")
    if settings.storage_url and settings.key == ():
        found.append("KEY is not set: servers that share a bucket need the same key.")
    unknown = settings.can_thumbnail - formats.THUMBNAIL_TYPES
    if unknown:
        found.append(
            f"CAN_THUMBNAIL has types for which this server makes no thumbnails: {', '.join(sorted(unknown))}."
        )
    found += unknown_names.warnings(own, environ)
    return found


def _removed(own: Mapping[str, object], environ: Mapping[str, str]) -> list[str]:
    """Warnings of settings that were removed but are still set."""
    return [
        f"The setting {name} was removed: {now}."
        for name, now in REMOVED.items()
        if own.get(name) is not None or environ.get(name) or environ.get(PREFIX + name)
    ]


def _of_other_programs(environ: Mapping[str, str]) -> list[str]:
    """Warnings of environment variables that another program seems to have set."""
    return [
        f"The environment variable {variable} is {environ[variable]!r}, which another program seems to have set;"
        f" it is ignored. To set {name}, use {PREFIX}{name}."
        for name, setting in SETTINGS.items()
        for variable in (name, *setting.other_names)
        if not environ.get(PREFIX + name) and is_of_others(variable, environ.get(variable) or "off")
    ]


def _page_in_public_url(settings: Settings, own: Mapping[str, object], environ: Mapping[str, str]) -> list[str]:
    """A warning if PUBLIC_URL ends with a page of the server, which is left out."""
    source, value = given("PUBLIC_URL", own, environ)
    if settings.public_url is None or settings.public_url == str(value).strip().rstrip("/"):
        return []
    return [
        f"PUBLIC_URL is the address of a page ({source} is {str(value).strip()!r}). The address of the server is used:"
        f" {settings.public_url}. Clients add the names of pages themselves."
    ]


def _inner_folders(settings: Settings) -> list[str]:
    """Warnings of folders that are probably one level too deep: the server would not see the files in them."""
    inner = {settings.orig_dir, settings.thumb_dir}
    folders = {"BASE_DIR": [str(settings.base_dir)], "COLLECTION_DIRS": (settings.collection_dirs or {}).values()}
    return [
        f"{name} has {folder!r}, which ends with ORIG_DIR or THUMB_DIR; the server adds these to it. Leave them out,"
        " unless the files are one level deeper."
        for name, paths in folders.items()
        for folder in sorted(paths)
        if "/" in folder and folder.rsplit("/", 1)[1] in inner
    ]


def _web_server(settings: Settings, own: Mapping[str, object], environ: Mapping[str, str]) -> list[str]:
    """A warning about wsgiref, which serves one request at a time."""
    slow = "it serves one request at a time, so one slow client blocks all others"
    if is_wsgiref_of_sample(own, environ):
        return [f'SERVER is "wsgiref" in settings.py. Paste is used instead, because {slow}. Remove the line.']
    if settings.server == WSGIREF:
        return [f"SERVER is wsgiref, for development only: {slow}."]
    return []


def _blanks(settings: Settings) -> list[str]:
    """Warnings of collection names that Specify cannot send, because it removes blanks at their ends."""
    return [
        f"COLLECTION_DIRS has {name!r}, with a blank at the beginning or end. Specify probably sends {name.strip()!r}."
        for name in settings.collection_dirs or {}
        if name != name.strip()
    ]
