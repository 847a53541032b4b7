"""Names in settings.py and in the environment that have no effect: misspelt, removed, or of other asset servers."""

import difflib
import types
from collections.abc import Iterator, Mapping

from assetstore.config.loading import PREFIX, SETTINGS, SETTINGS_FILE_VARIABLE, SettingsError, given
from assetstore.config.removed import REMOVED

#: Settings for buckets of another version of the sample server, and what to write instead.
BUCKETS_OF_OTHERS = {
    "COLLECTION_S3_PATHS": 'STORAGE_URL = "s3://bucket", and COLLECTION_DIRS = {"KU Fish": "s3://bucket/fish"}',
    "S3_ENDPOINTS": 'STORAGE_ENDPOINT = {"bucket": "https://s3.museum.org"}',
    "DEFAULT_S3_ENDPOINT": 'STORAGE_ENDPOINT = "https://s3.museum.org"',
    "S3_ADDRESSING_STYLE": 'STORAGE_ENDPOINT = "https://{bucket}.s3.museum.org"; for path, leave {bucket}. out',
}

#: How similar a name must be to that of a setting to be probably meant as such (difflib's ratio).
_SIMILAR = 0.75


def check_buckets(own: Mapping[str, object], environ: Mapping[str, str]) -> None:
    """Raises SettingsError if originals are in buckets that the server would not use, as it has no STORAGE_URL."""
    name = "COLLECTION_S3_PATHS"
    if (own.get(name) or environ.get(name)) and given("STORAGE_URL", own, environ)[1] in (None, "None"):
        instead = BUCKETS_OF_OTHERS[name]
        raise SettingsError(f"{name} is set, which this server does not use; expected {instead} (docs/scaling.md).")


def warnings(own: Mapping[str, object], environ: Mapping[str, str]) -> list[str]:
    """Returns a sentence about each name that has no effect.

    Parameters:
        own, environ: the names and values of settings.py, and the environment.
    """
    found = [
        f"{name} has no effect on this server. Instead, write {instead} (docs/scaling.md)."
        for name, instead in BUCKETS_OF_OTHERS.items()
        if own.get(name) or environ.get(name) or environ.get(PREFIX + name)
    ]
    strangers = sorted(_strangers(own))
    if strangers:
        found.append(f"settings.py has unknown names, which have no effect: {', '.join(strangers)}.")
    variables = (name.removeprefix(PREFIX) for name in environ if name.startswith(PREFIX))
    variables = (name for name in variables if not _is_known(name) and PREFIX + name != SETTINGS_FILE_VARIABLE)
    found += [f"The environment variable {PREFIX}{name} has no effect{_hint(name)}." for name in sorted(variables)]
    return found


def _strangers(own: Mapping[str, object]) -> Iterator[str]:
    """Unknown names of settings.py, with the settings that were probably meant."""
    for name, value in own.items():
        if name.startswith("_") or _is_known(name) or isinstance(value, types.ModuleType) or callable(value):
            continue
        hint = _hint(name)
        if name.isupper() or hint:  # other names are the administrator's own variables
            yield f"{name}{hint}"


def _is_known(name: str) -> bool:
    return name in SETTINGS or name in REMOVED or name in BUCKETS_OF_OTHERS


def _hint(name: str) -> str:
    similar = difflib.get_close_matches(name.upper(), SETTINGS, 1, _SIMILAR)
    return f" (did you mean {similar[0]}?)" if similar else ""
