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
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, cast

import hiredis

from app.errors import BackendUnavailable, NotReplicated
from app.store.resp import Piece

logger = logging.getLogger(__name__)

Reply = Any
"""What hiredis makes of a reply: bytes, int, None, a list of these, or a hiredis.ReplyError as a value."""

pack_command = cast("Callable[[Sequence[bytes | int | float | str]], bytes]", hiredis.pack_command)

_NOT_ENOUGH: Final = object()


class Receiver(Protocol):
    """Who waits for a reply: a future, or what stands in one's place to spare it."""

    def set_result(self, result: Reply, /) -> None: ...

    def set_exception(self, exception: BaseException, /) -> None: ...


Pending = tuple[Receiver, float, bool]
"""A command that was sent: who waits for its reply, since when (time.monotonic), and whether it is a write."""

SENT_AT: Final = 1
"""The place of the second."""


class _Replies:
    """Receives several replies, and hands them on as one list."""

    __slots__ = ("_count", "_future", "_replies")

    def __init__(self, future: asyncio.Future[list[Reply]], count: int) -> None:
        self._future = future
        self._count = count
        self._replies: list[Reply] = []

    def set_result(self, reply: Reply) -> None:
        self._replies.append(reply)
        if len(self._replies) == self._count:
            self._future.set_result(self._replies)

    def set_exception(self, error: BaseException) -> None:
        fail(self._future, error)


class _Nobody:
    """Receives what nobody wants to know."""

    def set_result(self, reply: Reply) -> None: ...

    def set_exception(self, error: BaseException) -> None: ...


_NOBODY: Final = _Nobody()


def fail(receiver: Receiver, error: BaseException) -> None:
    """Give whoever still waits an error instead of a reply."""
    try:
        receiver.set_exception(error)
    except asyncio.InvalidStateError:
        return  # it was cancelled
    if isinstance(receiver, asyncio.Future):
        receiver.exception()  # nobody may be waiting any more, which is no defect


class Connection(asyncio.Protocol):
    """A connection whose replies count as they come."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_lost: Callable[[Connection], None],
        max_unwritten_bytes: int,
        after_replies: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._loop = loop
        self._on_lost = on_lost
        self._after_replies = after_replies
        self._max_unwritten = max_unwritten_bytes
        self._reader = hiredis.Reader(notEnoughData=_NOT_ENOUGH)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[Piece] = []
        self.pending: deque[Pending] = deque()
        self.is_open = False
        self.is_congested = False
        """Whether the kernel has more bytes yet to take than it may be offered."""
        self.identifier = 0
        self.has_transactions = False
        """Whether the server lets this client make them; whoever has connected finds out."""
        self.name = b"pagepool-%b" % secrets.token_hex(8).encode()
        self.peer: Any = None
        """The server's address, as the socket tells it."""
        self.unasked: Reply = None
        """What the server said before it was asked anything: that it has clients enough."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, but not by inheritance
        self._transport.set_write_buffer_limits(high=self._max_unwritten)
        self.peer = transport.get_extra_info("peername")
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self.is_open = False
        self._on_lost(self)

    def pause_writing(self) -> None:
        self.is_congested = True

    def resume_writing(self) -> None:
        self.is_congested = False

    def data_received(self, data: bytes) -> None:
        next_reply, pending = self._reader.gets, self.pending
        try:
            self._reader.feed(data)
            while (reply := next_reply()) is not _NOT_ENOUGH:
                if not pending:
                    self.unasked = reply
                    self.abort()
                    return
                receiver, _, _ = pending.popleft()
                try:  # noqa: SIM105  contextlib.suppress would cost every reply
                    receiver.set_result(reply)
                except asyncio.InvalidStateError:
                    pass  # it was cancelled
        except hiredis.ProtocolError:
            logger.exception("Redis sent what is no reply")
            self.abort()
        finally:
            for act in self._after_replies:
                act()

    def post(self, receiver: Receiver, command: Sequence[Piece], now: float, *, is_write: bool) -> None:
        """Queue a packed command; it leaves with all others of this tick, in order and in one write.

        Args:
            receiver: gets the reply, or an error; it must not raise anything but InvalidStateError.
            command: one command and no more, in pieces.
            now: time.monotonic, as the caller has just read it.
            is_write: its failure must not be told before it can take no effect.
        """
        if not self.is_open:
            # Not now: the receiver learns of every command's end after it was posted.
            self._loop.call_soon(fail, receiver, self._refusal())
            return
        self.pending.append((receiver, now, is_write))
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += command

    def post_many(self, receiver: Receiver, commands: Sequence[bytes], now: float, *, is_write: bool) -> None:
        """As `post`, of several whose replies go to one receiver; they leave at once."""
        if not self.is_open:
            for _ in commands:
                self._loop.call_soon(fail, receiver, self._refusal())
            return
        self.pending.extend([(receiver, now, is_write)] * len(commands))
        self._unsent += commands
        self._flush()

    def send(self, *command: Piece, is_write: bool = False) -> asyncio.Future[Reply]:
        """As `post`; the future that is given back receives the reply."""
        future = self._loop.create_future()
        self.post(future, command, time.monotonic(), is_write=is_write)
        return future

    def send_transaction(self, commands: Sequence[Piece], count: int) -> asyncio.Future[Reply]:
        """Queue a transaction that checks a deadline, as `send` a write; the future gives the last command's reply.

        Args:
            commands: MULTI, what is to be done, EXEC; packed, in pieces.
            count: how many they are.
        """
        future = self._loop.create_future()
        now = time.monotonic()
        if self.is_open:
            self.pending.extend([(_NOBODY, now, True)] * (count - 1))
        self.post(future, commands, now, is_write=True)
        return future

    def send_many(self, commands: bytes, count: int) -> asyncio.Future[list[Reply]]:
        """Queue `count` packed commands that change nothing; the future gives the list of their replies."""
        future = self._loop.create_future()
        if not self.is_open:
            fail(future, self._refusal())
            return future
        self.pending.extend([(_Replies(future, count), time.monotonic(), False)] * count)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(commands)
        return future

    def _refusal(self) -> BackendUnavailable:
        """What becomes of a command that cannot be sent any more."""
        return BackendUnavailable(str(self.unasked or "the connection was lost"))

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None and self.is_open:
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def abort(self) -> None:
        """Give the connection up, without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()
        self.is_open = False


class ReplicatedConnection(Connection):
    """A connection whose writes count once enough replicas have them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_lost: Callable[[Connection], None],
        max_unwritten_bytes: int,
        after_replies: Sequence[Callable[[], None]] = (),
        *,
        replicas: int,
        milliseconds: int,
    ) -> None:
        super().__init__(loop, on_lost, max_unwritten_bytes, after_replies)
        self._replicas = replicas
        self._wait_command = pack_command((b"WAIT", replicas, milliseconds))
        self._batch: list[tuple[asyncio.Future[Reply], Receiver]] = []
        self._is_waiting = False

    def post(self, receiver: Receiver, command: Sequence[Piece], now: float, *, is_write: bool) -> None:
        """As a plain connection's; who waits for a write waits for the replicas, and may be given NotReplicated."""
        if not is_write or not self.is_open:
            super().post(receiver, command, now, is_write=is_write)
            return
        reply = self._loop.create_future()
        super().post(reply, command, now, is_write=True)
        self._batch.append((reply, receiver))

    def post_many(self, receiver: Receiver, commands: Sequence[bytes], now: float, *, is_write: bool) -> None:
        """As a plain connection's, likewise."""
        for command in commands:
            self.post(receiver, (command,), now, is_write=is_write)

    def _flush(self) -> None:
        if self._is_waiting:
            return
        if self._batch:
            batch, self._batch = self._batch, []
            self._is_waiting = True
            self.send(self._wait_command).add_done_callback(partial(self._end_batch, batch))
        super()._flush()

    def _end_batch(
        self,
        batch: list[tuple[asyncio.Future[Reply], Receiver]],
        wait: asyncio.Future[Reply],
    ) -> None:
        self._is_waiting = False
        if self._unsent:
            self._flush()
        replicas = 0 if wait.exception() is not None else wait.result()
        is_replicated = isinstance(replicas, int) and replicas >= self._replicas
        for reply, receiver in batch:
            if reply.done():
                _hand_over(reply, receiver, is_replicated=is_replicated)
            else:
                # The connection was lost: the multiplexer says when this write can do no harm any more.
                reply.add_done_callback(partial(_hand_over, receiver=receiver, is_replicated=False))
        for act in self._after_replies:
            act()


def _hand_over(reply: asyncio.Future[Reply], receiver: Receiver, *, is_replicated: bool) -> None:
    """Tell what became of a write; an error is told as it is, since that write changed nothing or is unknown."""
    error = reply.exception()
    if error is None and (is_replicated or isinstance(reply.result(), hiredis.ReplyError)):
        with contextlib.suppress(asyncio.InvalidStateError):
            receiver.set_result(reply.result())
    else:
        fail(receiver, error or NotReplicated("Too few replicas have confirmed the write in time."))
