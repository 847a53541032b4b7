"""storage.s3.multipart_uploads: what happens if the uploads of a folder cannot be listed or aborted."""

import urllib.error
from email.message import Message

import pytest

from assetstore.errors import Unavailable
from assetstore.storage.s3 import multipart_uploads
from assetstore.storage.s3.client import Bucket
from assetstore.storage.s3.layout import Folder
from assetstore.storage.s3.library import Service


@pytest.mark.parametrize(
    ("fault", "tried"),
    [
        (urllib.error.HTTPError("http://127.0.0.1:9", 403, "Forbidden", Message(), None), ["fish", "frogs"]),
        (ValueError("no time"), ["fish", "frogs"]),
        (TimeoutError("no response"), ["fish"]),
        (Unavailable("The file storage cannot be reached."), ["fish"]),
    ],
    ids=["forbidden", "unreadable", "no response", "unavailable"],
)
def test_the_next_folder_is_tried_if_the_service_responds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Exception, tried: list[str]
) -> None:
    bucket, found = Bucket("museum", Service("http://127.0.0.1:9", "us-east-1", False, 8)), []

    def fail(folder: Folder, _oldest: object) -> int:
        found.append(folder.path)
        raise fault

    monkeypatch.setattr(multipart_uploads, "_abort", fail)
    multipart_uploads.abort_abandoned([Folder(bucket, "fish"), Folder(bucket, "frogs")])
    assert found == tried
    assert caplog.text.count("were not aborted") == len(tried)
