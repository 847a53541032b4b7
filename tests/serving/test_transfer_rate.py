"""serving.transfer_rate: clients that are too slow are disconnected, and others are not."""

import socket
import threading
from collections.abc import Iterator

import pytest

from assetstore.serving.transfer_rate import MIN_BYTES_PER_SECOND, WINDOW_SECONDS, MinimumRate, MonitoredConnection


def test_a_client_at_the_minimum_rate_is_never_disconnected() -> None:
    rate = MinimumRate(silence=60)
    for _ in range(10_000):
        rate.note(waited=1.0, moved=MIN_BYTES_PER_SECOND)


def test_a_client_below_the_minimum_rate_is_disconnected_after_a_window() -> None:
    rate = MinimumRate(silence=60)
    with pytest.raises(TimeoutError, match="bytes were transferred in 60 s"):
        for second in range(100):
            rate.note(waited=1.0, moved=MIN_BYTES_PER_SECOND - 1)
            assert second < WINDOW_SECONDS


def test_a_burst_at_the_beginning_counts_in_one_window_only() -> None:
    rate = MinimumRate(silence=1000)
    rate.note(waited=0.0, moved=64_000_000)
    waited = 0.0
    with pytest.raises(TimeoutError):
        while waited < 1000:
            rate.note(waited=25.0, moved=1)
            waited += 25.0
    assert waited <= 3 * WINDOW_SECONDS


def test_a_silent_client_is_disconnected_and_every_byte_ends_the_silence() -> None:
    rate = MinimumRate(silence=10)
    for _ in range(5):
        rate.note(waited=9.0, moved=0)
        rate.note(waited=0.0, moved=100_000)
    with pytest.raises(TimeoutError, match="silent"):
        rate.note(waited=10.0, moved=0)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


def test_all_bytes_are_transferred_in_both_directions(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    connection = MonitoredConnection(server, silence=30)
    content = bytes(range(256)) * 40_000
    writer = threading.Thread(target=connection.write, args=(content,))
    writer.start()
    received = b""
    while len(received) < len(content):
        received += client.recv(1 << 20)
    writer.join()
    assert received == content
    client.sendall(b"answer")
    buffer = bytearray(100)
    assert buffer[: connection.readinto(buffer)] == b"answer"


def test_a_reader_that_stops_is_disconnected_despite_a_large_send_buffer(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    with pytest.raises(TimeoutError):
        MonitoredConnection(pair[1], silence=2).write(bytes(50_000_000))


def test_a_deadline_holds_however_the_bytes_arrive(pair: tuple[socket.socket, socket.socket]) -> None:
    connection = MonitoredConnection(pair[1], silence=30)
    connection.deadline = 0.0
    with pytest.raises(TimeoutError, match="in time"):
        connection.readinto(bytearray(10))
