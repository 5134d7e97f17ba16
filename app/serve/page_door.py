"""The protocol door's short way: loads and stores of single pages, which are nearly all requests.

It takes what it knows byte for byte: a GET or PUT of one page, whole in what has just come, under a block of header
fields that this worker has read before. Such a request makes no object but its answer: the connection itself receives
Redis's reply. Every other request, and what the short way leaves undone, goes through `Door`; the answers are the same.
"""

from __future__ import annotations

import re
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from app.api.page_calls import LOAD, STORE, Call, PageOperation, store_begun
from app.page.address import MAX_TYPE, offset_limit
from app.serve.door import Door, Phase
from app.telemetry_cells import REQUESTS_IN_FLIGHT

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from app.pool.short_way import BegunStore
    from app.store.connection import Reply

_match: Final = re.compile(rb"(GET|PUT) /v1/pages/(0|[1-9][0-9]{0,9})/(0|[1-9][0-9]{0,18}) HTTP/1\.1\r\n").match
_HEAD: Final = Phase.HEAD
_CALL: Final = Phase.CALL
_NEVER: Final = float("inf")


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
        self._way = context.pool.short_way
        self._ends = context.short_ends
        self._keep_alive = context.limits.keep_alive
        self._page_size = context.pool.page_size
        self._offset_limit = offset_limit(self._page_size)
        self._goes_short = not context.must_look_closer
        self._begun: BegunStore | None = None
        self._type = self._offset = 0
        self._sent_at = 0.0

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if (
            self._phase is not _HEAD
            or self._buffer
            or self._write_paused
            or not self._goes_short
            or not self._begin_short(data)
        ):
            super().data_received(data)

    def _begin_short(self, data: bytes) -> bool:
        """Begin the request that has just come; False: nothing was done, it is for the long way."""
        match = _match(data)
        if match is None or self._is_closing:
            return False
        context = self._context
        method, type_, offset = match.groups()
        if method == b"GET":
            fields = context.heads.blocks.get(data[match.end() :])
            if fields is None or not fields.is_plain_load:
                return False
            body = None
        else:
            body_at = data.find(b"\r\n\r\n", match.end()) + 4
            fields = context.heads.blocks.get(data[match.end() : body_at])
            if fields is None or not fields.is_plain_store or len(data) - body_at != self._page_size:
                return False
            body = data[body_at:]
        self._type, self._offset = int(type_), int(offset)
        is_address = self._type <= MAX_TYPE and self._offset < self._offset_limit
        goes_long = body is None and self._type in self._way.expiring
        if not is_address or goes_long or not context.in_flight.try_enter(self._page_size):
            return False
        context.cells[REQUESTS_IN_FLIGHT] += 1.0
        self._held = self._page_size
        self._fields = fields
        self._phase = _CALL
        self._due = _NEVER
        self._started = now = monotonic()
        if body is not None:
            self._begin_store(body, now)
            return True
        self._begun = None
        self._sent_at = now
        try:
            self._way.begin_load(self._type, self._offset, self, now)
        except Exception as error:  # noqa: BLE001  _finish_with tells apart what was foreseen
            self._fail(error, LOAD)
        return True

    def _run(self, body: bytes) -> None:
        """Do what is asked, now that the body is whole: many clients send it behind the head, not with it."""
        call = self._call
        if call.operation is not STORE or not self._fields.is_plain_store or not self._goes_short:
            super()._run(body)
            return
        self._type, self._offset = call.type, call.offset
        self._phase = _CALL
        self._due = _NEVER
        self._begin_store(body, monotonic())

    def _begin_store(self, body: bytes, now: float) -> None:
        self._sent_at = now
        try:
            self._begun = self._way.begin_store(self._type, self._offset, body, self, now)
            if self._begun is None:
                self._run_long(STORE, body)
        except Exception as error:  # noqa: BLE001  _finish_with tells apart what was foreseen
            self._fail(error, STORE)

    # Redis's reply: the connection stands where a future would (app.store.connection.Receiver).

    def set_result(self, reply: Reply, /) -> None:
        """It has come."""
        begun = self._begun
        try:
            if begun is None:
                self._end_load(reply)
            else:
                self._end_store(begun, reply)
        except Exception as error:  # noqa: BLE001  as above; Redis's connection must not suffer from it
            self._fail(error, LOAD if begun is None else STORE)

    def set_exception(self, error: BaseException, /) -> None:
        """None will come."""
        begun = self._begun
        if begun is not None:
            self._way.fail_store(begun)
        self._fail(error, LOAD if begun is None else STORE)

    def _end_load(self, reply: Reply) -> None:
        page = self._way.end_load(self._type, self._offset, reply, monotonic() - self._sent_at)
        if page is None:
            self._run_long(LOAD, b"")
            return
        data, digest, kind = page
        heads = self._context.short_heads
        if heads.made_for is not self._server_state.default_headers:
            heads = self._context.renew_short_heads(self._server_state.default_headers)
        request_id = heads.next_id() if self._fields.request_id is None and not self._is_closing else self._last_line()
        parts = (heads.loaded, b"%016x" % digest, heads.loaded_ends[kind], request_id, data)
        self._end_short(b"".join(parts), self._ends.loaded)

    def _end_store(self, begun: BegunStore, reply: Reply) -> None:
        if not self._way.end_store(begun, reply, monotonic() - self._sent_at):
            self._call = self._as_call(STORE)
            self._runner.run(store_begun(self._context.pool, self._call, begun[0], self._sent_at))
            return
        kind, digest, _ = begun[0]
        heads = self._context.short_heads
        if heads.made_for is not self._server_state.default_headers:
            heads = self._context.renew_short_heads(self._server_state.default_headers)
        request_id = heads.next_id() if self._fields.request_id is None and not self._is_closing else self._last_line()
        parts = (heads.stored, b"%016x" % digest, heads.stored_ends[kind], request_id)
        self._end_short(b"".join(parts), self._ends.stored)

    def _last_line(self) -> bytes:
        request_id = self._context.request_ids.choose(self._fields.request_id)
        return request_id + (b"\r\nconnection: close\r\n\r\n" if self._is_closing else b"\r\n\r\n")

    def _end_short(self, answer: bytes, ended: list[float]) -> None:
        transport = self._transport
        if not transport.is_closing():
            transport.write(answer)
        now = monotonic()
        ended.append(now - self._started)
        self._phase = _HEAD
        if not self._write_paused or transport.is_closing():
            self._held = None
            self._due = now + self._keep_alive
        else:
            self._ends.kept += 1
        if self._is_closing:
            transport.close()
        elif self._buffer:
            self._advance()

    # The long way

    def _as_call(self, operation: PageOperation) -> Call:
        call = Call(operation, str(self._type), str(self._offset), b"", self._fields.head)
        call.admit(self._context.pool)
        return call

    def _run_long(self, operation: PageOperation, body: bytes) -> None:
        self._call = self._as_call(operation)
        self._runner.run(self._call.run(self._context.pool, body))

    def _fail(self, error: BaseException, operation: PageOperation) -> None:
        self._call = self._as_call(operation)
        self._finish_with(error)
