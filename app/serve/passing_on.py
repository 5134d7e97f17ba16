"""The stock HTTP protocol behind the door: it answers the requests that the door declines.

The door keeps the connection; the inner protocol is given bytes, and writes its answers to the same transport. Between
two requests the door may take the connection back, if the inner protocol holds nothing of a next one.

uvicorn's class bounds neither heads nor times, and answers what is no HTTP at once, even before the requests that came
ahead of it. This one does better, by way of the parser's callbacks (their names are httptools') and a few attributes of
uvicorn's; `tests/serve/test_uvicorn_contract.py` says when a version breaks it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.errors import BadRequest, HeadTooLarge, PagepoolError
from app.serve.time_limits import TimeLimits

NO_KEEP_ALIVE_LIMIT_SECONDS: Final = 10**8
"""Given to uvicorn as its keep-alive limit under the door, which has its own."""

_NEVER: Final = float("inf")
_PIECE_BYTES: Final = 8192
"""Bytes parsed at once: each request that begins in them costs a few KiB before it can be held back."""


class Outer(Protocol):
    """What the inner protocol asks of the door."""

    def refuse(self, error: PagepoolError) -> None:
        """Answer something that is no request, and close."""

    def linger(self) -> bool:
        """Close the connection a little later; False: it is to be closed at once."""


class _LingeringTransport:
    """The connection's transport; the door decides how it is closed."""

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], bool]) -> None:
        self._transport = transport
        self._linger = linger
        self._lingers = False

    def close(self) -> None:
        """Close it, or let the door do so a little later."""
        self._lingers = self._lingers or self._linger()
        if not self._lingers:
            self._transport.close()

    def is_closing(self) -> bool:
        """Whether nothing more is to be written."""
        return self._lingers or self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class InnerProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with bounds, and refusals in the form of all other errors."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        limits: TimeLimits,
        max_header_bytes: int,
        outer: Outer,
    ) -> None:
        """The first four as uvicorn gives them; then the bounds, and the door."""
        super().__init__(config, server_state, app_state, loop)
        self._limits = limits
        self._max_header_bytes = max_header_bytes
        self._outer = outer
        self._unparsed = b""
        self._unanswered = 0
        self._is_in_message = False
        self._is_in_head = False
        self._head_bytes = 0
        self._idle_bytes = 0  # bytes since the last one of a body: chunk extensions, trailers
        self._head_began = self._last_data = self._answered = loop.time()
        self._head_fault: PagepoolError | None = None
        self._refusal: PagepoolError | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The door hands the connection over."""
        super().connection_made(cast("asyncio.Transport", _LingeringTransport(transport, self._outer.linger)))

    def data_received(self, data: bytes) -> None:
        """Take more bytes, which may begin and end any number of requests."""
        self._last_data = self.loop.time()
        self._unparsed = self._unparsed + data if self._unparsed else data
        self._parse()

    def _parse(self) -> None:
        """Parse what has come, as far as no request waits for the one before it."""
        data, self._unparsed = self._unparsed, b""
        at = 0
        while at < len(data) and self._refusal is None:
            if self.pipeline:
                self._unparsed = data[at:]
                self.flow.pause_reading()
                return
            piece = data[at : at + _PIECE_BYTES]
            at += len(piece)
            if self._is_in_head:
                self._head_bytes += len(piece)
            elif self._is_in_message:
                self._idle_bytes += len(piece)  # until some of it turns out to be of the body
            try:
                self.parser.feed_data(piece)
            except HttpParserUpgrade as upgrade:
                at += upgrade.args[0] - len(piece)  # no other protocol is spoken here: the next request follows
            except HttpParserError:
                self._end_with(self._head_fault or BadRequest("This is no request of HTTP/1.1."))
            else:
                if self._is_in_head and self._head_bytes > self._max_header_bytes:
                    self._end_with(HeadTooLarge("The request's head is too long."))
                elif self._is_in_message and self._idle_bytes > self._max_header_bytes:
                    self._end_with(HeadTooLarge("What stands between the body's chunks, or after them, is too long."))

    def _end_with(self, error: PagepoolError) -> None:
        """Refuse what has come; the requests ahead of it are answered first, and then there are no more."""
        self._refusal = error
        if self._unanswered and self.cycle.more_body:  # it is the body of a request that was begun
            if self.pipeline:
                self.pipeline.popleft()
                self._unanswered -= 1
            elif self.cycle.response_started:
                self.transport.close()
            else:
                self._outer.refuse(error)
        elif not self._unanswered:
            self._outer.refuse(error)

    # Callbacks of the parser, and of the answers

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._is_in_message = self._is_in_head = True
        self._head_began = self._last_data
        self._head_bytes = self._idle_bytes = 0

    def on_headers_complete(self) -> None:
        """The whole of its head."""
        self._is_in_head = False
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > self._max_header_bytes:
            self._head_fault = HeadTooLarge("The request's head is too long.")
            raise self._head_fault
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # it would take that for its answer (RFC 9110, 10.1.1)
        super().on_headers_complete()
        self._unanswered += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of its head; those behind a chunked body mean nothing here, and would only be kept."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Some of its body."""
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The last byte of its body."""
        self._is_in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request has been answered; the one behind it begins."""
        self._answered = self.loop.time()
        self._unanswered -= 1
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._unparsed:
            self._parse()
        if self._refusal is not None and not self._unanswered:
            self._outer.refuse(self._refusal)

    # For the door

    @property
    def is_idle(self) -> bool:
        """Whether every request that came has been answered, and nothing of a next one is held."""
        return not (self._unanswered or self._is_in_message or self._unparsed or self._refusal)

    @property
    def is_in_body(self) -> bool:
        """Whether the client is in the midst of sending a body."""
        return self._is_in_message and not self._is_in_head

    @property
    def due(self) -> float:
        """When the client will have made it wait for too long."""
        limits = self._limits
        if self.is_in_body:
            # While it is being worked on the application gives up first, with a 408.
            patience = limits.progress + (limits.tick if self._unanswered else 0.0)
            return _NEVER if self.flow.read_paused else self._last_data + patience
        if self._unanswered:
            return _NEVER
        if self._is_in_head:
            return max(self._head_began, self._answered) + limits.header
        return max(self._last_data, self._answered) + limits.keep_alive

    def be_late(self, error: PagepoolError) -> None:
        """The client has made it wait for too long."""
        if self._is_in_head:
            self._outer.refuse(error)
        elif self._unanswered:
            self.transport.abort()
        else:
            self.transport.close()


def stand_for(state: ServerState, door: object, inner: InnerProtocol) -> None:
    """Uvicorn counts and closes connections by these objects: the door stands for its inner protocol."""
    state.connections.discard(inner)
    state.connections.add(cast("HttpToolsProtocol", door))
