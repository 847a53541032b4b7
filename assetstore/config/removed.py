"""Settings that were removed. The start warns of those that are still set."""

from collections.abc import Mapping

from assetstore.config.values import BUCKET_IN_HOST_NAME

#: Their names, and what happens now: the end of a sentence in the warning.
REMOVED = {
    "GATEKEEPER_ADDRESS": "the server checks private thumbnails itself",
    "KEPT_THUMBNAIL_SIZES": "thumbnails of 32 sizes are cached in each collection",
    "MAX_THUMBNAIL_SIZE": "thumbnails have up to 4000 pixels",
    "RENDER_QUEUE": "half of THREADS may wait for thumbnails",
    "RENDER_SECONDS": "rendering may take 60 seconds, and longer if RENDER_MEMORY is more than 1024",
    "RENDER_WORKERS": "the server renders one thumbnail per core at a time, or fewer if memory is short",
    "SOCKET_TIMEOUT": "connections are closed after 60 seconds of silence",
    "STORAGE_ADDRESSING": (
        "it still works, but should be part of STORAGE_ENDPOINT: https://{bucket}.s3.museum.org for virtual,"
        " https://s3.museum.org for path"
    ),
    "STORAGE_SPOOL_BYTES": "temporary copies may use half of the disk of BASE_DIR",
    "UNVERIFIED_UPLOAD_BYTES": (
        "uploads whose tokens come after the file may together store a tenth of the disk, and at least 20 GB"
    ),
}


def addressed(endpoint: object, addressing: object, region: object) -> object:
    """Returns STORAGE_ENDPOINT in the form that has the effect of STORAGE_ADDRESSING.

    Parameters:
        endpoint: a URL, a mapping from buckets to URLs, or None for Amazon S3.
        addressing: `virtual`, `path`, or anything else for the default.
        region: STORAGE_REGION.
    """
    if addressing == "path" and endpoint is None:
        return f"https://s3.{region}.amazonaws.com"
    if addressing != "virtual":
        return endpoint
    if isinstance(endpoint, Mapping):
        return {bucket: addressed(url, addressing, region) for bucket, url in endpoint.items()}
    if isinstance(endpoint, str) and BUCKET_IN_HOST_NAME not in endpoint:
        return endpoint.replace("://", f"://{BUCKET_IN_HOST_NAME}", 1)
    return endpoint
