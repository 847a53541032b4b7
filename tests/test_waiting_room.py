"""waiting_room: connections without a whole request, none of which holds a thread."""

import contextlib
import errno
import os
import queue
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from assetstore import waiting_room
from assetstore.fair_share import COURTESY_SECONDS, Shares
from assetstore.waiting_room import Arrival, WaitingRoom, head_length

REQUEST = b"GET /fileget?filename=a HTTP/1.1\r\nHost: x\r\n\r\n"


class Listener(socket.socket):
    """A listening socket whose process may run out of descriptors."""

    failures = 0

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


class Room:
    """A running room, and what it hands over."""

    def __init__(self, seats: int = 1000, patience: float = 60, failures: int = 0) -> None:
        self.listener = Listener()
        self.listener.failures = failures
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1024)
        self.address = self.listener.getsockname()
        self.handed: queue.Queue[Arrival] = queue.Queue()
        self.room = WaitingRoom(self.listener, self.handed.put, seats, patience)
        self._clients: list[socket.socket] = []
        self._thread = threading.Thread(target=self.room.run)
        self._thread.start()

    def client(self, said: bytes = b"") -> socket.socket:
        self._clients.append(socket.create_connection(self.address, timeout=60))
        self._clients[-1].sendall(said)
        return self._clients[-1]

    def clients(self, number: int, said: bytes = b"") -> list[socket.socket]:
        return [self.client(said) for _ in range(number)]

    def next(self) -> Arrival:
        """What is handed over next; the test closes it."""
        return self.handed.get(timeout=60)

    def data(self) -> bytes:
        arrival = self.next()
        arrival.close()
        assert arrival.flaw is None
        return bytes(arrival.data)

    def stop(self) -> None:
        self.room.stop()
        with contextlib.suppress(OSError):
            self.client()
        self._thread.join()
        for client in self._clients:
            client.close()
        assert self.handed.empty()


@pytest.fixture
def open_room() -> Iterator[Callable[..., Room]]:
    """Opens waiting rooms; none may leave a descriptor open, nor anything that nobody expected."""
    before = os.listdir("/proc/self/fd")
    rooms: list[Room] = []

    def open_one(**arguments: float) -> Room:
        rooms.append(Room(**arguments))  # type: ignore[arg-type]
        return rooms[-1]

    yield open_one
    for room in rooms:
        room.stop()
        del room.room
    assert len(os.listdir("/proc/self/fd")) <= len(before)


@pytest.fixture
def room(open_room: Callable[..., Room]) -> Room:
    """A room with more patience than a test needs."""
    return open_room()


def received(client: socket.socket) -> bytes:
    """Everything up to the end of the connection."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            data += part
    return data


def head_of(size: int) -> bytes:
    start = b"GET / HTTP/1.1\r\nCookie: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "whole"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\nHost: x\n\n", True),
        (b"GET / HTTP/1.1\nHost: x\n\r\n", True),
        (b"GET / HTTP/1.1\r\n\n", True),
        (b"POST / HTTP/1.1\r\n\r\nbody", True),
        (b"\r\nGET / HTTP/1.1\r\n\r\n", True),
        (b"\nGET / HTTP/1.1\n\n", True),
        (b"\r\n\r\n", True),
        (b"\n\n", True),
        (b"\n\r\n", True),
        (b"", False),
        (b"\r", False),
        (b"\r\n", False),
        (b"\r\n\r", False),
        (b"GET / HTTP/1.1", False),
        (b"GET / HTTP/1.1\r\n", False),
        (b"GET / HTTP/1.1\r\n\r", False),
        (b"GET / HTTP/1.1\r\n\rX\r\n", False),
        (b"\r\nGET / HTTP/1.1\r\n", False),
    ],
)
def test_a_head_ends_with_an_empty_line_and_one_in_front_is_forgiven(head: bytes, whole: bool) -> None:
    assert (head_length(head) is not None) is whole


@pytest.mark.parametrize("head", [REQUEST, b"\r\n" + REQUEST, b"\n" + REQUEST.replace(b"\r", b""), b"\r\n\r\n"])
def test_the_end_of_a_head_is_seen_however_it_comes_in_pieces(head: bytes) -> None:
    for seen in range(len(head)):
        assert head_length(head[:seen]) is None
        assert head_length(head, seen) == len(head)
        assert head_length(head + b"body\n\n", seen) == len(head)


@pytest.mark.parametrize("said", [b"", b"G", REQUEST[:-2]], ids=["nothing", "a letter", "all but the end"])
def test_300_silent_connections_wait_while_others_are_handed_over(room: Room, said: bytes) -> None:
    room.clients(300, said)
    for number in range(5):
        other = REQUEST.replace(b"=a", b"=%d" % number)
        room.client(other)
        assert room.data() == other


def test_a_request_in_pieces_is_handed_over_whole_with_what_came_of_its_body(room: Room) -> None:
    client = room.client()
    request = b"POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\nbody"
    for position in range(len(request) - 4):
        client.sendall(request[position : position + 1] if position < len(request) - 5 else request[-5:])
        time.sleep(0.002)
    arrival = room.next()
    assert arrival.data == request
    client.sendall(b"more")
    assert arrival.connection.recv(10) == b"more"
    arrival.close()


@pytest.mark.parametrize("size", [20_000, 60_000, waiting_room.LONGEST_HEAD])
@pytest.mark.parametrize("piece", [1000, 100_000])
def test_a_long_head_arrives_whole(room: Room, size: int, piece: int) -> None:
    client = room.client()
    head = head_of(size)
    for start in range(0, size, piece):
        client.sendall(head[start : start + piece])
    assert room.data() == head


def test_a_head_that_is_too_long_is_handed_over_with_its_refusal_and_not_read_on(room: Room) -> None:
    client = room.client()
    client.sendall(head_of(70_000))
    arrival = room.next()
    assert arrival.flaw is waiting_room.TOO_LONG
    assert len(arrival.data) == waiting_room.LONGEST_HEAD
    arrival.close()


def test_a_client_that_ends_in_the_middle_of_its_request_is_to_be_told(room: Room) -> None:
    room.client(REQUEST[:-2]).shutdown(socket.SHUT_WR)
    arrival = room.next()
    assert arrival.flaw
    assert arrival.flaw.status == 400
    assert "cut off" in arrival.flaw.sentence
    arrival.close()


def test_a_client_that_has_said_everything_may_end_its_side(room: Room) -> None:
    room.client(REQUEST).shutdown(socket.SHUT_WR)
    assert room.data() == REQUEST


def test_connections_that_end_or_break_without_a_request_are_forgotten(room: Room) -> None:
    room.client().close()
    ends_its_side = room.client()
    ends_its_side.shutdown(socket.SHUT_WR)
    assert received(ends_its_side) == b""
    breaks = room.client(b"GET")
    breaks.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    breaks.close()
    room.client(REQUEST)
    assert room.data() == REQUEST


def test_dripping_bytes_do_not_prolong_the_deadline(open_room: Callable[..., Room]) -> None:
    client = open_room(patience=0.5).client(b"GET / HTTP/1.1\r\n")
    client.settimeout(0.05)
    with pytest.raises(ConnectionError):  # it may or may not read the answer before
        for _ in range(400):
            client.sendall(b"X")
            with contextlib.suppress(TimeoutError):
                client.recv(65536)


def test_a_client_that_fell_silent_in_its_request_is_told(open_room: Callable[..., Room]) -> None:
    answer = received(open_room(patience=0.2).client(b"GET / HTTP/1.1\r\n"))
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"\r\nContent-Type: text/plain; charset=UTF-8\r\n" in answer
    assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in answer
    assert answer.endswith(b"please try again.")


def test_a_client_that_said_nothing_is_left_without_a_word(open_room: Callable[..., Room]) -> None:
    assert received(open_room(patience=0.2).client()) == b""


def test_the_time_of_a_request_is_that_of_its_first_byte(room: Room) -> None:
    client = room.client()
    time.sleep(0.3)
    before = time.time()
    client.sendall(REQUEST[:5])
    while not any(arrival.data for arrival in list(room.room._inside.values())):
        time.sleep(0.01)
    after = time.time()
    time.sleep(0.01)
    client.sendall(REQUEST[5:])
    arrival = room.next()
    arrival.close()
    assert before <= arrival.received_at <= after


def test_in_a_full_room_the_one_that_has_waited_longest_gives_way(
    open_room: Callable[..., Room], caplog: pytest.LogCaptureFixture
) -> None:
    room = open_room(seats=3)
    first, second, *others = room.clients(5)
    assert received(first) == received(second) == b""
    for client in others:
        client.sendall(REQUEST)
        assert room.data() == REQUEST
    assert caplog.text.count("more than 3 connections wait") == 1


def test_long_heads_may_not_fill_the_memory(open_room: Callable[..., Room], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_room, "_MOST_HELD", 100_000)
    room = open_room()
    first, *others = room.clients(3)
    for client in (first, *others):
        client.sendall(b"X" * 40_000)
    assert received(first) == b""
    for client in others:
        client.sendall(b"\r\n\r\n")
        assert len(room.data()) == 40_004


def test_waiting_takes_no_work(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.clients(10, REQUEST[:-2])
    room.client(REQUEST)
    room.data()
    rounds = []
    attend = room.room._attend
    monkeypatch.setattr(room.room, "_attend", lambda longest: (rounds.append(1), attend(longest)))
    time.sleep(1.2)
    assert 1 <= len(rounds) < 20


def test_without_free_descriptors_accepting_pauses_and_goes_on(
    open_room: Callable[..., Room], caplog: pytest.LogCaptureFixture
) -> None:
    room = open_room(failures=2)
    room.client(REQUEST)
    assert room.data() == REQUEST
    assert caplog.text.count("raise LimitNOFILE") == 2


def test_after_a_pause_a_connection_is_taken_however_long_the_thread_had_to_wait_for_its_turn(
    open_room: Callable[..., Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = open_room(patience=1000)
    listen = room.room._listen

    def listen_and_lose_the_turn(wanted: bool) -> None:
        pauses_already = not wanted and not room.room._listening
        listen(wanted)
        time.sleep(20 * COURTESY_SECONDS if pauses_already else 0)

    room.client(REQUEST)
    room.data()  # it is running
    room.room._elsewhere = lambda: 5  # the other one has none, and does not take any
    room.room._share = Shares(2).of(0)
    monkeypatch.setattr(room.room, "_listen", listen_and_lose_the_turn)
    monkeypatch.setattr(waiting_room, "_TICK_SECONDS", 100)
    room.client(REQUEST)
    assert room.data() == REQUEST


def test_without_free_descriptors_the_oldest_gives_its_own(room: Room) -> None:
    oldest = room.client(b"GET")
    room.client(REQUEST)
    room.data()
    room.listener.failures = 1
    room.client(REQUEST)
    assert room.data() == REQUEST
    assert received(oldest) == b""


def test_really_without_descriptors_nothing_breaks(room: Room) -> None:
    room.client(REQUEST)
    room.data()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
            client.connect(room.address)
            client.sendall(REQUEST)
            time.sleep(0.7)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert room.data() == REQUEST


def test_stopping_closes_what_said_nothing_and_lets_half_a_head_come(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_room, "_LAST_CALL_SECONDS", 60)
    silent = room.client()
    speaking = room.client(REQUEST[:10])
    room.client(REQUEST)
    room.data()
    room.room.stop()
    assert received(silent) == b""
    speaking.sendall(REQUEST[10:])
    assert room.data() == REQUEST


def test_stopping_does_not_wait_long_for_half_a_head(room: Room) -> None:
    speaking = room.client(REQUEST[:10])
    room.client(REQUEST)
    room.data()
    room.room.stop()
    assert received(speaking) == b""


def test_a_room_that_was_stopped_before_it_opened_closes_at_once() -> None:
    with Listener() as listener:
        room = WaitingRoom(listener, lambda _arrival: None, seats=1, patience=1)
        room.stop()
        room.run()
        assert listener.fileno() == -1


def answered(room: Room) -> socket.socket:
    """A client that was answered in the middle of its upload, and handed back."""
    client = room.client(REQUEST)
    arrival = room.next()
    arrival.connection.sendall(b"no")
    arrival.connection.shutdown(socket.SHUT_WR)
    room.room.see_out(arrival)
    arrival.close()
    return client


def test_who_was_answered_may_finish_what_it_says(room: Room) -> None:
    client = answered(room)
    client.sendall(bytes(20_000_000))
    assert received(client) == b"no"
    client.shutdown(socket.SHUT_WR)
    room.client(REQUEST)
    assert room.data() == REQUEST


def test_who_was_answered_may_not_stay_for_ever(open_room: Callable[..., Room]) -> None:
    client = answered(open_room(patience=0.3))
    with pytest.raises(ConnectionError):
        for _ in range(3000):
            client.sendall(b"x")
            time.sleep(0.02)


def test_who_was_answered_gives_way_in_a_full_room(room: Room) -> None:
    clients = room.clients(50, REQUEST)
    arrivals = [room.next() for _ in clients]
    room.room.seats = 0
    for client, arrival in zip(clients, arrivals, strict=True):
        client.sendall(b"more")
        room.room.see_out(arrival)
    assert [received(client) for client in clients] == [b""] * 50
    room.room.seats = 10
    room.client(REQUEST)
    assert room.data() == REQUEST


def test_who_is_answered_after_the_end_is_closed(room: Room) -> None:
    client = room.client(REQUEST)
    arrival = room.next()
    room.stop()
    room.room.see_out(arrival)
    assert client.fileno() == -1
    assert arrival.connection.fileno() == -1
