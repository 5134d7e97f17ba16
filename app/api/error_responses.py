"""From a domain error to an answer: RFC 9457's `application/problem+json`, in one place for both doors.

`problem` is pure; the lean page routes and the protocol door call it themselves. The framework's own errors (404, 405,
422 and the rest) are turned into domain errors first, so that they look the same.
"""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.api.paths import PathTable
from app.errors import (
    BadAddress,
    BadParameter,
    BadRequest,
    InternalError,
    MethodNotAllowed,
    NotFound,
    PagepoolError,
    Previous,
    RangeTooLarge,
    UnsupportedMediaType,
)

PROBLEM_TYPE = "application/problem+json"
PROBLEM_URN = "urn:pagepool:error:"

ADDRESS_PARAMETERS = frozenset({"type", "offset", "count", "from", "cells"})
"""Parameters of which a wrong one is `bad_address`; of others it is `bad_parameter`."""

_OF_STATUS: dict[int, type[PagepoolError]] = {
    400: BadRequest,
    404: NotFound,
    405: MethodNotAllowed,
    413: RangeTooLarge,
    415: UnsupportedMediaType,
}


def problem(error: PagepoolError, *, is_store: bool) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """The answer to a request that ended in `error`: status, headers, body.

    Args:
        error: what went wrong.
        is_store: whether the request was a store (see `is_store_request`): its errors say what became of what was
            there before.
    """
    document: dict[str, Any] = {
        "type": PROBLEM_URN + error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
    }
    if is_store:
        document["previous"] = (error.previous or Previous.UNKNOWN).value
    body = json.dumps({**error.members, **document}).encode()
    headers = [
        (b"content-type", PROBLEM_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        # A cache may keep a 404 or 405 on its own judgement, and the page may come the moment after.
        (b"cache-control", b"no-store"),
    ]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_seconds))
    headers.extend((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in error.headers.items())
    if error.close_connection:
        headers.append((b"connection", b"close"))
    return error.status, headers, body


def is_store_request(method: str, path: str) -> bool:
    """Whether a request is one of those whose errors bear `previous`: PUT of pages, frames or an image, POST zero."""
    if method == "PUT":
        return path.startswith(("/v1/pages/", "/v1/frames/")) or (
            path.startswith("/v1/types/") and path.endswith("/image")
        )
    return method == "POST" and path.startswith("/v1/pages/") and path.endswith("/zero")


def from_http_exception(error: HTTPException, allowed: list[str]) -> PagepoolError:
    """The domain error for one that Starlette or FastAPI raised.

    Args:
        error: its HTTPException.
        allowed: the methods that the request's path takes; Starlette itself names those of one route only.
    """
    other = BadRequest if error.status_code < InternalError.status else InternalError
    class_ = _OF_STATUS.get(error.status_code, other)
    mapped = class_()
    if class_ is MethodNotAllowed:
        mapped.detail = f"This path takes {', '.join(allowed)}."
        mapped.headers["Allow"] = ", ".join(allowed)
    return mapped


def from_validation(error: RequestValidationError) -> PagepoolError:
    """The domain error for parameters that did not validate. What the client sent is not repeated."""
    # A location is ("query", "count"), and for unions more.
    faults = [(str(fault["loc"][1]), str(fault["msg"]).removeprefix("Value error, ")) for fault in error.errors()]
    detail = "; ".join(message if message.startswith(name) else f"{name}: {message}" for name, message in faults)
    is_address = bool(faults) and all(name in ADDRESS_PARAMETERS for name, _ in faults)
    return (BadAddress if is_address else BadParameter)(detail)


def answer(error: PagepoolError, request: Request) -> Response:
    """`problem` as a Starlette response."""
    path = request.scope["path"]
    status, headers, body = problem(error, is_store=is_store_request(request.method, path))
    response = Response(body, status)
    response.raw_headers = headers
    return response


def install(app: FastAPI, paths: PathTable) -> None:
    """Let every error that a handler or the framework raises be answered as a problem document.

    Unforeseen exceptions are not caught here but in `app.api.request_middleware`, which knows the request id and
    whether an answer has begun.
    """

    async def on_domain_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, PagepoolError)  # noqa: S101 - Starlette's signature is wider than what it calls with
        return answer(error, request)

    async def on_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - as above
        return answer(from_http_exception(error, paths.methods(request.scope["path"])), request)

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
        return answer(from_validation(error), request)

    app.add_exception_handler(PagepoolError, on_domain_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(RequestValidationError, on_validation)
