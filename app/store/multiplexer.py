"""One connection to Redis that many requests share.

Goals: the commands of all requests in flight leave in one write per tick of the event loop; a reply always reaches the
command that it answers, whatever was cancelled or timed out in between; a write that was answered with an error never
takes effect after that answer. Non-goals: pub/sub, and transactions but for those that leave whole, in one piece.

A command that gets no reply in time dooms the whole connection: what waits on it fails, and a new one is made, which
first has Redis kill the old one.

A write carries a deadline in Redis's own clock, which the script checks (change_chunk.lua). Its failure is reported
only once that deadline has passed, or once Redis has confirmed that the old connection is dead: until then the write
may still take effect.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import hiredis

from app.errors import BackendUnavailable, Overloaded
from app.store.connection import (
    SENT_AT,
    Connection,
    Pending,
    ReplicatedConnection,
    Reply,
    fail,
    pack_command,
)
from app.store.endpoint import Server
from app.store.resp import Piece
from app.tasks import end

__all__ = ["Multiplexer", "Reply", "pack_command"]

logger = logging.getLogger(__name__)

BACKOFF_FIRST_SECONDS: Final = 0.02
BACKOFF_LAST_SECONDS: Final = 0.5
SWEEPS_PER_TIMEOUT: Final = 20
LONGEST_SWEEP_SECONDS: Final = 0.25
CLOCK_SECONDS: Final = 1.0
"""How often Redis is asked for its clock: after a step of either clock, deadlines are right again so soon. The question
also finds out that a connection without traffic is dead, or that a reply answers another command."""

WAIT_SHARE: Final = 0.4
"""Of the timeout, what replicas get to confirm a batch; a write may have to wait for the batch before its own, too."""


class Multiplexer:
    """Keeps one connection to a server, and makes it anew whenever it is lost."""

    def __init__(
        self,
        server: Server,
        *,
        name: str,
        timeout_seconds: float,
        max_unwritten_bytes: int,
        scripts: Sequence[bytes],
        replicas: int = 0,
        after_replies: Sequence[Callable[[], None]] = (),
        after_connecting: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._server = server
        self._name = name
        self._timeout = timeout_seconds
        self._max_unwritten = max_unwritten_bytes
        self._scripts = tuple(scripts)
        self._replicas = replicas
        self._after_replies = after_replies
        self._after_connecting = after_connecting
        self._connection: Connection | None = None
        self._connected = asyncio.Event()
        self._doomed: tuple[int, bytes, Any] | None = None
        self._stranded: list[Pending] = []
        self._stranded_elsewhere_until = 0.0
        self._keeper: asyncio.Task[None] | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._lost = asyncio.Event()
        self._clock_offset = 0.0
        self._clock_due = 0.0
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
        await end(self._keeper)
        if self._connection is not None:
            self._connection.abort()
        await asyncio.sleep(0)
        self._release_stranded()

    @property
    def is_connected(self) -> bool:
        """Whether commands can be sent now."""
        return self._connection is not None

    async def wait_connected(self) -> None:
        """Wait until commands can be sent, for however long that takes."""
        await self._connected.wait()

    def reconnect(self) -> None:
        """Give the connection up and make it anew: the server there is no longer the one to speak to."""
        if self._connection is not None:
            self._connection.abort()

    # Commands

    def ready(self) -> Connection:
        """The connection, to post commands to; who waits for a reply that never comes is given BackendUnavailable.

        Raises:
            BackendUnavailable: there is none.
            Overloaded: Redis does not take what is already queued.
        """
        connection = self._connection
        if connection is None:
            raise BackendUnavailable(f"Redis is out of reach: {self.last_error}.")
        if connection.is_congested:
            raise Overloaded("Redis does not keep up.")
        return connection

    def send(self, command: bytes) -> asyncio.Future[Reply]:
        """Send a packed command that changes nothing; the future gives its reply, error replies as values.

        Raises:
            BackendUnavailable, Overloaded: as `ready`; the future raises the former when no reply comes in time.
        """
        return self.ready().send(command)

    def send_many(self, commands: bytes, count: int) -> asyncio.Future[list[Reply]]:
        """As `send`, for `count` packed commands at once; the future gives the list of their replies."""
        return self.ready().send_many(commands, count)

    def send_write(self, *command: Piece) -> asyncio.Future[Reply]:
        """As `send`, for a command that checks `deadline`: its failure is reported only when it can take no effect.

        Args:
            command: packed, in pieces.
        """
        return self.ready().send(*command, is_write=True)

    def send_transaction(self, commands: Sequence[Piece], count: int) -> asyncio.Future[Reply]:
        """As `send_write`, for MULTI, what is to be done, and EXEC, which are `count`; EXEC's reply counts."""
        return self.ready().send_transaction(commands, count)

    @property
    def has_transactions(self) -> bool:
        """Whether `send_transaction` is for this connection."""
        return self._connection is not None and self._connection.has_transactions

    def give_up_transactions(self, reason: str) -> None:
        """Redis does not let this client make them any more; asked again when it is connected again."""
        connection = self._connection
        if connection is not None and connection.has_transactions:
            connection.has_transactions = False
            logger.warning("Redis's transactions are not used: %s", reason)

    def deadline(self, begun_at: float) -> float:
        """The latest moment for a write to take effect, in microseconds of this server's clock.

        The server's clock has passed it when this process reports the write's failure: the offset is a lower bound.

        Args:
            begun_at: when the write was first sent (time.monotonic); sending it again gains it no time.
        """
        return (begun_at + self._timeout + self._clock_offset) * 1e6

    @property
    def server_time(self) -> float:
        """Seconds of this server's clock, a little late rather than early."""
        return time.monotonic() + self._clock_offset

    # Time

    def _sweep(self) -> None:
        """Doom the connection if its oldest command got no reply in time; release writes that can do no harm now."""
        now = time.monotonic()
        connection = self._connection
        if connection is not None and connection.pending and now - connection.pending[0][SENT_AT] > self._timeout:
            self.last_error = f"no reply within {self._timeout:g} s"
            connection.abort()
        elif connection is not None and connection.is_open and now >= self._clock_due:
            self._ask_clock(connection, now)
        while self._stranded and now - self._stranded[0][SENT_AT] > self._timeout:
            self._fail(self._stranded.pop(0))
        interval = min(self._timeout / SWEEPS_PER_TIMEOUT, LONGEST_SWEEP_SECONDS)
        self._sweeper = self._loop.call_later(interval, self._sweep)

    def _ask_clock(self, connection: Connection, asked_at: float) -> None:
        self._clock_due = asked_at + CLOCK_SECONDS
        reply = connection.send(pack_command((b"TIME",)))
        reply.add_done_callback(partial(self._take_clock, connection, asked_at))

    def _take_clock(self, connection: Connection, asked_at: float, told: asyncio.Future[Reply]) -> None:
        if told.cancelled() or told.exception() is not None or isinstance(told.result(), hiredis.ReplyError):
            return
        try:
            offset = self._offset_now(told.result())
        except (TypeError, ValueError):
            self.last_error = "a reply came that answers another command"
            logger.error("Redis's replies are out of step: connecting anew")  # noqa: TRY400  no traceback helps
            connection.abort()
            return
        # What was long on its way says less than what is known, unless it says that the bound is too low.
        if offset > self._clock_offset or time.monotonic() - asked_at < self._timeout / SWEEPS_PER_TIMEOUT:
            self._clock_offset = offset

    @staticmethod
    def _offset_now(reply: Reply) -> float:
        """How far Redis's clock is ahead of ours at least: Redis read its clock before this moment."""
        seconds, microseconds = reply
        return int(seconds) + int(microseconds) / 1e6 - time.monotonic()

    def _fail(self, pending: Pending) -> None:
        fail(pending[0], BackendUnavailable(f"Redis did not answer: {self.last_error}."))

    def _release_stranded(self) -> None:
        stranded, self._stranded = self._stranded, []
        for pending in stranded:
            self._fail(pending)

    # Connection

    def _on_lost(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = None
            self._connected.clear()
            self._doomed = (connection.identifier, connection.name, connection.peer)
            if not self.last_error.startswith("no reply"):
                self.last_error = "the connection was lost"
            self._lost.set()
        for pending in connection.pending:
            _, _, is_write = pending
            if is_write:
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
            except (OSError, TimeoutError, BackendUnavailable, hiredis.HiredisError, TypeError, ValueError) as error:
                # The last two: replies that are not what Redis answers.
                self.last_error = str(error) or type(error).__name__
                logger.warning("no connection to Redis for %s: %s", self._name, self.last_error)
            except Exception as error:
                # Whatever it was, it must not be the end of all attempts.
                self.last_error = str(error) or type(error).__name__
                logger.exception("Unforeseen failure")
            else:
                backoff = BACKOFF_FIRST_SECONDS
                self.last_error = "connected"
                if time.monotonic() > self._stranded_elsewhere_until:
                    self._release_stranded()
                logger.info("connected to Redis for %s", self._name)
            if not attempted.done():
                attempted.set_result(None)
            if self._connection is not None:
                await self._lost.wait()
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, BACKOFF_LAST_SECONDS)

    def _new_connection(self) -> Connection:
        if not self._replicas:
            return Connection(self._loop, self._on_lost, self._max_unwritten, self._after_replies)
        milliseconds = max(1, int(self._timeout * WAIT_SHARE * 1000))
        return ReplicatedConnection(
            self._loop,
            self._on_lost,
            self._max_unwritten,
            self._after_replies,
            replicas=self._replicas,
            milliseconds=milliseconds,
        )

    async def _connect(self) -> None:
        """Make a connection, have Redis kill its predecessor, and only then let commands in."""
        connection = self._new_connection()
        try:
            await self._server.connect(self._loop, lambda: connection)
            for command in self._server.greeting():
                self._check(await connection.send(pack_command(command)))
            if self._server.must_be_master:
                role, *_ = self._check(await connection.send(pack_command((b"ROLE",))))
                if role != b"master":
                    raise BackendUnavailable("the server is a replica")  # noqa: TRY301  as every other failure
            connection.identifier = self._check(await connection.send(pack_command((b"CLIENT", b"ID"))))
            self._check(await connection.send(pack_command((b"CLIENT", b"SETNAME", connection.name))))
            await self._kill_predecessor(connection)
            connection.has_transactions = await self._has_transactions(connection)
            for script in self._scripts:
                self._check(await connection.send(pack_command((b"SCRIPT", b"LOAD", script))))
            self._clock_offset = self._offset_now(self._check(await connection.send(pack_command((b"TIME",)))))
        except BaseException:
            connection.abort()
            raise
        self._clock_due = time.monotonic() + CLOCK_SECONDS
        if not connection.is_open:
            raise BackendUnavailable("the connection was lost at once")
        self._connection = connection
        self._connected.set()
        for act in self._after_connecting:
            act()

    @staticmethod
    async def _has_transactions(connection: Connection) -> bool:
        """Whether MULTI and EXEC are what they should be: a proxy may not know them, an ACL may not allow them."""
        begun, ended = [await connection.send(pack_command((command,))) for command in (b"MULTI", b"EXEC")]
        if begun == b"OK" and not isinstance(ended, list):
            # Where EXEC is not allowed, Redis has discarded it; where it is not known, it has to be told to.
            await connection.send(pack_command((b"DISCARD",)))
        return begun == b"OK" and isinstance(ended, list)

    async def _kill_predecessor(self, connection: Connection) -> None:
        """After this, nothing that the lost connection sent can run any more, if it was to the same server.

        A Redis that was restarted counts its clients anew, so the identifier alone could name somebody else's.
        """
        if self._doomed is None:
            return
        identifier, name, peer = self._doomed
        if peer != connection.peer:
            # Another server took over. The old one may still run what it was sent, until that is too old for it.
            self._stranded_elsewhere_until = time.monotonic() + self._timeout
        else:
            listed = self._check(await connection.send(pack_command((b"CLIENT", b"LIST", b"ID", identifier))))
            if b"name=%b " % name in listed:
                self._check(await connection.send(pack_command((b"CLIENT", b"KILL", b"ID", identifier))))
        self._doomed = None

    @staticmethod
    def _check(reply: Reply) -> Reply:
        if isinstance(reply, hiredis.ReplyError):
            raise BackendUnavailable(str(reply))
        return reply
