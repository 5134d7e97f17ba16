"""What all connections of the protocol door share, and how their answers are rendered."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from app.api.answer import Answer
from app.api.authorization import Authorization
from app.api.error_responses import problem
from app.api.guards import AllowedHosts, RequestIds
from app.api.page_calls import Call
from app.api.token_entries import Token
from app.errors import Overloaded, PagepoolError
from app.serve.request_head import HeadReader
from app.serve.rounds import Rounds
from app.serve.short_heads import ShortHeads, render
from app.serve.time_limits import TimeLimits
from app.telemetry_cells import REQUESTS_IN_FLIGHT
from app.telemetry_logging import log_access
from app.wiring import ProcessContext

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}
_BODILESS: Final = frozenset({204, 304})


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
        self.request_ids = RequestIds()
        self.rounds = Rounds(process, self.heads, ShortHeads(settings.page_size, self.request_ids))
        self.access_log = settings.access_log
        self.max_connections = settings.max_connections
        self.max_header_bytes = settings.max_header_bytes
        self.limits = TimeLimits.from_settings(settings)
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_rendered = b""

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
        if headers is not self._default_headers:
            self._default_headers = headers
            self._default_rendered = render(headers)
        return self._default_rendered

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
