"""metadata.service: separate processes read it, block by block, within a time limit."""

import errno
import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from assetstore.concurrency.concurrency_limit import ElasticLimit
from assetstore.errors import StorageFault, Unavailable, Unrenderable
from assetstore.metadata import service
from assetstore.metadata.service import MetadataService
from tests import pictures
from tests.file_operations import Counted

CLIENT = "192.0.2.1"


@pytest.fixture
def metadata() -> Iterator[MetadataService]:
    opened = MetadataService(ElasticLimit(4))
    yield opened
    opened.close()


class Held(io.BytesIO):
    """A file that gives nothing before it may."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.may = threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        self.may.wait(30)
        return super().read(size)


def read(metadata: MetadataService, data: bytes) -> str | None:
    return metadata.read(io.BytesIO(data), len(data), CLIENT).date


def test_groups_and_date_are_read_in_a_worker_process(metadata: MetadataService) -> None:
    data = pictures.jpeg()
    found = metadata.read(io.BytesIO(data), len(data), CLIENT)
    assert found.date == "2009:05:30 12:34:56"
    assert {"Make": "Canon"}.items() <= found.groups[0]["Fields"].items()  # type: ignore[attr-defined]


def test_only_the_parts_of_a_large_file_with_metadata_are_read(metadata: MetadataService) -> None:
    data = pictures.jpeg() + bytes(50 << 20)
    file = Counted(data)
    assert metadata.read(file, len(data), CLIENT).date == "2009:05:30 12:34:56"
    assert file.count < 200_000


def test_a_killed_worker_is_restarted(metadata: MetadataService) -> None:
    read(metadata, pictures.jpeg())
    for worker in metadata._all:
        if worker._process is not None:
            os.killpg(worker._process.pid, signal.SIGKILL)
    assert read(metadata, pictures.jpeg()) == "2009:05:30 12:34:56"


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_is_read(
    metadata: MetadataService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "TIMEOUT_SECONDS", 2)
    # A worker that never answers, as one that a file keeps busy: it is stopped while it waits for a part.
    stuck = Stopping(metadata, pictures.jpeg())
    with pytest.raises(Unrenderable, match="too long"):
        metadata.read(stuck, 1000, CLIENT)
    assert read(metadata, pictures.jpeg()) == "2009:05:30 12:34:56"


class Stopping(io.BytesIO):
    """A file that stops the worker that reads it."""

    def __init__(self, metadata: MetadataService, data: bytes) -> None:
        super().__init__(data)
        self._metadata = metadata

    def read(self, size: int | None = -1) -> bytes:
        for worker in self._metadata._all:
            if worker._process is not None:
                os.killpg(worker._process.pid, signal.SIGSTOP)
        return super().read(size)


def test_one_slow_file_does_not_stop_the_others(metadata: MetadataService) -> None:
    slow = Held(pictures.jpeg())
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(metadata.read, slow, len(pictures.jpeg()), CLIENT)
        assert read(metadata, pictures.jpeg()) == "2009:05:30 12:34:56"
        assert not waiting.done()
        slow.may.set()
        assert waiting.result().date == "2009:05:30 12:34:56"


def test_requests_beyond_the_queue_limit_are_asked_to_retry() -> None:
    limit, slow = ElasticLimit(1), Held(pictures.jpeg())
    metadata = MetadataService(limit)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(metadata.read, slow, len(pictures.jpeg()), CLIENT)
        while not limit.held:
            time.sleep(0.01)
        with pytest.raises(Unavailable) as refusal:
            read(metadata, pictures.jpeg())
        assert refusal.value.retry_after
        slow.may.set()
        assert waiting.result().date
    metadata.close()


def test_a_client_with_many_slow_files_leaves_room_for_another() -> None:
    limit, size = ElasticLimit(8), len(pictures.jpeg())
    metadata = MetadataService(limit)
    slow = [Held(pictures.jpeg()) for _ in range(7)]
    with ThreadPoolExecutor(8) as threads:
        # Both workers are busy, and five more requests of this client wait.
        for file in slow:
            threads.submit(metadata.read, file, size, "many")
        while limit.held < 7:
            time.sleep(0.01)
        with pytest.raises(Unavailable):
            metadata.read(io.BytesIO(), size, "many")
        other = threads.submit(read, metadata, pictures.jpeg())
        while limit.held < 8:
            time.sleep(0.01)
        for file in slow:
            file.may.set()
        assert other.result() == "2009:05:30 12:34:56"
    metadata.close()


def test_a_read_error_is_not_reported_as_missing_metadata(metadata: MetadataService) -> None:
    class Failing(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(StorageFault, match="cannot be read"):
        metadata.read(Failing(), 1000, CLIENT)
    assert read(metadata, pictures.jpeg()) == "2009:05:30 12:34:56"


def test_a_closed_service_reads_nothing(metadata: MetadataService) -> None:
    read(metadata, pictures.jpeg())
    metadata.close()
    assert not any(worker.is_running for worker in metadata._all)
    with pytest.raises(Unavailable, match="stop"):
        read(metadata, pictures.jpeg())
