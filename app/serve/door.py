"""The protocol door: plain page requests, answered without an ASGI scope and without a task.

It is the HTTP protocol class that `pagepool serve` gives to uvicorn. It answers what `request_head` understands through
the same page core as the ASGI routes, and hands the bytes of every other request, as they came, to a stock protocol on
the same connection until that has answered. Either way requests are answered in order, one at a time; flow control,
keep-alive, time limits and graceful shutdown are the door's business.

    HEAD ── plain ──▶ BODY ──▶ CALL ── answered ──▶ HEAD
      └── not plain ──▶ PASSED ── uvicorn has answered ──▶ HEAD
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from app.api.answer import Answer
from app.api.page_calls import INSPECT
from app.errors import InternalError, Overloaded, PagepoolError, RequestTimeout
from app.serve.passing_on import InnerProtocol, stand_for
from app.serve.request_head import STORES, fault_of_unfinished_head, with_known_method
from app.serve.taskless import TasklessRunner
from app.telemetry_cells import CONNECTIONS, OVERLOADED, REQUESTS_IN_FLIGHT

if TYPE_CHECKING:
    from app.api.token_entries import Token
    from app.serve.door_context import DoorContext

logger = logging.getLogger("pagepool.serve")

_NEVER: Final = float("inf")
_JOINED_BYTES: Final = 64 << 10
"""Answers up to this size leave in one piece with their head."""
_MOST_AT_ONCE_BYTES: Final = 64 << 10
"""A piece of a body from this size on, but for the one behind the head, is the last that is read in its tick: uvloop
would read on as long as there is more, 8 MB and a millisecond, while small requests wait."""
LINGER_SECONDS: Final = 5.0
"""How long a client may go on sending what was refused, before its connection is reset after all."""
_READ_AHEAD_BYTES: Final = 256 << 10
"""What a client may send ahead of its answers before it is no longer read from."""


class Phase(Enum):
    """What the connection waits for."""

    HEAD = "a request's head"
    BODY = "the rest of a request's body"
    CALL = "the page core"
    PASSED = "uvicorn"
    LINGER = "the end of a body that nobody wants"


class Door(asyncio.Protocol):
    """One client connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._context: DoorContext = app_state["door"]
        self._inner: InnerProtocol | None = None
        self._phase = Phase.HEAD
        self._buffer = b""
        self._body: list[bytes] = []
        self._awaited = 0
        self._held: int | None = None  # bytes that the request, or its unsent answer, counts as in flight
        self._token: Token | None = None
        self._runner = TasklessRunner(self._loop, self._finish, self._finish_with)
        self._is_advancing = False
        self.is_closing = False
        self._write_paused = False
        self._read_paused = False
        self._due = _NEVER
        self._unsent_at_check = 0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self.transport = cast("asyncio.Transport", transport)
        self._server_state.connections.add(cast("Any", self))
        self._context.cells[CONNECTIONS] += 1
        self._due = self._loop.time() + self._context.limits.header
        self._timer = self._loop.call_later(self._context.limits.tick, self._check_time)
        if len(self._server_state.connections) > self._context.max_connections:
            self.refuse(Overloaded("The service holds as many connections as it may."))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """The client has gone, or was sent away."""
        self._server_state.connections.discard(cast("Any", self))
        self._context.cells[CONNECTIONS] -= 1
        self.is_closing = True
        self._timer.cancel()
        if self._inner is not None:
            # Without the error: only then does uvicorn give up its timer.
            self._inner.connection_lost(None)
        if self._phase is not Phase.CALL:
            self._leave()
        self._buffer = b""
        self._body = []

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        phase = self._phase
        if phase is Phase.BODY:
            self._take_body(data)
            return
        if phase is Phase.PASSED:
            if self._inner is not None and not self._inner.is_idle:
                self._inner.data_received(data)
                return
            phase = self._phase = Phase.HEAD
            self._due = _NEVER
        elif phase is Phase.LINGER:
            return
        self._buffer = self._buffer + data if self._buffer else data
        if phase is Phase.HEAD and not self._write_paused:
            self._advance()
        elif len(self._buffer) > _READ_AHEAD_BYTES and not self._read_paused:
            self._read_paused = True
            self.transport.pause_reading()

    def eof_received(self) -> None:
        """A client that sends no more gets no more either: the transport closes."""

    def pause_writing(self) -> None:
        """The client does not take its answers."""
        self._write_paused = True
        self._unsent_at_check = self.transport.get_write_buffer_size()
        self._due = self._loop.time() + self._context.limits.progress
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client took them."""
        self._write_paused = False
        if self._inner is not None:
            self._inner.resume_writing()
        if self._phase is Phase.HEAD:
            self._leave()
            self._due = self._loop.time() + self._context.limits.keep_alive
            self._advance()

    def shutdown(self) -> None:
        """Uvicorn ends: finish the request that is being worked on, then close."""
        self.is_closing = True
        if self._phase is Phase.PASSED and self._inner is not None:
            self._inner.shutdown()
        elif self._phase in {Phase.HEAD, Phase.LINGER}:
            self.transport.close()

    # Requests

    def _advance(self) -> None:
        """Begin whatever requests the buffer holds, one after another."""
        if self._is_advancing:
            return
        self._is_advancing = True
        try:
            while self._phase is Phase.HEAD and self._buffer and not self._write_paused:
                if self.transport.is_closing() or not self._begin(self._buffer):
                    break
        finally:
            self._is_advancing = False
        if len(self._buffer) <= _READ_AHEAD_BYTES:
            self._read_on()

    def _read_on(self) -> None:
        """Read again, if that was paused."""
        if self._read_paused and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()

    def _begin(self, buffer: bytes) -> bool:
        """Begin the request that the buffer begins with; False if its head has not come whole, or is not for here."""
        head_end = buffer.find(b"\r\n\r\n")
        if not 0 < head_end <= self._context.max_header_bytes:
            return self._await_head(buffer)
        plain = self._context.heads.read_request(buffer, head_end)
        if plain is None:
            return self._pass_on()
        self._started = monotonic()
        self._call, self._fields, self._token = call, fields, token = plain
        has_body = call.operation in STORES
        rest = buffer[head_end + 4 :]
        refusal = self._context.enter(call, token)
        if refusal is not None:
            if has_body:
                return self._pass_on()  # it is refused there again, and the body dealt with
            self._context.cells[OVERLOADED] += isinstance(refusal, Overloaded)
            self._buffer = rest
            self._finish_with(refusal)
            return True
        self._held = call.held_bytes
        if has_body:
            self._buffer = b""
            self._phase = Phase.BODY
            self._awaited = fields.body_length
            self._take_body(rest)
        else:
            self._buffer = rest
            self._run(b"")
        return True

    def _await_head(self, buffer: bytes) -> bool:
        """Wait for the rest of a head, unless it can be none; True: only empty lines before it were in the way."""
        self._buffer = rest = buffer.lstrip(b"\r\n")
        if len(rest) != len(buffer):
            return bool(rest)
        fault = fault_of_unfinished_head(rest, self._context.max_header_bytes)
        if fault is not None:
            self.refuse(fault)
        self._due = min(self._due, self._loop.time() + self._context.limits.header)
        return False

    def _take_body(self, data: bytes) -> None:
        length = len(data)
        if length < self._awaited:
            if length:
                self._body.append(data)
                self._awaited -= length
                if length >= _MOST_AT_ONCE_BYTES and not self._read_paused:
                    self._read_paused = True
                    self.transport.pause_reading()
                    self._loop.call_soon(self._read_on)
            self._due = self._loop.time() + self._context.limits.progress
            return
        if length > self._awaited:
            self._buffer = data[self._awaited :]
            data = data[: self._awaited]
        body = b"".join((*self._body, data)) if self._body else data
        self._body = []
        self._run(body)

    def _run(self, body: bytes) -> None:
        self._phase = Phase.CALL
        self._runner.run(self._call.run(self._context.pool, body))

    def _pass_on(self) -> bool:
        """Let uvicorn answer the request that the buffer begins with."""
        if self._inner is None:
            of_server = (self._config, self._server_state, self._app_state, self._loop)
            limits, most = self._context.limits, self._context.max_header_bytes
            self._inner = InnerProtocol(*of_server, limits=limits, max_header_bytes=most, outer=self)
            self._inner.connection_made(self.transport)
            stand_for(self._server_state, self, self._inner)
        self._phase = Phase.PASSED
        self._read_on()  # before the inner protocol has reasons of its own not to
        data, self._buffer = with_known_method(self._buffer), b""
        self._inner.data_received(data)
        return False

    # Answers

    def _finish(self, answer: Answer) -> None:
        request_id = self._context.request_ids.choose(self._fields.request_id)
        closes = self.is_closing or not self._fields.keeps_alive
        head = self._context.render_answer(answer, self._server_state.default_headers, request_id, closes=closes)
        self._send(answer.status, head, answer.body, request_id, closes=closes)

    def _finish_with(self, error: BaseException) -> None:
        request_id = self._context.request_ids.choose(self._fields.request_id)
        if not isinstance(error, PagepoolError):
            logger.error("Unforeseen failure", exc_info=error, extra={"request_id": request_id.decode()})
            error = InternalError()
        operation = self._call.operation
        closes = self.is_closing or error.close_connection or not self._fields.keeps_alive
        status, head, body = self._context.render_problem(
            error, self._server_state.default_headers, request_id, is_store=operation in STORES, closes=closes
        )
        self._send(status, head, b"" if operation is INSPECT else body, request_id, closes=closes)

    def _send(self, status: int, head: bytes, body: bytes, request_id: bytes, *, closes: bool) -> None:
        transport = self.transport
        if self._held is not None:
            self._context.cells[REQUESTS_IN_FLIGHT] -= 1
        if not transport.is_closing():
            if len(body) <= _JOINED_BYTES:
                transport.write(head + body)
            else:
                transport.writelines((head, body))
        self._context.observe(self._call, self._token, status, monotonic() - self._started, request_id)
        self._phase = Phase.HEAD
        if not self._write_paused or transport.is_closing():
            self._leave()
            self._due = self._loop.time() + self._context.limits.keep_alive
        if closes:
            transport.close()
        elif self._buffer:
            self._advance()

    def _leave(self) -> None:
        """What was held is held no longer."""
        if self._held is not None:
            if self._phase is Phase.BODY:
                self._context.cells[REQUESTS_IN_FLIGHT] -= 1
            self._context.leave(self._held, self._token)
            self._held = None

    def refuse(self, error: PagepoolError) -> None:
        """Answer something that is no request, or a connection too many, and close."""
        request_id = self._context.request_ids.choose(None)
        _, head, body = self._context.render_problem(
            error, self._server_state.default_headers, request_id, is_store=False, closes=True
        )
        self.transport.write(head + body)
        self.is_closing = True
        self.transport.close()

    def linger(self) -> bool:
        """Go on reading for a while behind an answer that came before the end of its request's body.

        To close at once would reset the connection, and a client that sends all before it reads would never see the
        answer (RFC 9112, 9.6). Over TLS, which has no half of a connection, that is how it is.
        """
        transport = self.transport
        if self._inner is None or not self._inner.is_in_body or transport.is_closing() or not transport.can_write_eof():
            return False
        self._phase = Phase.LINGER
        self._due = self._loop.time() + LINGER_SECONDS
        transport.write_eof()
        transport.resume_reading()
        return True

    # Time

    def _check_time(self) -> None:
        """Once a tick: send those away who make no progress."""
        now = self._loop.time()
        self._timer = self._loop.call_later(self._context.limits.tick, self._check_time)
        if self._write_paused:
            self._check_unsent(now)
        elif self._phase is Phase.PASSED and self._inner is not None:
            if now >= self._inner.due:
                self._inner.be_late(RequestTimeout("The request made no progress."))
        elif now < self._due or self._phase is Phase.CALL:
            return
        elif self._phase is Phase.BODY:
            self._body = []
            self._finish_with(RequestTimeout("The body made no progress."))
        elif self._buffer:
            self.refuse(RequestTimeout("The request's head made no progress."))
        else:
            self.transport.close()

    def _check_unsent(self, now: float) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent < self._unsent_at_check:
            self._unsent_at_check = unsent
            self._due = now + self._context.limits.progress
        elif now >= self._due:
            self.transport.abort()
