"""Every store: on disk, and on a real S3 server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assetstore.app import bootstrap
from assetstore.config import loading
from assetstore.originals.service import Originals
from tests.support import PROJECT

#: Two places of one store.
FISH, HERPS = "fish", "herps/all"


@pytest.fixture(params=["disk", "s3"])
def originals(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Originals]:
    own = {"BASE_DIR": str(tmp_path), "KEY": "key", "COLLECTION_DIRS": {"KU Fish": FISH, "KU Herps": HERPS}}
    if request.param == "s3":
        own |= request.getfixturevalue("s3_settings")
    opened = bootstrap.open_originals(loading.load(own, {}, PROJECT, 2), PROJECT)
    yield opened
    opened.journal.close()
