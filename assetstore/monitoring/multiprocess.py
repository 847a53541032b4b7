"""The folder in which the Prometheus library adds up the metrics of several processes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

#: The environment variable with the folder, for the library in this process and its children.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_MEMORY = "/dev/shm"  # noqa: S108 - only for names made by tempfile


@contextmanager
def folder(is_wanted: bool) -> Iterator[None]:
    """Creates the folder, and removes it at the end.

    Each start has a new folder, because otherwise the metrics of the last run would be added. It is in memory, because
    a full disk would kill the processes.
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
