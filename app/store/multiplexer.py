"""One connection to Redis that many requests share.

Goals: the commands of all requests in flight leave in one write per tick of the event loop; a reply always reaches the
command that it answers, whatever was cancelled or timed out in between; a write that was answered with an error never
takes effect after that answer. Non-goals: pub/sub, transactions, anything that is not one command and one reply.

Replies come in the order of the commands, so each connection keeps its commands in a queue until their replies have
come, whether or not somebody still waits. A command that gets no reply in time dooms the whole connection: what waits
on it fails, and a new one is made, which first has Redis kill the old one.

A write carries a deadline in Redis's own clock, which the script checks (change_chunk.lua). Its failure is reported
only once that deadline has passed, or once Redis has confirmed that the old connection is dead: until then the write
may still take effect.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis

from app.errors import BackendUnavailable, Overloaded
from app.store.endpoint import Endpoint

logger = logging.getLogger(__name__)

Reply = Any
"""What hiredis makes of a reply: bytes, int, None, a list of these, or a hiredis.ReplyError as a value."""

BACKOFF_FIRST_SECONDS: Final = 0.02
BACKOFF_LAST_SECONDS: Final = 0.5
SWEEPS_PER_TIMEOUT: Final = 20

pack_command = cast("Callable[[Sequence[bytes | int | float | str]], bytes]", hiredis.pack_command)


class _Pending:
    """A command that was sent: who waits for its reply, and since when."""

    __slots__ = ("future", "is_write", "sent_at")

    def __init__(self, future: asyncio.Future[Reply], sent_at: float, *, is_write: bool) -> None:
        self.future = future
        self.sent_at = sent_at
        self.is_write = is_write


class _Connection(asyncio.Protocol):
    """The bytes of one TCP or Unix connection: a queue of commands, a parser of replies."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[_Connection], None]) -> None:
        self._loop = loop
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=_NOT_ENOUGH)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self.pending: deque[_Pending] = deque()
        self.is_open = False
        self.identifier = 0
        self.name = b"pagepool-%b" % secrets.token_hex(8).encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, but not by inheritance
        self._transport.set_write_buffer_limits(high=1 << 20)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self.is_open = False
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        reader, pending = self._reader, self.pending
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOT_ENOUGH:
                future = pending.popleft().future
                if not future.done():
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            logger.exception("Redis sent what is no reply to any command")
            self.abort()

    def send(self, command: bytes, *, is_write: bool = False) -> asyncio.Future[Reply]:
        """Queue a packed command; it leaves with all others of this tick."""
        future = self._loop.create_future()
        self.pending.append(_Pending(future, time.monotonic(), is_write=is_write))
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(command)
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


_NOT_ENOUGH: Final = object()


class Multiplexer:
    """Keeps one connection to an endpoint, and makes it anew whenever it is lost."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        name: str,
        timeout_seconds: float,
        max_unwritten_bytes: int,
        scripts: Sequence[bytes],
        replicas: int = 0,
    ) -> None:
        self._endpoint = endpoint
        self._name = name
        self._timeout = timeout_seconds
        self._max_unwritten = max_unwritten_bytes
        self._scripts = tuple(scripts)
        self._replicas = replicas
        self._connection: _Connection | None = None
        self._doomed: tuple[int, bytes] | None = None
        self._stranded: list[_Pending] = []
        self._keeper: asyncio.Task[None] | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._lost = asyncio.Event()
        self._clock_offset = 0.0
        self.last_error = "not connected yet"

    # Life

    async def start(self) -> None:
        """Begin to connect; returns once the first attempt has ended, well or not."""
        self._loop = asyncio.get_running_loop()
        attempted = self._loop.create_future()
        self._keeper = self._loop.create_task(self._keep_connected(attempted), name=f"redis {self._name}")
        self._sweep()
        await attempted

    async def close(self) -> None:
        """End the connection; what still waits fails."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._connection is not None:
            self._connection.abort()
        await asyncio.sleep(0)
        self._release_stranded()

    @property
    def is_connected(self) -> bool:
        """Whether commands can be sent now."""
        return self._connection is not None

    # Commands

    def send(self, command: bytes) -> asyncio.Future[Reply]:
        """Send a packed command that changes nothing; the future gives its reply, error replies as values.

        The future raises BackendUnavailable when no reply comes in time.

        Raises:
            BackendUnavailable: there is no connection.
            Overloaded: Redis does not take what is already queued.
        """
        connection = self._connection
        if connection is None:
            raise BackendUnavailable(f"Redis is out of reach: {self.last_error}.")
        if connection.unwritten_bytes > self._max_unwritten:
            raise Overloaded("Redis does not keep up.")
        return connection.send(command)

    def send_write(self, command: bytes) -> asyncio.Future[Reply]:
        """As `send`, for a command that checks `deadline`: its failure is reported only when it can take no effect."""
        connection = self._connection
        if connection is None:
            raise BackendUnavailable(f"Redis is out of reach: {self.last_error}.")
        if connection.unwritten_bytes > self._max_unwritten:
            raise Overloaded("Redis does not keep up.")
        return connection.send(command, is_write=True)

    def deadline(self) -> float:
        """The latest moment for a write sent now to take effect, in microseconds of Redis's clock.

        Redis's clock has passed it when this process reports the write's failure: the offset is a lower bound.
        """
        return (time.monotonic() + self._timeout + self._clock_offset) * 1e6

    # Time

    def _sweep(self) -> None:
        """Doom the connection if its oldest command got no reply in time; release writes that can do no harm now."""
        now = time.monotonic()
        connection = self._connection
        if connection is not None and connection.pending and now - connection.pending[0].sent_at > self._timeout:
            self.last_error = f"no reply within {self._timeout:g} s"
            connection.abort()
        while self._stranded and now - self._stranded[0].sent_at > self._timeout:
            self._fail(self._stranded.pop(0))
        self._sweeper = self._loop.call_later(self._timeout / SWEEPS_PER_TIMEOUT, self._sweep)

    def _fail(self, pending: _Pending) -> None:
        if not pending.future.done():
            pending.future.set_exception(BackendUnavailable(f"Redis did not answer: {self.last_error}."))
            # Nobody may be waiting any more, which is no defect.
            pending.future.exception()

    def _release_stranded(self) -> None:
        stranded, self._stranded = self._stranded, []
        for pending in stranded:
            self._fail(pending)

    # Connection

    def _on_lost(self, connection: _Connection) -> None:
        if connection is self._connection:
            self._connection = None
            self._doomed = (connection.identifier, connection.name)
            if not self.last_error.startswith("no reply"):
                self.last_error = "the connection was lost"
            self._lost.set()
        for pending in connection.pending:
            if pending.is_write:
                self._stranded.append(pending)
            else:
                self._fail(pending)
        connection.pending.clear()

    async def _keep_connected(self, attempted: asyncio.Future[None]) -> None:
        backoff = BACKOFF_FIRST_SECONDS
        while True:
            self._lost.clear()
            try:
                async with asyncio.timeout(self._timeout):
                    await self._connect()
            except (OSError, TimeoutError, BackendUnavailable, hiredis.HiredisError) as error:
                self.last_error = str(error) or type(error).__name__
                logger.warning("no connection to Redis for %s: %s", self._name, self.last_error)
            else:
                backoff = BACKOFF_FIRST_SECONDS
                self.last_error = "connected"
                self._release_stranded()
                logger.info("connected to Redis for %s", self._name)
            if not attempted.done():
                attempted.set_result(None)
            if self._connection is not None:
                await self._lost.wait()
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, BACKOFF_LAST_SECONDS)

    async def _connect(self) -> None:
        """Make a connection, have Redis kill its predecessor, and only then let commands in."""
        connection = _Connection(self._loop, self._on_lost)
        try:
            await self._endpoint.connect(self._loop, lambda: connection)
            for command in self._endpoint.greeting():
                self._check(await connection.send(pack_command(command)))
            connection.identifier = self._check(await connection.send(pack_command((b"CLIENT", b"ID"))))
            self._check(await connection.send(pack_command((b"CLIENT", b"SETNAME", connection.name))))
            await self._kill_predecessor(connection)
            for script in self._scripts:
                self._check(await connection.send(pack_command((b"SCRIPT", b"LOAD", script))))
            seconds, microseconds = self._check(await connection.send(pack_command((b"TIME",))))
        except BaseException:
            connection.abort()
            raise
        # Redis read its clock before this moment, so its clock is at least this far ahead of ours.
        self._clock_offset = int(seconds) + int(microseconds) / 1e6 - time.monotonic()
        if not connection.is_open:
            raise BackendUnavailable("the connection was lost at once")
        self._connection = connection

    async def _kill_predecessor(self, connection: _Connection) -> None:
        """After this, nothing that the lost connection sent can run any more.

        A Redis that was restarted counts its clients anew, so the identifier alone could name somebody else's.
        """
        if self._doomed is None:
            return
        identifier, name = self._doomed
        listed = self._check(await connection.send(pack_command((b"CLIENT", b"LIST", b"ID", identifier))))
        if b"name=%b " % name in listed:
            self._check(await connection.send(pack_command((b"CLIENT", b"KILL", b"ID", identifier))))
        self._doomed = None

    @staticmethod
    def _check(reply: Reply) -> Reply:
        if isinstance(reply, hiredis.ReplyError):
            raise BackendUnavailable(str(reply))
        return reply
