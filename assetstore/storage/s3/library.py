"""The library (obstore), whose calls wait outside of Python: its clients for a bucket.

Its timeouts belong to a client and not to a call, so there is a client for each of a few timeouts. It gets its
credentials itself, from the environment (AWS_ACCESS_KEY_ID …) or from the metadata service of the machine.

Concurrency: any thread may call. A process that was forked after its parent had used the library cannot use it,
because the library's threads are gone and calls would hang. Such calls raise an error.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from obstore.store import S3Store

if TYPE_CHECKING:
    from obstore.store import S3Credential

from assetstore.concurrency import retry_budget
from assetstore.errors import StorageFault

_CONNECT_SECONDS = 3

#: The timeout of a download, whose total time is not limited because readers may be slow; and how long it may stall.
DAY = 86_400
SILENCE_SECONDS = 10

#: After how many seconds idle connections are closed, before the service closes them.
_IDLE_SECONDS = 20


@dataclass(frozen=True)
class Service:
    """The connection settings of buckets.

    Fields:
        endpoint: address of the service, with the name of the bucket if `is_virtual`; None for Amazon S3.
        region: of the bucket.
        is_virtual: whether the name of the bucket is part of the host name.
        most_waiting: how many calls may wait if the service does not respond.
        credentials: returns the key in the form of the library; None: the library finds a key itself.
    """

    endpoint: str | None
    region: str
    is_virtual: bool
    most_waiting: int
    credentials: Callable[[], "S3Credential"] | None = field(default=None, repr=False)


def new_client(bucket: str, service: Service, seconds: int, retries: int = 0) -> S3Store:
    """Returns a client for a bucket. Creating one opens no connection.

    Parameters:
    bucket: its name.
    service: how to connect to it.
    seconds: the timeout of each call; `DAY` for downloads.
    retries: how often the library itself retries a call.
    """
    endpoint = service.endpoint
    config: dict[str, Any] = {} if endpoint is None else {"endpoint": endpoint}
    return S3Store(
        bucket,
        region=service.region,
        virtual_hosted_style_request=service.is_virtual,
        # Some services and policies do not allow requests that delete several objects.
        disable_bulk_delete=True,
        client_options={
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            "read_timeout": timedelta(seconds=min(seconds, SILENCE_SECONDS) if seconds == DAY else seconds),
            "timeout": timedelta(seconds=seconds),
            "pool_idle_timeout": timedelta(seconds=_IDLE_SECONDS),
        },
        retry_config={
            "max_retries": retries,
            "retry_timeout": timedelta(seconds=retry_budget.ALLOWANCE_SECONDS),
            "backoff": {
                "init_backoff": timedelta(seconds=0.1),
                "max_backoff": timedelta(seconds=2),
                "base": 2,
            },
        },
        # Unlike options, this is not mixed with variables of the environment, such as the token of another key.
        credential_provider=service.credentials,
        **config,
    )


_used_by: list[int] = []


def refuse_after_fork() -> None:
    """Raises StorageFault in a process that was forked after its parent had used the library."""
    if not _used_by:
        _used_by.append(os.getpid())
    elif _used_by[0] != os.getpid():
        detail = "the process was forked after it had used the object store; start the server without preloading"
        raise StorageFault("The server cannot reach its file storage because of the way it was started.", detail)
