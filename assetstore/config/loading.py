"""From `settings.py` and the environment to one checked, immutable set of settings.

Every setting has a name, a default and a reader. An environment variable of that name wins over
settings.py; an empty variable counts as unset, because that is how compose files leave one out.
A value that cannot be used stops the start with the variable, the value and what was expected.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from assetstore import formats, names
from assetstore.config import values
from assetstore.config.values import Network

#: The folder of the attachments if nothing else is said, below the program's own folder. It alone
#: is made when missing: any other missing folder may be a disk that is not mounted.
DEFAULT_BASE_DIR = "attachments"

#: The two web servers that this program sets up itself.
PASTE, GRANIAN = "paste", "granian"

#: Beside originals and thumbnails in a bucket: what was deleted or replaced.
TRASH_PREFIX = "trash"


class SettingsError(Exception):
    """A setting that cannot be used; the message is one line for the administrator."""


@dataclass(frozen=True)
class Settings:
    """The effective settings; each field is the setting of that name in capitals (see settings.py)."""

    debug: bool
    key: tuple[str, ...] | None
    time_tolerance: int | None
    require_key_for_get: bool
    allow_static_file_access: bool
    status_page: bool
    host: str
    port: int
    server_name: str
    server_port: int
    development_port: int
    bind_address: str
    public_url: str | None
    collection_dirs: Mapping[str, str] | None
    base_dir: Path
    thumb_dir: str
    orig_dir: str
    storage_url: str | None
    storage_endpoint: str | Mapping[str, str] | None
    storage_region: str
    storage_addressing: str | None
    storage_spool_bytes: int
    storage_redirect_seconds: int | None
    can_thumbnail: frozenset[str]
    max_thumbnail_size: int
    kept_thumbnail_sizes: int
    max_upload_bytes: int | None
    reserved_bytes: int
    unverified_upload_bytes: int
    trash_days: int
    trash_bytes: int | None
    verify_days: int
    accel_redirect: str | None
    log_format: str
    metrics_address: tuple[str, int] | None
    trusted_proxies: tuple[Network, ...]
    server: str
    processes: int
    threads: int
    socket_timeout: int
    worker_memory: int | None
    tls_certificate: Path | None
    tls_key: Path | None
    render_workers: int
    render_queue: int
    render_seconds: int
    render_memory: int

    @property
    def scheme(self) -> str:
        """`https` if the server itself encrypts, else `http`."""
        return "http" if self.tls_certificate is None else "https"


@dataclass(frozen=True)
class Setting:
    """How one setting is read.

    Fields:
        default: the value when neither settings.py nor the environment has one.
        read: turns a value from settings.py or the text of a variable into the effective value;
            raises ValueError with what was expected.
        other_names: further environment variables for it.
    """

    default: object
    read: Callable[[object], object]
    other_names: tuple[str, ...] = ()


SETTINGS: dict[str, Setting] = {
    "DEBUG": Setting(False, values.flag, ("DEBUG_MODE",)),
    "KEY": Setting("", values.keys, ("ATTACHMENT_KEY",)),
    "TIME_TOLERANCE": Setting(150, values.optional(values.whole_number(1, 10**9))),
    "REQUIRE_KEY_FOR_GET": Setting(False, values.flag),
    "ALLOW_STATIC_FILE_ACCESS": Setting(True, values.flag),
    "STATUS_PAGE": Setting(True, values.flag),
    "HOST": Setting("localhost", values.host_name),
    "PORT": Setting(8080, values.whole_number(0, 65535)),
    "SERVER_NAME": Setting(None, values.optional(values.host_name)),
    "SERVER_PORT": Setting(None, values.optional(values.whole_number(1, 65535))),
    "DEVELOPMENT_PORT": Setting(None, values.optional(values.whole_number(0, 65535))),
    "BIND_ADDRESS": Setting("0.0.0.0", values.host_name),  # noqa: S104 - as the sample server did
    "PUBLIC_URL": Setting(None, values.optional(values.base_url)),
    "COLLECTION_DIRS": Setting(None, values.optional(values.folders)),
    "BASE_DIR": Setting(DEFAULT_BASE_DIR, values.path),
    "THUMB_DIR": Setting("thumbnails", values.folder_name),
    "ORIG_DIR": Setting("originals", values.folder_name),
    "STORAGE_URL": Setting(None, values.optional(values.bucket_url)),
    "STORAGE_ENDPOINT": Setting(None, values.optional(values.endpoints), ("AWS_ENDPOINT_URL",)),
    "STORAGE_REGION": Setting("us-east-1", values.text, ("AWS_REGION",)),
    "STORAGE_ADDRESSING": Setting(None, values.optional(values.one_of("path", "virtual"))),
    "STORAGE_SPOOL_BYTES": Setting(10_000_000_000, values.whole_number(10**6, 10**15)),
    "STORAGE_REDIRECT_SECONDS": Setting(None, values.optional(values.whole_number(1, 7 * 24 * 3600))),
    "CAN_THUMBNAIL": Setting(formats.THUMBNAIL_TYPES, values.media_types),
    "MAX_THUMBNAIL_SIZE": Setting(4000, values.whole_number(1, 30_000)),
    "KEPT_THUMBNAIL_SIZES": Setting(32, values.whole_number(0, 10_000)),
    "MAX_UPLOAD_BYTES": Setting(None, values.optional(values.whole_number(1, 10**15))),
    "RESERVED_BYTES": Setting(None, values.optional(values.whole_number(0, 10**15))),
    "UNVERIFIED_UPLOAD_BYTES": Setting(20_000_000_000, values.whole_number(1, 10**15)),
    "TRASH_DAYS": Setting(30, values.whole_number(0, 36_500)),
    "TRASH_BYTES": Setting(None, values.optional(values.whole_number(0, 10**18))),
    "VERIFY_DAYS": Setting(0, values.whole_number(0, 3650)),
    "ACCEL_REDIRECT": Setting(None, values.optional(values.url_path)),
    "LOG_FORMAT": Setting("plain", values.one_of("plain", "json")),
    "METRICS_ADDRESS": Setting(None, values.optional(values.address)),
    "TRUSTED_PROXIES": Setting((), values.networks),
    "SERVER": Setting("paste", values.text),
    "PROCESSES": Setting(1, values.whole_number(1, 256)),
    "THREADS": Setting(256, values.whole_number(1, 10_000)),
    "SOCKET_TIMEOUT": Setting(60, values.whole_number(1, 3600)),
    "WORKER_MEMORY": Setting(None, values.optional(values.whole_number(64, 1_000_000))),
    "TLS_CERTIFICATE": Setting(None, values.optional(values.path)),
    "TLS_KEY": Setting(None, values.optional(values.path)),
    "RENDER_WORKERS": Setting(None, values.optional(values.whole_number(1, 1000))),
    "RENDER_QUEUE": Setting(128, values.whole_number(1, 100_000)),
    "RENDER_SECONDS": Setting(60, values.whole_number(1, 3600)),
    "RENDER_MEMORY": Setting(1024, values.whole_number(64, 1_000_000)),
}

#: Settings that are gone, and what to know about that. They have no effect; the start warns of them.
REMOVED = {"GATEKEEPER_ADDRESS": "the server checks private thumbnails itself"}

#: The share of the disk that stays free if RESERVED_BYTES is not set, and the most that this may be, in bytes.
_RESERVED_SHARE, _MOST_RESERVED = 0.01, 5_000_000_000

#: In front of a setting's name: its environment variable that cannot be mistaken for another program's.
PREFIX = "ASSETSTORE_"

#: Only from the environment: the key that is being replaced, so that both are valid for a while.
PREVIOUS_KEY_VARIABLE = "ATTACHMENT_KEY_PREVIOUS"


def load(own: Mapping[str, object], environ: Mapping[str, str], folder: Path, cores: int) -> Settings:
    """Returns the effective settings.

    Parameters:
        own: the names and values of settings.py; other names than settings are ignored.
        environ: the environment.
        folder: what a relative BASE_DIR is relative to.
        cores: how many processors there are, for the number of render workers of all processes together.

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
    if read["RENDER_WORKERS"] is None:
        read["RENDER_WORKERS"] = max(1, cores // int(str(read["PROCESSES"])))
    _check_together(read)
    read["BASE_DIR"] = base = folder / str(read["BASE_DIR"])
    if read["RESERVED_BYTES"] is None:
        read["RESERVED_BYTES"] = _default_reserve(base)
    for name in ("TLS_CERTIFICATE", "TLS_KEY"):
        read[name] = folder / str(read[name]) if read[name] else None
    return Settings(**{name.lower(): value for name, value in read.items()})  # type: ignore[arg-type]  # read as its kind


def _check_together(read: Mapping[str, object]) -> None:
    """Raises SettingsError for values that are right each, but not with each other."""
    server, has_tls = read["SERVER"], read["TLS_CERTIFICATE"] is not None
    queue, threads = int(str(read["RENDER_QUEUE"])), int(str(read["THREADS"]))
    if server not in (PASTE, GRANIAN) and read["PROCESSES"] != 1:
        raise SettingsError(f"PROCESSES is {read['PROCESSES']} and SERVER {server!r}; expected SERVER = 'granian'.")
    if has_tls != (read["TLS_KEY"] is not None):
        raise SettingsError("TLS_CERTIFICATE and TLS_KEY belong together; expected both or none.")
    if read["THUMB_DIR"] == read["ORIG_DIR"]:
        raise SettingsError(f"THUMB_DIR and ORIG_DIR are both {read['ORIG_DIR']!r}; expected two different folders.")
    _check_buckets(read)
    if server in (PASTE, GRANIAN) and queue >= threads:
        raise SettingsError(
            f"RENDER_QUEUE is {queue} and THREADS {threads};"
            " expected more THREADS, or waiting for thumbnails stops everything else."
        )


def _default_reserve(base: Path) -> int:
    existing = next(path for path in (base, *base.parents) if path.exists())
    return min(_MOST_RESERVED, int(shutil.disk_usage(existing).total * _RESERVED_SHARE))


def _check_buckets(read: Mapping[str, object]) -> None:
    folders = read["COLLECTION_DIRS"]
    if read["STORAGE_URL"] is None:
        buckets = (
            [folder for folder in folders.values() if names.is_bucket_url(folder)] if isinstance(folders, dict) else []
        )
        if buckets:
            raise SettingsError(f"COLLECTION_DIRS has {buckets[0]!r}, but STORAGE_URL is not set; expected both.")
    elif TRASH_PREFIX in (read["ORIG_DIR"], read["THUMB_DIR"]):
        raise SettingsError(f"ORIG_DIR or THUMB_DIR is {TRASH_PREFIX!r}; in a bucket that is where deleted files go.")


def _variables(name: str, setting: Setting, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment variables that set a setting; ASSETSTORE_… wins, because other names may collide."""
    if environ.get(PREFIX + name):
        return {PREFIX + name: environ[PREFIX + name]}
    set_ones = {variable: environ[variable] for variable in (name, *setting.other_names) if environ.get(variable)}
    return {variable: value for variable, value in set_ones.items() if not is_of_others(variable, value)}


def is_of_others(variable: str, value: str) -> bool:
    """Says whether a variable without our prefix was set by something else: Kubernetes, or a build tool."""
    return value.startswith("tcp://") or (variable == "DEBUG" and not values.is_flag(value))


def _read(name: str, setting: Setting, own: Mapping[str, object], environ: Mapping[str, str]) -> object:
    variables = _variables(name, setting, environ)
    if len(set(variables.values())) > 1:
        raise SettingsError(f"The environment variables {' and '.join(variables)} contradict each other; set one.")
    source, value = f"{name} in settings.py", own.get(name, setting.default)
    for variable, variable_value in variables.items():
        source, value = f"the environment variable {variable}", variable_value
    try:
        return setting.read(value)
    except ValueError as error:
        # Some write keys into the address of a bucket.
        is_secret = name == "KEY" or (name.startswith("STORAGE_") and "@" in str(value))
        shown = "*****" if is_secret else repr(value)
        raise SettingsError(f"{source} is {shown}; expected {error}.") from None
