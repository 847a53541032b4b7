"""thumbnails.warm: how fast thumbnails are rendered in advance."""

import threading
import time
from collections.abc import Callable

import pytest

from assetstore.thumbnails import warm
from assetstore.thumbnails.warm import Warming
from tests import pictures
from tests.support import RunningServer


def test_a_rate_limits_the_thumbnails_that_are_made_and_no_others(
    start: Callable[..., RunningServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    for name in ("a.png", "b.png", "c.png"):
        server.upload(name, pictures.png())
    server.thumbnail("c.png", 200)
    context, sleep, pauses = server.context, time.sleep, []

    def note(seconds: float) -> None:
        if threading.current_thread().name.startswith("ThreadPoolExecutor"):
            pauses.append(seconds)
        else:
            sleep(seconds)

    monkeypatch.setattr(warm.time, "sleep", note)
    run = Warming(context.originals, context.thumbnails, [200], None, 0.001, 1)
    context.pool.on_render = run.on_render
    assert list(run.run("")) == [None, None, None]
    assert run.made == 2
    # One in a thousand seconds. Because the first pause was not slept, the second comes on top of it.
    assert [round(pause, -2) for pause in pauses] == [1000, 2000]
    pauses.clear()
    assert list(run.run("")) == [None, None, None]
    assert pauses == []
