"""What stands between clients and the server: how large an upload may be, and how long it may take."""

import io
import time
from collections.abc import Iterator
from typing import BinaryIO, cast

from assetstore.client.multipart_encoder import UploadForm
from assetstore.doctor.client_simulation import Visit
from assetstore.doctor.findings import Finding, error, ok, warning
from assetstore.errors import RemoteFault

_MEGABYTE = 1 << 20

#: A token that old is good for this many seconds more; the upload that it is for takes longer.
_SECONDS_LEFT, _SECONDS_TAKEN = 3, 4.5


def body_limit(visit: Visit, megabytes: int) -> Iterator[Finding]:
    """Whether an upload of this size goes through."""
    name = visit.web_name(".bin")
    size = megabytes * _MEGABYTE
    fields = visit.remote.signed(name, {"type": "O", "store": name})
    form = UploadForm(fields, cast("BinaryIO", _Zeros()), size, "large.bin")
    meaning = "Large scans and recordings cannot be uploaded, while small pictures can."
    remedy = "nginx: client_max_body_size 0 (deploy/nginx.conf). Apache: LimitRequestBody 0. Or MAX_UPLOAD_BYTES."
    try:
        reply = visit.send(name, form, form)
    except RemoteFault as fault:
        yield error("body limit", f"An upload of {megabytes} MB breaks off: {fault.public}", meaning, remedy)
        return
    if reply.status == 200:
        head = visit.file(name, method="HEAD")
        visit.delete(name)
        if head.header("Content-Length") != str(size):
            yield error("body limit", f"Of {megabytes} MB not all arrived.", meaning, remedy)
            return
        yield ok("body limit", f"An upload of {megabytes} MB is stored.")
        return
    yield error("body limit", f"An upload of {megabytes} MB gets {reply.status}.", meaning, remedy)


def buffering(visit: Visit, tolerance: int | None) -> Iterator[Finding]:
    """Whether an upload may take longer than its token is valid.

    Parameters:
        visit: to the server.
        tolerance: TIME_TOLERANCE of the server, in seconds; None: it does not look at the time.
    """
    if tolerance is None or tolerance <= _SECONDS_LEFT:
        return
    name = visit.web_name(".bin")
    token = visit.remote.token(name, age=tolerance - _SECONDS_LEFT)
    if token is None:
        return
    fields = {**visit.remote.signed(name, {"type": "O", "store": name}), "token": token}
    content = bytes(4096)
    form = UploadForm(fields, io.BytesIO(content), len(content), "slow.bin", file_first=True)
    reply = visit.send(name, form, _slowly(form))
    if reply.status == 200:
        visit.delete(name)
        yield ok("buffering", "A long upload does not outlive its token.")
        return
    yield warning(
        "buffering",
        f"An upload that takes longer than its token is valid gets {reply.status}: {reply.text}",
        "Large files over slow lines are refused at the very end, as out of time.",
        "nginx: proxy_request_buffering off, and proxy_set_header X-Receiving-Seconds $request_time, with"
        " TRUSTED_PROXIES (deploy/nginx.conf).",
    )


def _slowly(form: UploadForm) -> Iterator[bytes]:
    blocks = iter(form)
    yield next(blocks)
    time.sleep(_SECONDS_TAKEN)
    yield from blocks


class _Zeros:
    """A file of nothing but zeros, without end."""

    def read(self, size: int) -> bytes:
        return bytes(size)
