"""Settings that were removed. They have no effect; the start warns of those that are still set."""

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
        "the bucket's name is in the path, except at Amazon and if STORAGE_ENDPOINT has it in the host name:"
        " https://{bucket}.s3.museum.org"
    ),
    "STORAGE_SPOOL_BYTES": "temporary copies may use half of the disk of BASE_DIR",
    "UNVERIFIED_UPLOAD_BYTES": (
        "uploads whose tokens come after the file may together store a tenth of the disk, and at least 20 GB"
    ),
}
