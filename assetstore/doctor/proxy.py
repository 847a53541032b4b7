"""Checks the proxy between clients and the server: the maximum size and duration of uploads."""

import io
import time
from collections.abc import Iterator
from typing import BinaryIO, cast

from assetstore.client.multipart_encoder import UploadForm
from assetstore.doctor.client_simulation import SimulatedClient
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.errors import RemoteFault

_MEGABYTE = 1 << 20

#: For how many more seconds the test token is valid, and for how many seconds the test upload lasts.
_SECONDS_LEFT, _SECONDS_TAKEN = 3, 4.5


def body_limit(client: SimulatedClient, megabytes: int) -> Iterator[Finding]:
    """Whether an upload of this size succeeds."""
    name = client.web_name(".bin")
    size = megabytes * _MEGABYTE
    fields = client.remote.signed(name, {"type": "O", "store": name})
    form = UploadForm(fields, cast("BinaryIO", _Zeros()), size, "large.bin")
    meaning = "Large scans and recordings cannot be uploaded. Small images can."
    remedy = (
        "Raise the limit. nginx: client_max_body_size 0 (deploy/nginx.conf); Apache: LimitRequestBody 0; this server:"
        " MAX_UPLOAD_BYTES."
    )
    try:
        reply = client.send(name, form, form)
    except RemoteFault as fault:
        yield error("body limit", f"An upload of {megabytes} MB is interrupted: {fault.public}", meaning, remedy)
        return
    if reply.status == 200:
        head = client.file(name, method="HEAD")
        client.delete(name)
        if head.header("Content-Length") != str(size):
            yield error("body limit", f"An upload of {megabytes} MB is stored incompletely.", meaning, remedy)
            return
        yield ok("body limit", f"An upload of {megabytes} MB is stored.")
        return
    yield error("body limit", f"An upload of {megabytes} MB returns {reply.status}.", meaning, remedy)


def buffering(client: SimulatedClient, tolerance: int | None) -> Iterator[Finding]:
    """Whether an upload may take longer than its token is valid.

    Parameters:
        client: of the server.
        tolerance: TIME_TOLERANCE of the server, in seconds; None if it does not check the time.
    """
    if tolerance is None or tolerance <= _SECONDS_LEFT:
        return
    name = client.web_name(".bin")
    token = client.remote.token(name, age=tolerance - _SECONDS_LEFT)
    if token is None:
        return
    fields = {**client.remote.signed(name, {"type": "O", "store": name}), "token": token}
    content = bytes(4096)
    form = UploadForm(fields, io.BytesIO(content), len(content), "slow.bin", file_first=True)
    reply = client.send(name, form, _slowly(form))
    if reply.status == 200:
        client.delete(name)
        yield ok("buffering", "An upload that takes longer than its token is valid is stored.")
        return
    yield warning(
        "buffering",
        f"An upload that takes longer than its token is valid returns {reply.status}: {reply.text}",
        "Uploads of large files over slow connections are rejected as expired when they finish.",
        "In nginx, add two lines to the location of the asset server (Specify 7's own configuration lacks them):"
        "\n    proxy_request_buffering off;\n    proxy_set_header X-Receiving-Seconds $request_time;"
        "\nand set TRUSTED_PROXIES of this server to the address of nginx (docs/nginx.md).",
    )


def _slowly(form: UploadForm) -> Iterator[bytes]:
    blocks = iter(form)
    yield next(blocks)
    time.sleep(_SECONDS_TAKEN)
    yield from blocks


class _Zeros:
    """An endless file of zeros."""

    def read(self, size: int) -> bytes:
        return bytes(size)
