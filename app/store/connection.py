"""One TCP or Unix connection to Redis: a queue of commands, a parser of replies.

Replies come in the order of the commands, so a connection keeps its commands in a queue until their replies have come,
whether or not somebody still waits.

Where replicas are asked for, commands go in batches, as a database commits in groups:

    writes …, WAIT ──▶                       everything that comes now waits its turn
              ◀── replies …, replicas        enough: the writes' replies count; else NotReplicated
    next batch, WAIT ──▶

WAIT speaks of all that its connection wrote before, so one decides for a whole batch; and it blocks its connection, so
nothing is lost by holding the next batch back.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, cast

import hiredis

from app.errors import BackendUnavailable, NotReplicated

logger = logging.getLogger(__name__)

Reply = Any
"""What hiredis makes of a reply: bytes, int, None, a list of these, or a hiredis.ReplyError as a value."""

pack_command = cast("Callable[[Sequence[bytes | int | float | str]], bytes]", hiredis.pack_command)

_NOT_ENOUGH: Final = object()


class _Replies:
    """Stands as a future in the queue, once for each of several commands, whose replies come as one list."""

    __slots__ = ("_count", "_future", "_replies")

    def __init__(self, future: asyncio.Future[list[Reply]], count: int) -> None:
        self._future = future
        self._count = count
        self._replies: list[Reply] = []

    def done(self) -> bool:
        return self._future.done()

    def set_result(self, reply: Reply) -> None:
        self._replies.append(reply)
        if len(self._replies) == self._count:
            self._future.set_result(self._replies)

    def set_exception(self, error: BaseException) -> None:
        self._future.set_exception(error)

    def exception(self) -> BaseException | None:
        return self._future.exception()


class Pending:
    """A command that was sent: who waits for its reply, and since when."""

    __slots__ = ("future", "is_write", "sent_at")

    def __init__(self, future: asyncio.Future[Reply] | _Replies, sent_at: float, *, is_write: bool) -> None:
        self.future = future
        self.sent_at = sent_at
        self.is_write = is_write

    def fail(self, error: BaseException) -> None:
        """Give whoever still waits an error instead of a reply."""
        if not self.future.done():
            self.future.set_exception(error)
            # Nobody may be waiting any more, which is no defect.
            self.future.exception()


class Connection(asyncio.Protocol):
    """A connection whose replies count as they come."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[Connection], None]) -> None:
        self._loop = loop
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=_NOT_ENOUGH)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self.pending: deque[Pending] = deque()
        self.is_open = False
        self.identifier = 0
        self.name = b"pagepool-%b" % secrets.token_hex(8).encode()
        self.peer: Any = None
        """The server's address, as the socket tells it."""
        self.unasked: Reply = None
        """What the server said before it was asked anything: that it has clients enough."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, but not by inheritance
        self._transport.set_write_buffer_limits(high=1 << 20)
        self.peer = transport.get_extra_info("peername")
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self.is_open = False
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        reader, pending = self._reader, self.pending
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOT_ENOUGH:
                if not pending:
                    self.unasked = reply
                    self.abort()
                    return
                future = pending.popleft().future
                if not future.done():
                    future.set_result(reply)
        except hiredis.ProtocolError:
            logger.exception("Redis sent what is no reply")
            self.abort()

    def send(self, command: bytes, *, is_write: bool = False) -> asyncio.Future[Reply]:
        """Queue a packed command; it leaves with all others of this tick, in order and in one write."""
        future = self._loop.create_future()
        if not self.is_open:
            return self._refused(future)
        self.pending.append(Pending(future, time.monotonic(), is_write=is_write))
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(command)
        return future

    def send_many(self, commands: bytes, count: int) -> asyncio.Future[list[Reply]]:
        """Queue `count` packed commands that change nothing; the future gives the list of their replies."""
        future = self._loop.create_future()
        if not self.is_open:
            return self._refused(future)
        pending = Pending(_Replies(future, count), time.monotonic(), is_write=False)
        self.pending.extend([pending] * count)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(commands)
        return future

    def _refused(self, future: asyncio.Future[Any]) -> asyncio.Future[Any]:
        """The future of a command that cannot be sent any more."""
        future.set_exception(BackendUnavailable(str(self.unasked or "the connection was lost")))
        # Nobody may be waiting, which is no defect.
        future.exception()
        return future

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and self.is_open:
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    @property
    def unwritten_bytes(self) -> int:
        """Bytes that the kernel has not yet taken."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """Give the connection up, without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()
        self.is_open = False


class ReplicatedConnection(Connection):
    """A connection whose writes count once enough replicas have them."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[Connection], None], replicas: int, milliseconds: int
    ) -> None:
        super().__init__(loop, on_lost)
        self._replicas = replicas
        self._wait_command = pack_command((b"WAIT", replicas, milliseconds))
        self._batch: list[tuple[asyncio.Future[Reply], asyncio.Future[Reply]]] = []
        self._is_waiting = False

    def send(self, command: bytes, *, is_write: bool = False) -> asyncio.Future[Reply]:
        """As a plain connection's; a write's future waits for the replicas, and may raise NotReplicated."""
        reply = super().send(command, is_write=is_write)
        if not is_write or reply.done():
            return reply
        outcome = self._loop.create_future()
        self._batch.append((reply, outcome))
        return outcome

    def _flush(self) -> None:
        if self._is_waiting:
            return
        if self._batch:
            batch, self._batch = self._batch, []
            self._is_waiting = True
            super().send(self._wait_command).add_done_callback(partial(self._end_batch, batch))
        super()._flush()

    def _end_batch(
        self,
        batch: list[tuple[asyncio.Future[Reply], asyncio.Future[Reply]]],
        wait: asyncio.Future[Reply],
    ) -> None:
        self._is_waiting = False
        if self._unsent:
            self._flush()
        replicas = 0 if wait.exception() is not None else wait.result()
        is_replicated = isinstance(replicas, int) and replicas >= self._replicas
        for reply, outcome in batch:
            if reply.done():
                _hand_over(reply, outcome, is_replicated=is_replicated)
            else:
                # The connection was lost: the multiplexer says when this write can do no harm any more.
                reply.add_done_callback(partial(_hand_over, outcome=outcome, is_replicated=False))


def _hand_over(reply: asyncio.Future[Reply], outcome: asyncio.Future[Reply], *, is_replicated: bool) -> None:
    """Tell what became of a write; an error is told as it is, since that write changed nothing or is unknown."""
    error = reply.exception()
    if outcome.done():
        return
    if error is None and (is_replicated or isinstance(reply.result(), hiredis.ReplyError)):
        outcome.set_result(reply.result())
        return
    outcome.set_exception(error or NotReplicated("Too few replicas have confirmed the write in time."))
    # Nobody may be waiting any more, which is no defect.
    outcome.exception()
