"""Accepting beside other workers: who holds the fewest connections takes the next.

Every worker waits on the same listening socket, and each client wakes them all. An event loop left to itself takes all
that wait at once: of 32 connections that a client opened together, one of two workers got 27 to 32. Connections to a
page server are few and live long, so its fellow stood idle for as long as they did.

Here a worker that holds more than another lets that one go first, and takes what is still there a moment later: so
nobody waits for a worker that is busy, stopped or dead. The kernel's own way, SO_REUSEPORT, deals connections out by
their addresses' hash (of four, all go to one of two workers every eighth time), leaves those of a worker that starts
again waiting for it, and is not there for Unix sockets.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, Final

from app.telemetry import Telemetry
from app.telemetry_cells import CONNECTIONS_HELD

PATIENCE_SECONDS: Final = 0.001
"""How long the others have to go first. An idle one takes a tenth of that; one at work on an extent, a third."""

RETRY_SECONDS: Final = 1.0
"""Where none can be had, as with too many files open: after a while there may be fewer."""

AT_ONCE: Final = 16
"""In one tick; requests go in between."""

_TOLERATED_SHARE: Final = 8
"""An eighth more than another holds counts as equal: a thousand clients that come together are not dealt one by one."""

_log = logging.getLogger("pagepool.serve")


class Connections(set[Any]):
    """The connections that a worker holds, as uvicorn keeps them; each change is told to the other workers."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__()
        self._telemetry = telemetry
        self._opening = 0
        self._publish()

    def add(self, connection: Any) -> None:
        """A connection has begun."""
        super().add(connection)
        self._publish()

    def discard(self, connection: Any) -> None:
        """A connection has ended."""
        super().discard(connection)
        self._publish()

    def begin(self) -> None:
        """A connection is accepted, and will be here in a moment."""
        self._opening += 1
        self._publish()

    def begun(self) -> None:
        """It is here, or was lost."""
        self._opening -= 1
        self._publish()

    @property
    def are_many(self) -> bool:
        """Whether another worker should go first."""
        least = min(self._telemetry.column(CONNECTIONS_HELD))
        return len(self) + self._opening > least + least // _TOLERATED_SHARE

    def _publish(self) -> None:
        self._telemetry.cells[CONNECTIONS_HELD] = len(self) + self._opening


class Acceptor:
    """Accepts a worker's share of the connections to one listening socket; uvicorn closes it like an asyncio server."""

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        connections: Connections,
    ) -> None:
        """Begin, on the running loop. The protocols that are made add themselves to `connections`."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._make_protocol = make_protocol
        self._connections = connections
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._is_closed = False
        listener.setblocking(False)
        self._loop.add_reader(listener, self._take_share)

    def close(self) -> None:
        """Accept no more. May be repeated."""
        if not self._is_closed:
            self._is_closed = True
            if self._pause is None:
                self._loop.remove_reader(self._listener)
            else:
                self._pause.cancel()

    async def wait_closed(self) -> None:
        """Return once no connection is on its way to its protocol."""
        if self._opening:
            await asyncio.wait(self._opening)

    def _take_share(self) -> None:
        """Clients wait."""
        for _ in range(AT_ONCE):
            if self._connections.are_many:
                self._wait(PATIENCE_SECONDS)
                return
            if not self._accept():
                return

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._take_share)
        self._accept()

    def _accept(self) -> bool:
        """Take one connection, if one waits."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            _log.error("A connection cannot be accepted: %s", error.strerror)
            self._wait(RETRY_SECONDS)
            return False
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.begin()
        opening = self._loop.create_task(self._open(connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        return True

    async def _open(self, connection: socket.socket) -> None:
        try:
            transport, _ = await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except OSError as error:
            _log.info("A connection was lost as it began: %s", error.strerror)
            connection.close()
            return
        finally:
            self._connections.begun()
        if self._is_closed:  # its protocol was not there yet when uvicorn told all to end
            transport.abort()
