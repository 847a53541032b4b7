"""The two ends of a migration: SOURCE and TARGET on the command line, opened as stores."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from assetstore import names
from assetstore.config import values
from assetstore.config.credentials import credentials
from assetstore.config.loading import Settings, SettingsError
from assetstore.storage.disk.store import disk_store
from assetstore.storage.protocols import Store


@dataclass(frozen=True)
class Address:
    """The location of one end.

    Fields:
        side: `source` or `target`.
        text: a folder, or `s3://bucket/prefix`.
        endpoint, region: of the S3 service, if different from the settings.
    """

    side: str
    text: str
    endpoint: str | None = None
    region: str | None = None

    @property
    def is_bucket(self) -> bool:
        """Whether it is object storage."""
        return names.is_bucket_url(self.text)

    def plain(self, settings: Settings) -> str:
        """Returns the location in a canonical form, which is different for different stores. Raises SettingsError."""
        if self.is_bucket:
            return f"{self._bucket_url()} at {self._effective(settings).storage_endpoint or 'Amazon'}"
        return str(Path(self.text).resolve())

    def open(self, settings: Settings, collection_dirs: Sequence[str], environ: Mapping[str, str]) -> "End":
        """Opens the store, without sending requests. Raises SettingsError.

        Parameters:
            settings: of the program, for everything that the address does not specify.
            collection_dirs: the collection folders at this end.
            environ: the environment, which may have credentials for this end.
        """
        buckets = [collection_dir for collection_dir in collection_dirs if names.is_bucket_url(collection_dir)]
        if not self.is_bucket:
            folder = Path(self.text).resolve()
            if buckets:
                raise SettingsError(f"The {self.side} is a folder, but a collection is in {buckets[0]}; use --folder.")
            if not folder.is_dir():
                raise SettingsError(f"There is no folder {folder}. Mount its disk, or create it if it is new.")
            reserve = settings.reserved_bytes
            store = disk_store(folder, settings.orig_dir, settings.thumb_dir, collection_dirs, reserve)
            return End(store, lambda collection_dir: (folder / collection_dir / settings.orig_dir).is_dir())
        try:
            from assetstore.app.object_storage import open_storage  # noqa: PLC0415 - large
        except ImportError as error:
            reason = f"Object storage requires the library obstore, which is not installed: {error}"
            raise SettingsError(reason) from error
        own = credentials(environ, f"{self.side.upper()}_")
        return End(open_storage(self._effective(settings), collection_dirs, environ, own))

    def _effective(self, settings: Settings) -> Settings:
        own = {"endpoint": self.endpoint, "region": self.region}
        given = {f"storage_{name}": value for name, value in own.items() if value is not None}
        return dataclasses.replace(settings, storage_url=self._bucket_url(), **given)  # type: ignore[arg-type]  # texts

    def _bucket_url(self) -> str:
        try:
            return values.bucket_url(self.text)
        except ValueError as error:
            raise SettingsError(f"The {self.side} is not the address of a bucket; expected {error}.") from None


@dataclass(frozen=True)
class End:
    """An open end.

    Fields:
        store: the store.
        has_folder: on a disk, whether a collection folder has a folder of originals; None for a bucket.
    """

    store: Store
    has_folder: Callable[[str], bool] | None = None

    @property
    def is_disk(self) -> bool:
        """Whether it is on a disk, where files can be read twice at little cost."""
        return self.has_folder is not None

    def is_new(self, collection_dir: str) -> bool:
        """Whether a collection folder does not exist yet, so that it has no originals."""
        return self.has_folder is not None and not self.has_folder(collection_dir)
