"""Opens the store in object storage by the settings, without calling the service yet."""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from assetstore.config.credentials import KEY_ID, SECRET, Credentials, credentials
from assetstore.config.loading import DEFAULT_REGION, TRASH_PREFIX, Settings, SettingsError
from assetstore.config.values import BUCKET_IN_HOST_NAME
from assetstore.storage.protocols import Store
from assetstore.storage.s3.client import Bucket
from assetstore.storage.s3.layout import FolderNames, Layout
from assetstore.storage.s3.library import Service
from assetstore.storage.s3.originals import S3OriginalStorage
from assetstore.storage.s3.space import S3Space
from assetstore.storage.s3.spool import Spool
from assetstore.storage.s3.trash import S3TrashStorage

if TYPE_CHECKING:
    from obstore.store import S3Credential

#: The share of all threads that may wait for a service that does not respond.
_SHARE_THAT_WAITS = 0.6


def open_storage(
    settings: Settings, collection_dirs: Sequence[str], environ: Mapping[str, str], own: Credentials | None = None
) -> Store:
    """Returns the store.

    Parameters:
        settings: with a `storage_url`.
        collection_dirs: the folders of all collections.
        environ: the environment, with the access keys that STORAGE_CREDENTIALS refers to.
        own: the access key for all buckets; None to use those of the settings and the environment.

    Raises SettingsError: the environment lacks an access key.
    """
    keys = {bucket: _key(bucket, prefix, environ) for bucket, prefix in (settings.storage_credentials or {}).items()}

    def new_bucket(name: str) -> Bucket:
        endpoint = settings.storage_endpoint
        if endpoint is not None and not isinstance(endpoint, str):
            endpoint = endpoint.get(name)
        # Amazon has the bucket's name in the host name; elsewhere, the endpoint says so.
        is_virtual = endpoint is None or BUCKET_IN_HOST_NAME in endpoint
        endpoint = endpoint and endpoint.replace(BUCKET_IN_HOST_NAME, f"{name}.")
        most_waiting = max(1, int(settings.threads * _SHARE_THAT_WAITS))
        region = settings.storage_region
        if not isinstance(region, str):
            region = region.get(name, DEFAULT_REGION)
        key = own or keys.get(name)
        return Bucket(
            name, Service(endpoint, region, is_virtual, most_waiting, functools.partial(_given, key) if key else None)
        )

    names = FolderNames(settings.orig_dir, settings.thumb_dir, TRASH_PREFIX)
    layout = Layout(settings.storage_url or "", collection_dirs, names, new_bucket)
    spool = Spool(settings.base_dir, settings.limits.spool_bytes)
    return Store(
        S3OriginalStorage(layout, settings.base_dir, spool), S3TrashStorage(layout, spool), S3Space(layout, spool)
    )


def _key(bucket: str, prefix: str, environ: Mapping[str, str]) -> Credentials:
    key = credentials(environ, f"{prefix}_")
    if key is None:
        variables = f"{prefix}_{KEY_ID} and {prefix}_{SECRET}"
        raise SettingsError(f"STORAGE_CREDENTIALS has {prefix!r} for the bucket {bucket}; expected {variables}, too.")
    return key


def _given(key: Credentials) -> "S3Credential":
    return {"access_key_id": key.key_id, "secret_access_key": key.secret, "token": key.token, "expires_at": None}
