"""Reads the settings from `settings.py` and the environment.

Each setting has a name, a default and a reader. An environment variable wins over settings.py. An empty variable counts
as unset, because that is how compose files omit one. A value that cannot be used stops the start; the message names
the source, the value and what was expected.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from assetstore import formats, names
from assetstore.config import limits, removed, values
from assetstore.config.limits import Limits, Machine
from assetstore.config.values import Network

#: The default folder of the attachments, relative to the program's folder. Only this one is created if it is missing:
#: any other missing folder may be a disk that is not mounted.
DEFAULT_BASE_DIR = "attachments"

#: The two web servers that this program configures itself.
PASTE, GRANIAN = "paste", "granian"

#: The sources of VISIBILITY: Specify's database, or the table VISIBILITY_FILE.
SPECIFY, FILE = "specify", "file"

#: The web server for development. It serves one request at a time, so it must be asked for explicitly.
WSGIREF, REALLY_WSGIREF = "wsgiref", "wsgiref!"

#: The prefix of deleted and replaced files in a bucket, beside originals and thumbnails.
TRASH_PREFIX = "trash"


class SettingsError(Exception):
    """A setting cannot be used; the message is one line for the administrator."""


@dataclass(frozen=True)
class Settings:
    """The effective settings: `limits`, and a field for each setting in settings.py, in lower case."""

    key: tuple[str, ...] | None
    host: str
    port: int
    base_dir: Path
    public_url: str | None
    server_name: str
    server_port: int
    collection_dirs: Mapping[str, str] | None
    orig_dir: str
    thumb_dir: str
    time_tolerance: int | None
    require_key_for_get: bool
    allow_static_file_access: bool
    visibility: str | None
    visibility_seconds: int
    visibility_file: Path | None
    specify_database: str | None
    specify_database_password_file: Path | None
    location_safe: bool
    status_page: bool
    trusted_proxies: tuple[Network, ...]
    max_upload_bytes: int | None
    reserved_bytes: int
    can_thumbnail: frozenset[str]
    preview_sizes: frozenset[int]
    render_memory: int
    pyramid_bytes: int
    pyramid_upload_bytes: int | None
    viewer: bool
    viewer_megapixels: int | None
    trash_days: int
    trash_bytes: int | None
    verify_days: int
    server: str
    bind_address: str
    processes: int
    threads: int
    worker_memory: int | None
    tls_certificate: Path | None
    tls_key: Path | None
    accel_redirect: str | None
    storage_url: str | None
    storage_endpoint: str | Mapping[str, str] | None
    storage_region: str | Mapping[str, str]
    storage_credentials: Mapping[str, str] | None
    storage_redirect_seconds: int | None
    log_format: str
    metrics_address: tuple[str, int] | None
    debug: bool
    development_port: int
    limits: Limits

    @property
    def scheme(self) -> str:
        """`https` if the server itself encrypts, else `http`."""
        return "http" if self.tls_certificate is None else "https"


#: The region of buckets for which none is set.
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True)
class Setting:
    """How one setting is read.

    Fields:
        default: the value if neither settings.py nor the environment has one.
        read: converts a value from settings.py, or the text of an environment variable, into the effective value;
            raises ValueError with what was expected.
        other_names: further environment variables for this setting.
    """

    default: object
    read: Callable[[object], object]
    other_names: tuple[str, ...] = ()


SETTINGS: dict[str, Setting] = {
    "KEY": Setting("", values.keys, ("ATTACHMENT_KEY",)),
    "HOST": Setting("localhost", values.host_name),
    "PORT": Setting(8080, values.whole_number(0, 65535)),
    "BASE_DIR": Setting(DEFAULT_BASE_DIR, values.path),
    "PUBLIC_URL": Setting(None, values.optional(values.public_url)),
    "SERVER_NAME": Setting(None, values.optional(values.host_name)),
    "SERVER_PORT": Setting(None, values.optional(values.whole_number(1, 65535))),
    "COLLECTION_DIRS": Setting(None, values.optional(values.folders)),
    "ORIG_DIR": Setting("originals", values.folder_name),
    "THUMB_DIR": Setting("thumbnails", values.folder_name),
    "TIME_TOLERANCE": Setting(150, values.optional(values.whole_number(1, 10**9))),
    "REQUIRE_KEY_FOR_GET": Setting(False, values.flag),
    "ALLOW_STATIC_FILE_ACCESS": Setting(True, values.flag),
    "VISIBILITY": Setting(None, values.optional(values.one_of(SPECIFY, FILE))),
    "VISIBILITY_SECONDS": Setting(60, values.whole_number(1, 3600)),
    "VISIBILITY_FILE": Setting(None, values.optional(values.path)),
    "SPECIFY_DATABASE": Setting(None, values.optional(values.database)),
    "SPECIFY_DATABASE_PASSWORD_FILE": Setting(None, values.optional(values.path)),
    "LOCATION_SAFE": Setting(False, values.flag),
    "STATUS_PAGE": Setting(True, values.flag),
    "TRUSTED_PROXIES": Setting((), values.networks),
    "MAX_UPLOAD_BYTES": Setting(None, values.optional(values.whole_number(1, 10**15))),
    "RESERVED_BYTES": Setting(None, values.optional(values.whole_number(0, 10**15))),
    "CAN_THUMBNAIL": Setting(formats.THUMBNAIL_TYPES, values.media_types),
    "PREVIEW_SIZES": Setting([], values.whole_numbers(8, 1, Limits.largest_thumbnail)),
    "RENDER_MEMORY": Setting(1024, values.whole_number(64, 1_000_000)),
    "PYRAMID_BYTES": Setting(None, values.optional(values.whole_number(0, 10**18))),
    "PYRAMID_UPLOAD_BYTES": Setting(50_000_000, values.optional(values.whole_number(1, 10**15))),
    "VIEWER": Setting(True, values.flag),
    "VIEWER_MEGAPIXELS": Setting(50, values.optional(values.whole_number(1, 100_000))),
    "TRASH_DAYS": Setting(30, values.whole_number(0, 36_500)),
    "TRASH_BYTES": Setting(None, values.optional(values.whole_number(0, 10**18))),
    "VERIFY_DAYS": Setting(0, values.whole_number(0, 3650)),
    "SERVER": Setting("paste", values.text),
    "BIND_ADDRESS": Setting("0.0.0.0", values.host_name),  # noqa: S104 - as the sample server did
    "PROCESSES": Setting(1, values.whole_number(1, 256)),
    "THREADS": Setting(256, values.whole_number(1, 10_000)),
    "WORKER_MEMORY": Setting(None, values.optional(values.whole_number(64, 1_000_000))),
    "TLS_CERTIFICATE": Setting(None, values.optional(values.path)),
    "TLS_KEY": Setting(None, values.optional(values.path)),
    "ACCEL_REDIRECT": Setting(None, values.optional(values.url_path)),
    "STORAGE_URL": Setting(None, values.optional(values.bucket_url)),
    "STORAGE_ENDPOINT": Setting(None, values.optional(values.endpoints), ("AWS_ENDPOINT_URL",)),
    "STORAGE_REGION": Setting(DEFAULT_REGION, values.regions, ("AWS_REGION",)),
    "STORAGE_CREDENTIALS": Setting(None, values.optional(values.credential_prefixes)),
    "STORAGE_REDIRECT_SECONDS": Setting(None, values.optional(values.whole_number(1, 7 * 24 * 3600))),
    "LOG_FORMAT": Setting("plain", values.one_of("plain", "json")),
    "METRICS_ADDRESS": Setting(None, values.optional(values.address)),
    "DEBUG": Setting(False, values.flag, ("DEBUG_MODE",)),
    "DEVELOPMENT_PORT": Setting(None, values.optional(values.whole_number(0, 65535))),
}

#: The prefix of environment variables that cannot be mistaken for another program's.
PREFIX = "ASSETSTORE_"

#: The environment variable that names the file to read instead of settings.py.
SETTINGS_FILE_VARIABLE = f"{PREFIX}SETTINGS"

#: An environment variable only: the key that is being replaced, so that both are valid for a while.
PREVIOUS_KEY_VARIABLE = "ATTACHMENT_KEY_PREVIOUS"

#: The memory of a machine of which nothing is known: enough for anything.
_MUCH_MEMORY = 1 << 60


def load(
    own: Mapping[str, object], environ: Mapping[str, str], folder: Path, cores: int, memory_bytes: int = _MUCH_MEMORY
) -> Settings:
    """Returns the effective settings.

    Parameters:
        own: the names and values of settings.py; names that are not settings are ignored.
        environ: the environment.
        folder: the folder of the program, to which relative paths are relative.
        cores, memory_bytes: of the machine (`Machine`); all processes together render within both.

    Raises:
        SettingsError: a value cannot be used.
    """
    read = {name: _read(name, setting, own, environ) for name, setting in SETTINGS.items()}
    previous = environ.get(PREVIOUS_KEY_VARIABLE)
    if previous and isinstance(read["KEY"], tuple):
        if not read["KEY"]:
            raise SettingsError(f"{PREVIOUS_KEY_VARIABLE} is set, but no new key; expected KEY or ATTACHMENT_KEY, too.")
        read["KEY"] = (*read["KEY"], previous)
    for name, origin in (("SERVER_NAME", "HOST"), ("SERVER_PORT", "PORT"), ("DEVELOPMENT_PORT", "PORT")):
        if read[name] is None:
            read[name] = read[origin]
    _choose_server(read, own, environ)
    old = "STORAGE_ADDRESSING"
    addressing = environ.get(PREFIX + old) or environ.get(old) or own.get(old)
    read["STORAGE_ENDPOINT"] = removed.addressed(read["STORAGE_ENDPOINT"], addressing, read["STORAGE_REGION"])
    _check_together(read)
    read["BASE_DIR"] = base = folder / str(read["BASE_DIR"])
    if read["RESERVED_BYTES"] is None:
        read["RESERVED_BYTES"] = limits.default_reserve(base)
    if read["PYRAMID_BYTES"] is None:
        read["PYRAMID_BYTES"] = limits.default_pyramid_bytes(base)
    for name in ("TLS_CERTIFICATE", "TLS_KEY", "VISIBILITY_FILE", "SPECIFY_DATABASE_PASSWORD_FILE"):
        read[name] = folder / str(read[name]) if read[name] else None
    numbers = (int(str(read[name])) for name in ("PROCESSES", "THREADS", "RENDER_MEMORY"))
    read["LIMITS"] = limits.derive(Machine(cores, memory_bytes), base, *numbers)
    return Settings(**{name.lower(): value for name, value in read.items()})  # type: ignore[arg-type]  # read as its kind


def _choose_server(read: dict[str, object], own: Mapping[str, object], environ: Mapping[str, str]) -> None:
    """Applies the rules for SERVER = "wsgiref", and for its port: settings.py of the sample server has both."""
    if read["SERVER"] == REALLY_WSGIREF:
        read["SERVER"] = WSGIREF
    elif is_wsgiref_of_sample(own, environ):
        read["SERVER"] = PASTE
    # The sample server's file says DEVELOPMENT_PORT = PORT. Then PORT in the environment is meant for both.
    in_file = own.get("DEVELOPMENT_PORT"), own.get("PORT")
    if in_file[0] == in_file[1] and given("DEVELOPMENT_PORT", own, environ)[1] == in_file[0]:
        read["DEVELOPMENT_PORT"] = read["PORT"]


def is_wsgiref_of_sample(own: Mapping[str, object], environ: Mapping[str, str]) -> bool:
    """Returns whether settings.py has SERVER = "wsgiref", as that of the sample server; Paste is then used."""
    return own.get("SERVER") == WSGIREF and not _variables("SERVER", SETTINGS["SERVER"], environ)


def _check_together(read: Mapping[str, object]) -> None:
    """Raises SettingsError if settings that are valid by themselves contradict each other."""
    server, has_tls = read["SERVER"], read["TLS_CERTIFICATE"] is not None
    if server not in (PASTE, GRANIAN) and read["PROCESSES"] != 1:
        raise SettingsError(f"PROCESSES is {read['PROCESSES']} and SERVER {server!r}; expected SERVER = 'granian'.")
    if has_tls != (read["TLS_KEY"] is not None):
        raise SettingsError("Only one of TLS_CERTIFICATE and TLS_KEY is set; expected both or neither.")
    if read["THUMB_DIR"] == read["ORIG_DIR"]:
        raise SettingsError(f"THUMB_DIR and ORIG_DIR are both {read['ORIG_DIR']!r}; expected two different folders.")
    _check_visibility(read)
    _check_buckets(read)


def _check_visibility(read: Mapping[str, object]) -> None:
    source = read["VISIBILITY"]
    if source is None:
        if read["LOCATION_SAFE"]:
            raise SettingsError("LOCATION_SAFE is True, but VISIBILITY is None; expected both.")
        return
    needed = "SPECIFY_DATABASE" if source == SPECIFY else "VISIBILITY_FILE"
    if read[needed] is None:
        raise SettingsError(f"VISIBILITY is {source!r}, but {needed} is not set; expected both.")
    if read["KEY"] is None:
        raise SettingsError("VISIBILITY is set, but KEY is None, so every token would be valid; expected a key.")


def _check_buckets(read: Mapping[str, object]) -> None:
    folders = read["COLLECTION_DIRS"]
    if read["STORAGE_URL"] is None:
        buckets = (
            [folder for folder in folders.values() if names.is_bucket_url(folder)] if isinstance(folders, dict) else []
        )
        if buckets:
            raise SettingsError(f"COLLECTION_DIRS has {buckets[0]!r}, but STORAGE_URL is not set; expected both.")
    elif TRASH_PREFIX in (read["ORIG_DIR"], read["THUMB_DIR"]):
        raise SettingsError(
            f"ORIG_DIR or THUMB_DIR is {TRASH_PREFIX!r}, where deleted files go in a bucket; expected another name."
        )


def _variables(name: str, setting: Setting, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment variables that set a setting; ASSETSTORE_… wins, because other names may collide."""
    if environ.get(PREFIX + name):
        return {PREFIX + name: environ[PREFIX + name]}
    set_ones = {variable: environ[variable] for variable in (name, *setting.other_names) if environ.get(variable)}
    return {variable: value for variable, value in set_ones.items() if not is_of_others(variable, value)}


def used_variables(environ: Mapping[str, str]) -> set[str]:
    """Returns the names of all environment variables that set a setting."""
    return {variable for name, setting in SETTINGS.items() for variable in _variables(name, setting, environ)}


def is_of_others(variable: str, value: str) -> bool:
    """Returns whether another program, such as Kubernetes or a build tool, set a variable without our prefix."""
    return value.startswith("tcp://") or (variable == "DEBUG" and not values.is_flag(value))


def given(name: str, own: Mapping[str, object], environ: Mapping[str, str]) -> tuple[str, object]:
    """Returns where the value of a setting comes from, for messages, and the value as it was written."""
    setting = SETTINGS[name]
    source, value = f"{name} in settings.py", own.get(name, setting.default)
    for variable, variable_value in _variables(name, setting, environ).items():
        source, value = f"the environment variable {variable}", variable_value
    return source, value


def _read(name: str, setting: Setting, own: Mapping[str, object], environ: Mapping[str, str]) -> object:
    variables = _variables(name, setting, environ)
    if len(set(variables.values())) > 1:
        raise SettingsError(f"The environment variables {' and '.join(variables)} contradict each other; set one.")
    source, value = given(name, own, environ)
    try:
        return setting.read(value)
    except ValueError as error:
        # Some people write keys into the address of a bucket.
        is_secret = name in ("KEY", "SPECIFY_DATABASE") or (name.startswith("STORAGE_") and "@" in str(value))
        shown = "*****" if is_secret else repr(value)
        raise SettingsError(f"{source[0].upper()}{source[1:]} is {shown}; expected {error}.") from None
