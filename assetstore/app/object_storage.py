"""Opens the store in object storage by the settings, without calling the service yet."""

from collections.abc import Mapping, Sequence

from assetstore.config.loading import TRASH_PREFIX, Settings
from assetstore.config.values import BUCKET_IN_HOST_NAME
from assetstore.storage.protocols import Store
from assetstore.storage.s3.client import Bucket, Service
from assetstore.storage.s3.layout import FolderNames, Layout
from assetstore.storage.s3.originals import S3OriginalStorage
from assetstore.storage.s3.space import S3Space
from assetstore.storage.s3.spool import Spool
from assetstore.storage.s3.trash import S3TrashStorage

#: The share of all threads that may wait for a service that does not respond.
_SHARE_THAT_WAITS = 0.6


def open_storage(
    settings: Settings, collection_dirs: Sequence[str], credentials: Mapping[str, str] | None = None
) -> Store:
    """Returns the store.

    Parameters:
        settings: with a `storage_url`.
        collection_dirs: the folders of all collections.
        credentials: as for `Service`; None to use those of the environment.
    """

    def new_bucket(name: str) -> Bucket:
        endpoint = settings.storage_endpoint
        if endpoint is not None and not isinstance(endpoint, str):
            endpoint = endpoint.get(name)
        # Amazon has the bucket's name in the host name; elsewhere, the endpoint says so.
        is_virtual = endpoint is None or BUCKET_IN_HOST_NAME in endpoint
        endpoint = endpoint and endpoint.replace(BUCKET_IN_HOST_NAME, f"{name}.")
        most_waiting = max(1, int(settings.threads * _SHARE_THAT_WAITS))
        return Bucket(name, Service(endpoint, settings.storage_region, is_virtual, most_waiting, credentials or {}))

    names = FolderNames(settings.orig_dir, settings.thumb_dir, TRASH_PREFIX)
    layout = Layout(settings.storage_url or "", collection_dirs, names, new_bucket)
    spool = Spool(settings.base_dir, settings.limits.spool_bytes)
    return Store(S3OriginalStorage(layout, settings.base_dir, spool), S3TrashStorage(layout), S3Space(layout, spool))
