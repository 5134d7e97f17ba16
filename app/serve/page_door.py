"""The protocol door's short way: loads and stores of single pages, which are nearly all requests.

It takes what it knows byte for byte: a GET or PUT of one page, whole in what has just come, under a block of header
fields that this worker has read before. Such a request makes no object but its answer, and what comes to all
connections in one tick of the event loop goes through each step together (app/serve/rounds.py). Every other request,
and what the short way leaves undone, goes through `Door`; the answers are the same.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from app.api.page_calls import STORE, Call, PageOperation, store_begun
from app.serve.door import Door, Phase

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from app.api.token_entries import Token
    from app.pool.short_way import Begun
    from app.serve.request_head import FieldBlock
    from app.serve.short_heads import DefaultHeaders

logger = logging.getLogger("pagepool.serve")

_HEAD: Final = Phase.HEAD
_CALL: Final = Phase.CALL


class PageDoor(Door):
    """One client connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        context = self._context
        self.is_given_up = False
        self._rounds = context.rounds
        self._arrived = context.rounds.arrived
        self._page_size = context.pool.page_size
        self._keep_alive = context.limits.keep_alive
        self._goes_short = not context.access_log  # each line of it takes what the short way spares itself

    def data_received(self, data: bytes) -> None:
        """Bytes have come: with all others of this tick they are looked at when the last have."""
        if self._phase is _HEAD and not self._buffer and not self._write_paused and self._goes_short:
            self._phase = _CALL
            if not self._arrived:
                self._rounds.begin_soon(self._loop)
            self._arrived.append((self, data))
        else:
            super().data_received(data)

    def _run(self, body: bytes) -> None:
        """Do what is asked, now that the body is whole: many clients send it behind the head, not with it."""
        call = self._call
        if call.operation is not STORE or not self._fields.is_plain_store or not self._goes_short:
            super()._run(body)
            return
        self._phase = _CALL
        self._rounds.add_store((call.type, call.offset, body, (self, self._fields, self._token)), self._loop)

    # What a round does with a connection

    @property
    def default_headers(self) -> DefaultHeaders:
        """What uvicorn wants added to every answer."""
        return self._server_state.default_headers

    def go_long(self, data: bytes) -> None:
        """What has come is not for the short way, or not all of it."""
        self._phase = _HEAD
        data, self._buffer = data + self._buffer, b""
        try:
            super().data_received(data)
            if self.is_closing:
                self.shutdown()  # it was told to while the round had it
        except Exception:
            logger.exception("Unforeseen failure")
            self.abort()

    def answer(self, answer: bytes, now: float) -> bool:
        """Send the answer; whether it is on its way, so that nothing is held for it any more."""
        transport = self.transport
        if not transport.is_closing():
            transport.write(answer)
        self._phase = _HEAD
        self._held = None
        is_sent = not self._write_paused or transport.is_closing()
        if is_sent:
            self._due = now + self._keep_alive
        if self.is_closing:
            transport.close()
        elif self._buffer:
            self._advance()
        return is_sent

    def keep(self, token: Token | None) -> None:
        """The answer has yet to be taken: until then the request counts as in flight."""
        self._held = self._page_size
        self._token = token

    def last_line(self, fields: FieldBlock) -> bytes:
        """The end of the answer's head, from the request's id on, where it takes more than a fresh one."""
        request_id = self._context.request_ids.choose(fields.request_id)
        return request_id + (b"\r\nconnection: close\r\n\r\n" if self.is_closing else b"\r\n\r\n")

    def abort(self) -> None:
        """Close at once: the request cannot be answered, and is counted no longer."""
        self.is_given_up = True
        self._held = None
        self.transport.abort()

    # The long way, of a request that is counted as in flight

    def begin_long(self, fields: FieldBlock, token: Token | None, began: float) -> None:
        """What the long way wants to know."""
        self.keep(token)
        self._fields = fields
        self._started = began

    def run_long(self, operation: PageOperation, type_: int, offset: int, body: bytes) -> None:
        """Answer as any other request is answered."""
        self._call = self._as_call(operation, type_, offset)
        self._runner.run(self._call.run(self._context.pool, body))

    def store_on(self, type_: int, offset: int, begun: Begun) -> None:
        """Store what was begun and changed nothing."""
        self._call = self._as_call(STORE, type_, offset)
        self._runner.run(store_begun(self._context.pool, self._call, begun.page, begun.sent_at))

    def fail(self, operation: PageOperation, type_: int, offset: int, error: BaseException) -> None:
        """Answer with an error."""
        self._call = self._as_call(operation, type_, offset)
        self._finish_with(error)

    def _as_call(self, operation: PageOperation, type_: int, offset: int) -> Call:
        call = Call(operation, str(type_), str(offset), b"", self._fields.head)
        call.admit(self._context.pool)
        return call
