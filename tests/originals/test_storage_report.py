"""originals.storage_report: the size of a store."""

import time
from collections.abc import Callable
from typing import Any

from assetstore.originals.storage_report import Survey
from tests.support import RunningServer


def made(survey: Survey) -> dict[str, Any]:
    """The first survey, when it is complete."""
    for _ in range(600):
        found = survey.latest()
        if found["ready"] or found["fault"]:
            return found
        time.sleep(0.05)
    raise AssertionError("the survey does not end")


def test_a_survey_has_the_sums_of_all_collections_and_of_the_trash(start: Callable[..., RunningServer]) -> None:
    server = start(COLLECTION_DIRS={"Fish": "fish", "Frogs": "frogs"}, RESERVED_BYTES=1000)
    for coll, name, size in (("Fish", "a.bin", 1000), ("Fish", "b.bin", 1024), ("Frogs", "c.bin", 7)):
        server.upload(name, bytes(size), coll=coll)
    for name, size in (("d.bin", 500), ("e.bin", 512)):
        server.upload(name, bytes(size), coll="Fish")
        server.delete(name, coll="Fish")
    free = server.context.originals.space.free_bytes()
    found = made(Survey(server.context.originals, 1000, keeps_trash=True))
    assert found["places"] == [
        {"place": "fish", "files": 2, "bytes": 2024},
        {"place": "frogs", "files": 1, "bytes": 7},
    ]
    assert (found["files"], found["bytes"], found["trash_bytes"]) == (3, 2031, 1012)
    assert free
    assert 0 < found["room"] < free + (1 << 30)
    assert made(Survey(server.context.originals, 1 << 60, keeps_trash=True))["room"] == 0
