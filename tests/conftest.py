"""Fixtures: real servers on free ports, with stores of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import KEY, RunningServer


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Starts a server with these settings (names as in settings.py) on an empty store."""
    running: list[RunningServer] = []

    def start_server(**own: object) -> RunningServer:
        base = tmp_path / f"attachments-{len(running)}"
        base.mkdir()
        settings = {"KEY": KEY, "BASE_DIR": str(base), "RENDER_SECONDS": 30, **own}
        running.append(RunningServer(settings))
        return running[-1]

    yield start_server
    for server in running:
        server.stop()


@pytest.fixture
def server(start: Callable[..., RunningServer]) -> RunningServer:
    """A server as a new user would have it, with a known key."""
    return start()
