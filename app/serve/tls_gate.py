"""TLS before the door: a handshake is counted as a connection, and has its time.

uvicorn, given a certificate, lets the event loop shake hands before any protocol hears of the connection: as many as
come, a minute each. Here the connection comes in plain, and is a `TlsGate` until the handshake is done; then the HTTP
protocol, whichever serves, takes its place.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

from uvicorn.config import Config
from uvicorn.server import ServerState

from app.serve.taskless import TasklessRunner
from app.settings import Settings

Http = Callable[..., asyncio.Protocol]
"""Makes an HTTP protocol as uvicorn does: of its configuration, server state, application state and loop."""

_log = logging.getLogger("pagepool.serve")


class TlsGate(asyncio.Protocol):
    """One connection that has not shaken hands yet."""

    def __init__(
        self,
        entry: TlsEntry,
        *,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """The keywords are uvicorn's, for the HTTP protocol that is made once the handshake is done."""
        self._loop = _loop or asyncio.get_running_loop()
        self._entry = entry
        self._make_http = partial(entry.http, config, server_state, app_state, self._loop)
        self._connections = cast("set[Any]", server_state.connections)
        self._early: list[bytes] = []
        self.transport: asyncio.Transport | None = None
        self._runner = TasklessRunner(self._loop, self._make_way, self._give_up)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come; past the bound it is sent away, without a word: there is no way to say one yet."""
        self.transport = cast("asyncio.Transport", transport)
        if len(self._connections) >= self._entry.max_connections:
            self.transport.abort()
            return
        self._connections.add(self)
        # Without a task: one would begin after uvloop has read the client's first bytes, and they would come here.
        self._runner.run(
            self._loop.start_tls(
                self.transport,
                self,
                self._entry.context,
                server_side=True,
                ssl_handshake_timeout=self._entry.handshake_seconds,
            )
        )

    def _make_way(self, secure: asyncio.Transport | None) -> None:
        """The handshake is done: from here on the HTTP protocol has the connection."""
        self._connections.discard(self)
        if secure is None or secure.is_closing() or self.transport is None:
            return
        http = self._make_http()
        self._entry.keep(http, secure, self.transport)
        secure.set_protocol(http)
        http.connection_made(secure)
        for data in self._early:
            http.data_received(data)

    def _give_up(self, error: BaseException) -> None:
        """It failed, or took too long."""
        self._connections.discard(self)
        if not isinstance(error, OSError):  # those are the client's: what it sent, or left undone
            _log.error("No TLS with a client", exc_info=error)
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """What came with the end of the handshake: the first request."""
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """The client has gone; the handshake ends by itself."""
        self._connections.discard(self)

    def shutdown(self) -> None:
        """Uvicorn ends: nothing was asked on this connection yet."""
        if self.transport is not None:
            self.transport.abort()


class TlsEntry:
    """What uvicorn is given in place of an HTTP protocol: makes a gate for each connection."""

    def __init__(self, http: Http, context: ssl.SSLContext, settings: Settings) -> None:
        """`http` makes the protocol that serves once hands are shaken, which takes `header_timeout` at most."""
        self.http = http
        self.context = context
        self.max_connections = settings.max_connections
        self.handshake_seconds = settings.header_timeout
        self._pairs: WeakKeyDictionary[asyncio.Protocol, tuple[asyncio.Transport, asyncio.Transport]] = (
            WeakKeyDictionary()
        )

    def __call__(self, **of_server: Any) -> asyncio.Protocol:
        """A gate, from what uvicorn makes a protocol of."""
        return TlsGate(self, **of_server)

    def keep(self, http: asyncio.Protocol, secure: asyncio.Transport, plain: asyncio.Transport) -> None:
        """Remember a connection's transports for as long as its protocol lives."""
        self._pairs[http] = (secure, plain)

    def end_goodbyes(self) -> None:
        """End the connections that were closed here, have sent all, and only wait for the client to say goodbye."""
        for secure, plain in list(self._pairs.values()):
            is_sent = not (secure.get_write_buffer_size() or plain.get_write_buffer_size())
            if secure.is_closing() and not plain.is_closing() and is_sent:
                plain.abort()
