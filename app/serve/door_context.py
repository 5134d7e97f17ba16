"""What all connections of the protocol door share, and how their answers are rendered."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from app.api.answer import PAGE_HEADERS, Answer
from app.api.authorization import Authorization
from app.api.error_responses import problem
from app.api.guards import AllowedHosts, RequestIds
from app.api.page_calls import COUNTS_OF_ONE, KIND_WORDS, Call
from app.api.token_entries import Token
from app.errors import Overloaded, PagepoolError
from app.page.classify import Kind
from app.serve.request_head import HeadReader
from app.serve.time_limits import TimeLimits
from app.telemetry_cells import REQUESTS_IN_FLIGHT, Operation, request_series
from app.telemetry_logging import log_access
from app.wiring import ProcessContext

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}
_LOADED: Final = request_series(Operation.LOAD, 200)
_STORED: Final = request_series(Operation.STORE, 204)
_BODILESS: Final = frozenset({204, 304})


class ShortHeads:
    """What the heads of plain answers for one page have in common; made anew with each Date.

    A page's digest stands behind `loaded` or `stored`, then comes the end for its kind, and then the request's id.
    """

    __slots__ = ("loaded", "loaded_ends", "made_for", "next_id", "stored", "stored_ends")

    def __init__(self, headers: list[tuple[bytes, bytes]], defaults: bytes, page_size: int, ids: RequestIds) -> None:
        self.made_for = headers
        """The default headers."""
        self.next_id = ids.rendered.__next__
        """A fresh id and the empty line behind it."""
        self.loaded = b"".join((_STATUS_LINES[200], defaults, PAGE_HEADERS.rendered, b'etag: "'))
        self.stored = b"".join((_STATUS_LINES[204], defaults, b'etag: "'))
        end = b'"\r\npage-kind: %b\r\ncontent-length: %d\r\nx-request-id: '
        self.loaded_ends = [end % (KIND_WORDS[kind], page_size) for kind in Kind]
        self.stored_ends = [b'"\r\n%b: %b\r\nx-request-id: ' % COUNTS_OF_ONE[kind] for kind in Kind]


class ShortEnds:
    """Requests that ended on the short way, and are counted together, once Redis's replies have all been answered."""

    __slots__ = ("_cells", "_in_flight", "_observe_many", "_page_size", "kept", "loaded", "stored")

    def __init__(self, process: ProcessContext) -> None:
        self._cells = process.telemetry.cells
        self._observe_many = process.telemetry.observe_many
        self._in_flight = process.in_flight
        self._page_size = process.pool.page_size
        self.loaded: list[float] = []
        """The seconds that loads took."""
        self.stored: list[float] = []
        self.kept = 0
        """How many of the answers are not on their way yet, and stay counted as bytes in flight."""
        process.pool.short_way.after_replies.append(self.count)

    def count(self) -> None:
        """Count them."""
        ended = len(self.loaded) + len(self.stored)
        if not ended:
            return
        if self.loaded:
            self._observe_many(_LOADED, self.loaded)
            self.loaded.clear()
        if self.stored:
            self._observe_many(_STORED, self.stored)
            self.stored.clear()
        self._cells[REQUESTS_IN_FLIGHT] -= ended
        self._in_flight.leave_many(ended - self.kept, self._page_size)
        self.kept = 0


class DoorContext:
    """One for each worker."""

    def __init__(self, process: ProcessContext, authorization: Authorization) -> None:
        settings = process.settings
        self.pool = process.pool
        self.in_flight = process.in_flight
        self.telemetry = process.telemetry
        self.cells = process.telemetry.cells
        is_guarded = authorization.tokens.are_required
        self.heads = HeadReader(
            AllowedHosts.from_settings(settings), authorization if is_guarded else None, settings.page_size
        )
        self.must_look_closer = is_guarded or settings.access_log
        """Whether the short way is closed: a token has to be found and counted, or a line to be written."""
        self.short_ends = ShortEnds(process)
        self.request_ids = RequestIds()
        self.access_log = settings.access_log
        self.max_connections = settings.max_connections
        self.max_header_bytes = settings.max_header_bytes
        self.limits = TimeLimits.from_settings(settings)
        self._page_size = settings.page_size
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_rendered = b""
        self.renew_short_heads([])

    def enter(self, call: Call, token: Token | None) -> PagepoolError | None:
        """Count a request as under way; if it is not taken, say why, and count nothing."""
        try:
            call.admit(self.pool)
        except PagepoolError as error:
            return error
        if not self.in_flight.try_enter(call.held_bytes):
            return Overloaded("The service works on as much as it may at once.")
        self.cells[REQUESTS_IN_FLIGHT] += 1
        if token is not None:
            token.use.requests += 1
        return None

    def leave(self, held_bytes: int, token: Token | None) -> None:
        """What was held for it is held no longer."""
        self.in_flight.leave(held_bytes)
        if token is not None:
            token.use.requests -= 1

    def observe(self, call: Call, token: Token | None, status: int, seconds: float, request_id: bytes) -> None:
        """Count a request that was answered, and log it if that is wanted."""
        self.telemetry.observe_request(call.operation.operation, status, seconds)
        if self.access_log:
            name = token.name if token is not None else None
            log_access(request_id.decode(), *call.described, status, seconds, token=name)

    def _rendered_defaults(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        # uvicorn makes the list anew once a second, for its Date.
        if headers is not self._default_headers:
            self._default_headers = headers
            self._default_rendered = b"".join(b"%b: %b\r\n" % pair for pair in headers)
        return self._default_rendered

    def renew_short_heads(self, headers: list[tuple[bytes, bytes]]) -> ShortHeads:
        """The heads of plain answers with these default headers, from now on."""
        self.short_heads = ShortHeads(headers, self._rendered_defaults(headers), self._page_size, self.request_ids)
        return self.short_heads

    def render_answer(
        self, answer: Answer, defaults: list[tuple[bytes, bytes]], request_id: bytes, *, closes: bool
    ) -> bytes:
        """The head of an answer."""
        parts = [_STATUS_LINES[answer.status], self._rendered_defaults(defaults), answer.fixed.rendered]
        for pair in answer.headers:
            parts.append(b"%b: %b\r\n" % pair)  # noqa: PERF401  extending by a comprehension is slower for two
        if answer.status not in _BODILESS:
            length = len(answer.body) if answer.length is None else answer.length
            parts.append(b"content-length: %d\r\n" % length)
        if closes:
            parts.append(b"connection: close\r\n")
        parts.append(b"x-request-id: %b\r\n\r\n" % request_id)
        return b"".join(parts)

    def render_problem(
        self,
        error: PagepoolError,
        defaults: list[tuple[bytes, bytes]],
        request_id: bytes,
        *,
        is_store: bool,
        closes: bool,
    ) -> tuple[int, bytes, bytes]:
        """Status, head and body of an error."""
        status, headers, body = problem(error, is_store=is_store)
        parts = [_STATUS_LINES[status], self._rendered_defaults(defaults)]
        parts += [b"%b: %b\r\n" % pair for pair in headers if pair[0] != b"connection"]
        if closes:
            parts.append(b"connection: close\r\n")
        parts.append(b"x-request-id: %b\r\n\r\n" % request_id)
        return status, b"".join(parts), body
