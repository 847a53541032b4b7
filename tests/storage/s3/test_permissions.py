"""The permissions of the access key: the documented policy suffices, and without one of them nothing is left behind."""

import contextlib
import json
import re
import urllib.error
from collections.abc import Callable, Iterator

import pytest

from tests import pictures
from tests.object_store import BUCKETS, ObjectStore
from tests.support import PROJECT, RunningServer

pytest.importorskip("obstore", reason="obstore is not to be had for this system")

BUCKET = BUCKETS[0]
MEGABYTE = 1 << 20

Allow = Callable[..., None]


def documented_policy() -> dict[str, list[dict[str, object]]]:
    page = (PROJECT / "docs/scaling.md").read_text("utf-8")
    found = re.search(r"```json\n(\{.*?\n\})\n```", page, re.DOTALL)
    assert found
    policy: dict[str, list[dict[str, object]]] = json.loads(found[1])
    return policy


@pytest.fixture
def allow(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Allow]:
    """The key of the servers is that of a guest, who may do what the documented policy says, but not some of it."""
    if object_store.guest is None:
        pytest.skip("this service has no guest")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", object_store.guest[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", object_store.guest[1])

    def allow_all_but(*actions: str) -> None:
        policy = documented_policy()
        for statement in policy["Statement"]:
            statement["Principal"] = "*"
            statement["Action"] = [action for action in statement["Action"] if action not in actions]
        object_store.request("PUT", f"/{BUCKET}", "policy=", json.dumps(policy).encode())

    yield allow_all_but
    with contextlib.suppress(urllib.error.HTTPError):  # there is none
        object_store.request("DELETE", f"/{BUCKET}", "policy=")


@pytest.fixture
def server(allow: Allow, start: Callable[..., RunningServer], s3_settings: dict[str, object]) -> RunningServer:
    allow()
    return start(**s3_settings)


def keys(object_store: ObjectStore, s3_settings: dict[str, object]) -> set[str]:
    prefix = str(s3_settings["STORAGE_URL"]).rpartition("/")[2]
    page = object_store.request("GET", f"/{BUCKET}", f"list-type=2&prefix={prefix}%2F").decode()
    return {key.removeprefix(prefix + "/") for key in re.findall("<Key>(.*?)</Key>", page)}


def test_a_key_without_a_policy_may_do_nothing(allow: Allow, object_store: ObjectStore) -> None:
    assert object_store.guest
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ObjectStore(object_store.endpoint, *object_store.guest).request("GET", f"/{BUCKET}", "list-type=2")


def test_the_documented_policy_suffices_for_all_that_the_server_does(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert server.upload("a.jpg", pictures.jpeg()).status == 200
        assert server.upload("b.bin", bytes(9 * MEGABYTE)).status == 200
    assert server.thumbnail("a.jpg", 100).status == 200
    assert server.get("/fileget", filename="a.jpg").status == 200
    assert server.get("/fileget", filename="missing.jpg").status == 404
    assert server.get("/getfileref", filename="a.jpg", type="T", scale="100").status == 200
    assert server.context.health.report()["store"].status == "ok"
    assert server.delete("a.jpg").status == 200
    originals = server.context.originals
    for entry in list(originals.trash()):
        assert originals.trash_storage.purge(entry)
    assert [listed.name for listed in originals.storage.originals("")] == ["b.bin"]
    originals.space.sweep()
    assert "not aborted" not in caplog.text


def test_a_delete_that_is_refused_leaves_nothing_in_the_trash(
    server: RunningServer, allow: Allow, object_store: ObjectStore, s3_settings: dict[str, object]
) -> None:
    server.upload("a.jpg", pictures.jpeg())
    allow("s3:DeleteObject")
    for _ in range(3):
        assert server.delete("a.jpg").status == 503
    assert server.get("/readyz").status == 503
    assert keys(object_store, s3_settings) <= {"originals/a.jpg", ".asset-server/probe"}
    allow()
    assert server.delete("a.jpg").status == 200


def test_a_replacement_that_is_refused_leaves_nothing_in_the_trash(
    server: RunningServer, allow: Allow, object_store: ObjectStore, s3_settings: dict[str, object]
) -> None:
    server.upload("a.jpg", pictures.jpeg())
    allow("s3:PutObject")
    for size in (1000, 9 * MEGABYTE):
        assert server.upload("a.jpg", bytes(size)).status == 503
    assert server.get("/readyz").status == 503
    assert keys(object_store, s3_settings) == {"originals/a.jpg"}
    assert server.get("/fileget", filename="a.jpg").body == pictures.jpeg()
