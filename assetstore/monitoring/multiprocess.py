"""The folder in which several processes add up their figures for Prometheus, by Prometheus's own library."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

#: Names the folder to the library, in all processes that are started while it is set.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_MEMORY = "/dev/shm"  # noqa: S108 - only names made by tempfile in it


@contextmanager
def folder(is_wanted: bool) -> Iterator[None]:
    """Makes the folder, and removes it in the end.

    A new one for each start, or the figures of the last one would be added. In memory: a full disk would kill the
    processes that count.
    """
    if not is_wanted:
        yield
        return
    path = tempfile.mkdtemp(prefix="asset-server-metrics-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None)
    os.environ[VARIABLE] = path
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        shutil.rmtree(path, ignore_errors=True)
