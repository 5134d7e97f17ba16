"""What comes to all connections of a worker in one tick, served together: a step at a time, not a request at a time.

    PageDoor.data_received ×n ──▶ round: read heads ──▶ ShortWay.load, .store ──▶ Redis, one write
    Redis's replies, as they come ──▶ answers ──▶ PageDoor.answer ×n

A step's code and data stay in the processor's caches from one request to the next, and what is the same for all of them
(the time, admission, counting, the heads of the answers) is done once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from app.api.page_calls import LOAD, STORE, PageOperation
from app.api.token_entries import Token
from app.page.address import MAX_TYPE, offset_limit
from app.pool.short_way import Begun, Found
from app.serve.request_head import FieldBlock, HeadReader
from app.serve.short_heads import ShortHeads
from app.telemetry_cells import REQUESTS_IN_FLIGHT, Operation, request_series

if TYPE_CHECKING:
    import asyncio

    from app.serve.page_door import PageDoor
    from app.wiring import ProcessContext

logger = logging.getLogger("pagepool.serve")

_match: Final = re.compile(rb"(GET|PUT) /v1/pages/(0|[1-9][0-9]{0,9})/(0|[1-9][0-9]{0,18}) HTTP/1\.1\r\n").match
_ENDED: Final = {LOAD: request_series(Operation.LOAD, 200), STORE: request_series(Operation.STORE, 204)}
_MOST: Final = 64
"""Requests in a round: while they are read, Redis waits for their commands, and everybody else for the loop."""

Arrived = tuple["PageDoor", bytes]
"""What has come, and to which connection."""
Asked = tuple[int, int, bytes, tuple["PageDoor", FieldBlock, Token | None]]
"""A request of the short way: type, offset, body, and who asks under which header fields and with which token."""


class Rounds:
    """The rounds of one worker."""

    def __init__(self, process: ProcessContext, reader: HeadReader, heads: ShortHeads) -> None:
        self._way = process.pool.short_way
        self._in_flight = process.in_flight
        self._cells = process.telemetry.cells
        self._observe_many = process.telemetry.observe_many
        self._page_size = process.pool.page_size
        self._offset_limit = offset_limit(self._page_size)
        self._blocks = reader.blocks
        self._authorization = reader.authorization
        self._heads = heads
        self.arrived: list[Arrived] = []
        """What has come since the last round, and a request may begin with; who adds the first calls `begin_soon`."""
        self._with_body: list[Asked] = []
        self._is_due = False

    # What comes

    def begin_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin a round once everything that has come in this tick has been read."""
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._begin, loop)

    def add_store(self, asked: Asked, loop: asyncio.AbstractEventLoop) -> None:
        """Take a store that is whole, and counted as in flight already, into the next round."""
        self._with_body.append(asked)
        self.begin_soon(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        arrived = self.arrived[:_MOST]
        del self.arrived[:_MOST]
        loads: list[Asked] = []
        stores = self._with_body[:_MOST]
        del self._with_body[:_MOST]
        self._is_due = False
        if self.arrived or self._with_body:
            self.begin_soon(loop)
        now = monotonic()
        for door, data in self._read(arrived, loads, stores):
            door.go_long(data)
        for operation, asked, begin in ((LOAD, loads, self._way.load), (STORE, stores, self._way.store)):
            if asked:
                try:
                    begin(asked, partial(self._answer, operation, now), now)
                except Exception:
                    logger.exception("Unforeseen failure")
                    self._give_up(asked)

    def _give_up(self, asked: Sequence[Asked]) -> None:
        """Close the connections of what would wait for ever."""
        for *_, (door, _, token) in asked:
            door.abort()
            if token is not None:
                token.use.requests -= 1
        self._cells[REQUESTS_IN_FLIGHT] -= len(asked)
        self._in_flight.leave_many(len(asked), self._page_size)

    def _read(self, arrived: Sequence[Arrived], loads: list[Asked], stores: list[Asked]) -> list[Arrived]:
        """Sort what is for the short way into loads and stores, counted as in flight; the rest, for the long way."""
        blocks, page_size, limit, expiring = self._blocks, self._page_size, self._offset_limit, self._way.expiring
        authorization = self._authorization
        room = self._in_flight.room(page_size)
        entered = 0
        rest: list[Arrived] = []
        for door, data in arrived:
            match = _match(data)
            if match is not None and entered < room:
                method, type_text, offset_text = match.groups()
                type_, offset = int(type_text), int(offset_text)
                end = match.end()
                if method == b"GET":
                    fields = blocks.get(data[end:])
                    body, asked = b"", loads
                    is_short = fields is not None and fields.is_plain_load and type_ not in expiring
                else:
                    body_at = data.find(b"\r\n\r\n", end) + 4
                    fields = blocks.get(data[end:body_at])
                    body, asked = data[body_at:], stores
                    is_short = fields is not None and fields.is_plain_store and len(body) == page_size
                if is_short and fields is not None and type_ <= MAX_TYPE and offset < limit and not door.is_closing:
                    token = None
                    if authorization is not None:
                        operation = LOAD if asked is loads else STORE
                        token = authorization.admit_page_call(fields.authorization, operation, type_)
                        if token is not None:
                            token.use.requests += 1
                    if token is not None or authorization is None:
                        asked.append((type_, offset, body, (door, fields, token)))
                        entered += 1
                        continue
            rest.append((door, data))
        if entered:
            self._in_flight.enter_many(entered, page_size)
            self._cells[REQUESTS_IN_FLIGHT] += entered
        return rest

    # Answers

    def _answer(self, operation: PageOperation, began: float, asked: Sequence[Asked], found: Sequence[Found]) -> None:
        """Answer those whose replies have come, and count them together; what is not plain goes the long way."""
        now = monotonic()
        ended = kept = 0
        head, ends, next_id = self._heads.parts(operation, asked[0][3][0].default_headers)
        failed: list[Asked] = []
        for ask, page in zip(asked, found, strict=True):
            door, fields, token = ask[3]
            if door.is_given_up:
                continue
            try:
                if isinstance(page, tuple):
                    data, digest, kind = page
                    is_usual = fields.request_id is None and not door.is_closing
                    request_id = next_id() if is_usual else door.last_line(fields)
                    if not door.answer(b"".join((head, b"%016x" % digest, ends[kind], request_id, data)), now):
                        door.keep(token)
                        kept += 1
                    elif token is not None:
                        token.use.requests -= 1
                    ended += 1
                else:
                    self._go_on_long(operation, ask, page, began)
            except Exception:
                logger.exception("Unforeseen failure")
                failed.append(ask)
        if failed:
            self._give_up(failed)
        if ended:
            self._observe_many(_ENDED[operation], now - began, ended)
            self._cells[REQUESTS_IN_FLIGHT] -= ended
            self._in_flight.leave_many(ended - kept, self._page_size)

    @staticmethod
    def _go_on_long(operation: PageOperation, ask: Asked, found: Begun | BaseException | None, began: float) -> None:
        """Answer by the long way what the short way leaves undone."""
        type_, offset, body, (door, fields, token) = ask
        door.begin_long(fields, token, began)
        if found is None:
            door.run_long(operation, type_, offset, body)
        elif isinstance(found, Begun):
            door.store_on(type_, offset, found)
        else:
            door.fail(operation, type_, offset, found)
