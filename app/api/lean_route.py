"""Routes that FastAPI describes but does not run: bytes need no dependency solving and no serialisation.

The endpoint's signature says to FastAPI what the call takes, for the OpenAPI document; the call itself is answered by
the page core (`page_calls`), which reads the request as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from app.api.answer import Answer
from app.api.page_calls import Call, PageOperation
from app.api.page_head import read_head
from app.errors import ExtentTooLarge
from app.wiring import ProcessContext

ATTRIBUTE: Final = "page_operation"
"""Of an endpoint: the operation that answers it."""

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def answered_by(operation: PageOperation) -> Callable[[Endpoint], Endpoint]:
    """Say which operation of the page core answers a described endpoint."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, ATTRIBUTE, operation)
        return endpoint

    return mark


class LeanRoute(APIRoute):
    """A route whose endpoint only describes; see `answered_by`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that FastAPI installs for the route."""
        operation: PageOperation = getattr(self.endpoint, ATTRIBUTE)

        async def handle(request: Request) -> Response:
            context: ProcessContext = request.app.state.context
            scope = request.scope
            parameters = scope["path_params"]
            call = Call(
                operation, parameters["type"], parameters["offset"], scope["query_string"], read_head(scope["headers"])
            )
            max_bytes = call.admit(context.pool)
            context.in_flight.enter(call.held_bytes)
            try:
                body = b""
                if max_bytes:
                    body = await read_body(request, max_bytes)
                return to_response(await call.run(context.pool, body))
            finally:
                context.in_flight.leave(call.held_bytes)

        return handle


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body.

    Raises:
        ExtentTooLarge: it is longer than `max_bytes`.
        RequestTimeout: no byte came for too long; `request_middleware` keeps the time.
        ClientDisconnect: the client left before its end.
    """
    parts: list[bytes] = []
    length = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        length += len(part)
        if length > max_bytes:
            raise ExtentTooLarge(f"The body is longer than {max_bytes} bytes.")
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def to_response(answer: Answer) -> Response:
    """The answer as Starlette sends it."""
    response = Response(answer.body, answer.status)
    length = len(answer.body) if answer.length is None else answer.length
    response.raw_headers = [*answer.fixed.pairs, *answer.headers]
    if answer.status not in {204, 304}:
        response.raw_headers.append((b"content-length", b"%d" % length))
    return response
