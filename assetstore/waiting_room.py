"""Where connections are while no thread of the server needs to know them.

A client that says nothing, or half a request, would hold a thread for as long as it likes; some
hundred of those, and nobody else is served. So one thread accepts all connections and listens to
all of them (epoll) until the head of a request is there, up to the empty line. Only then a thread
of the pool gets the connection, with what was read of it so far. Connections come back that may
bring another request, and those that were answered before they had sent everything, so that no
thread has to wait for either.

The bytes are taken out of the sockets rather than peeked at: what lies in the buffer of a socket
makes epoll report it again and again, and a head larger than the buffer would never come whole.

Concurrency: `run` belongs to one thread; it alone touches `_inside` and `_held`, and it calls
`hand_over`, which must not block and owns the connection from then on. Any thread may call
`see_out`, `wait_again` and `stop`, a signal handler also the latter, or set `seats` and `patience`, which hold
for what arrives later. Nothing here waits for a client: reading and writing is MSG_DONTWAIT.
"""

import contextlib
import errno
import logging
import re
import select
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from assetstore.fair_share import Share
from assetstore.refusal import Refusal

_log = logging.getLogger(__name__)

#: How long a connection may be in the room, so how long the head of a request may take. Generous
#: for one packet, short for browsers that connect in advance and for clients that fell silent.
HEAD_SECONDS = 20

#: The longest head. No client of Specify comes near it; cookies of other programs on the host may.
LONGEST_HEAD = 64 * 1024

#: Connections in the room; each takes a descriptor and some kilobytes.
MOST_WAITING = 4096

#: All unfinished heads together, in bytes; all seats times the longest head would be 256 MiB.
_MOST_HELD = 32 * 1024 * 1024

#: How often deadlines and `stop` are looked at.
_TICK_SECONDS = 0.5

#: How long heads that are half here may take when the server is told to stop.
_LAST_CALL_SECONDS = 1

#: A full room is worth a line in the log, not one per connection.
_COMPLAINT_SECONDS = 60

_NO_MORE_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_EMPTY_LINE = re.compile(rb"\r?\n")
_END = re.compile(rb"\n\r?\n")


TOO_LONG = Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers of the request are too many or too long.")
_CUT_OFF = Refusal(HTTPStatus.BAD_REQUEST, "The request was cut off before its end.")
_TOO_SLOW = Refusal(HTTPStatus.REQUEST_TIMEOUT, "The request took too long to arrive; please try again.")


@dataclass(eq=False)
class Arrival:
    """A connection and what has come of its request.

    Fields:
        connection: a blocking socket.
        address: of the client.
        deadline: by `time.monotonic`, for leaving the room.
        data: the head, and perhaps some of the body.
        received_at: when the first byte was seen, seconds since 1970.
        flaw: what to answer if the head is not whole.
        answered: nothing more is expected but the end.
    """

    connection: socket.socket
    address: Any
    deadline: float
    data: bytearray = field(default_factory=bytearray)
    received_at: float = 0.0
    flaw: Refusal | None = None
    answered: bool = False

    def close(self) -> None:
        """Closes the connection; Paste calls this when the request has ended."""
        self.connection.close()


class WaitingRoom:
    """Accepts connections, and hands them over when the head of their request is there.

    Parameters:
        listener: a listening socket; the room closes it in the end.
        hand_over: takes an arrival whose head is whole, or has a flaw.
        seats: how many connections may be in the room; when it is full, the one that has been
            there longest gives way.
        patience: seconds for each, however its bytes are spread over them.
        share: of the connections that come to the listener, if several processes listen.
        elsewhere: says how many connections of this process are not in the room.
    """

    def __init__(
        self,
        listener: socket.socket,
        hand_over: Callable[[Arrival], None],
        seats: int,
        patience: float,
        *,
        share: Share | None = None,
        elsewhere: Callable[[], int] = lambda: 0,
    ) -> None:
        self.seats = seats
        self.patience = patience
        self._listener = listener
        self._hand_over = hand_over
        self._share = share
        self._elsewhere = elsewhere
        self._epoll = select.epoll()
        self._inside: OrderedDict[int, Arrival] = OrderedDict()  # by descriptor, the oldest first
        self._held = 0
        self._returning: deque[Arrival] = deque()
        self._stopping = False
        self._listening = False
        self._listens_from = 0.0
        self._complains_from = 0.0

    def run(self) -> None:
        """Runs the room until `stop`; then closes everything in it, and the listener."""
        self._listener.setblocking(False)
        try:
            while not self._stopping:
                until_listening = self._listens_from - time.monotonic()
                self._listen(until_listening <= 0)
                self._attend(until_listening if 0 < until_listening < _TICK_SECONDS else _TICK_SECONDS)
            self._listen(False)
            self._listener.close()
            for arrival in [arrival for arrival in self._inside.values() if not arrival.data]:
                self._dismiss(arrival)
            end = time.monotonic() + _LAST_CALL_SECONDS
            while self._inside and time.monotonic() < end:
                self._attend(_TICK_SECONDS)
        finally:
            self._listener.close()
            self._epoll.close()  # first: whoever wants to come in from now on is turned away
            for arrival in [*self._inside.values(), *self._returning]:
                arrival.close()

    def stop(self) -> None:
        """Makes `run` return soon."""
        self._stopping = True

    def see_out(self, answered: Arrival) -> None:
        """Takes over a connection that was answered while its client may still be sending.

        Closed at once, it would be reset, and the client might never get to read the answer. So
        what still comes is thrown away for a while ("lingering close", as nginx does).
        """
        connection = socket.socket(fileno=answered.connection.detach())
        arrival = Arrival(connection, answered.address, time.monotonic() + self.patience, answered=True)
        self._take_in(arrival)

    def wait_again(self, arrival: Arrival, data: bytes) -> None:
        """Takes a connection back whose request was answered and that may bring another.

        Parameters:
            arrival: the connection; not to be used afterwards.
            data: what has come of the next request.
        """
        connection = socket.socket(fileno=arrival.connection.detach())
        deadline = time.monotonic() + self.patience
        self._take_in(Arrival(connection, arrival.address, deadline, bytearray(data), time.time() if data else 0.0))

    def _take_in(self, arrival: Arrival) -> None:
        self._returning.append(arrival)
        try:
            self._epoll.register(arrival.connection, select.EPOLLIN)
        except (OSError, ValueError):  # ValueError: the room is closed
            arrival.close()

    def _attend(self, longest: float) -> None:
        """Does what there is to do, or waits for it for at most so many seconds."""
        events = self._epoll.poll(longest)
        while self._returning:
            self._seat(self._returning.popleft())
        if self._share:
            self._share.note(len(self._inside) + self._elsewhere())
            if self._listening and all(descriptor != self._listener.fileno() for descriptor, _ in events):
                self._share.nobody_waits()
        for descriptor, _ in events:
            # One that has given way in this round may have left its number to another, who is then
            # listened to in vain.
            if descriptor in self._inside:
                self._hear(self._inside[descriptor])
            elif descriptor == self._listener.fileno():
                self._accept()
        now = time.monotonic()
        while self._inside and (oldest := self._oldest()).deadline <= now:
            self._dismiss(oldest, _TOO_SLOW)

    def _listen(self, wanted: bool) -> None:
        if wanted and not self._listening:
            self._epoll.register(self._listener, select.EPOLLIN)
        elif self._listening and not wanted:
            self._epoll.unregister(self._listener)
        self._listening = wanted

    def _stop_listening(self, seconds: float) -> None:
        self._listens_from = time.monotonic() + seconds
        self._listen(False)

    def _accept(self) -> None:
        if self._share and (pause := self._share.pause()):
            self._stop_listening(pause)
            return
        try:
            connection, address = self._listener.accept()
        except OSError as error:
            if error.errno in _NO_MORE_FILES:
                # The connection stays in the queue; without a pause we would spin until a file is closed.
                _log.error("no more open files are allowed; raise LimitNOFILE or ulimit -n")
                self._stop_listening(_TICK_SECONDS)
                if self._inside:
                    self._dismiss(self._oldest())
            return
        arrival = Arrival(connection, address, time.monotonic() + self.patience)
        try:
            self._epoll.register(connection, select.EPOLLIN)
        except OSError as error:
            _log.error("a connection cannot be watched: %s", error)
            arrival.close()
        else:
            self._seat(arrival)

    def _seat(self, arrival: Arrival) -> None:
        descriptor = arrival.connection.fileno()
        if descriptor >= 0:
            self._inside[descriptor] = arrival
            self._held += len(arrival.data)
            self._keep_within_limits()

    def _keep_within_limits(self) -> None:
        while len(self._inside) > self.seats or self._held > _MOST_HELD:
            if (now := time.monotonic()) >= self._complains_from:
                self._complains_from = now + _COMPLAINT_SECONDS
                _log.warning("more than %s connections wait; the oldest give way", len(self._inside) - 1)
            self._dismiss(self._oldest())

    def _oldest(self) -> Arrival:
        return next(iter(self._inside.values()))

    def _hear(self, arrival: Arrival) -> None:
        """Reads what has come, and decides."""
        seen = len(arrival.data)
        try:
            data = arrival.connection.recv(LONGEST_HEAD - seen, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:  # reset
            self._dismiss(arrival)
            return
        if not data and not seen:
            self._dismiss(arrival)
        elif not arrival.answered:
            if not seen:
                arrival.received_at = time.time()
            arrival.data += data
            self._held += len(data)
            self._decide(arrival, seen, at_end=not data)

    def _decide(self, arrival: Arrival, seen: int, at_end: bool) -> None:
        if head_length(arrival.data, seen) is not None:
            flaw = None
        elif len(arrival.data) >= LONGEST_HEAD:
            flaw = TOO_LONG
        elif at_end:
            flaw = _CUT_OFF
        else:
            self._keep_within_limits()
            return
        arrival.flaw = flaw
        self._forget(arrival)
        self._hand_over(arrival)

    def _dismiss(self, arrival: Arrival, refusal: Refusal | None = None) -> None:
        """Closes the connection; a client that had begun to speak is told why, if it listens."""
        self._forget(arrival)
        if refusal and arrival.data:
            _log.info("%s refused with %s: %s", arrival.address[0], refusal.status.value, refusal.sentence)
            with contextlib.suppress(OSError):
                arrival.connection.send(refusal.as_bytes(), socket.MSG_DONTWAIT)
        arrival.close()

    def _forget(self, arrival: Arrival) -> None:
        # Not left to close(): a process that is being started may share the socket for a moment.
        with contextlib.suppress(FileNotFoundError):  # `see_out` has not come to it yet
            self._epoll.unregister(arrival.connection)
        del self._inside[arrival.connection.fileno()]
        self._held -= len(arrival.data)


def head_length(data: bytes | bytearray, seen: int = 0) -> int | None:
    """Returns how long the head of a request is, up to its empty line; None if that has not come yet.

    Parameters:
        data: what has come, perhaps with some of the body.
        seen: so many bytes were judged before; looking at all of them each time would cost the square.
    """
    forgiven = _EMPTY_LINE.match(data)  # one before the request (RFC 9112, 2.2)
    start = forgiven.end() if forgiven else 0
    end = _EMPTY_LINE.match(data, start) or _END.search(data, max(start, seen - 2))
    return end.end() if end else None
