"""rendering.worker: what the server learns of an accident in a worker or in its engines."""

from pathlib import Path

import pytest

from assetstore.thumbnails.rendering import engines, isolation, refusals, worker
from assetstore.thumbnails.rendering.job import Job, Limits

LIMITS, JOB = Limits(30, 64), Job("source", "target", "jpeg", "png", 100)


def has_an_accident(depth: int) -> str:
    return has_an_accident(depth - 1) if depth else is_at_the_scene()


def is_at_the_scene() -> str:
    raise ValueError("surprise")


def test_the_log_tells_where_an_accident_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "render", lambda _job, _limits: has_an_accident(9))
    details = [worker._answer(JOB, LIMITS)["detail"]]
    with pytest.raises(refusals.Damaged) as raised:
        isolation.run(lambda: has_an_accident(9), LIMITS, 5, tmp_path)
    for detail in [*details, raised.value.detail]:
        assert "in is_at_the_scene\n" in str(detail)
        assert str(detail).endswith("ValueError: surprise\n")
        assert len(str(detail)) < 1000
