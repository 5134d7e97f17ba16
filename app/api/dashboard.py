"""The dashboard at `/`: files as they lie in `app/dashboard`, and the one small document that it asks for each second.

The page may load its own files and ask its own service, and nothing else: no inline script or style, no other host, no
frame around it. None of this is part of the API's description.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from app.api.dependencies import ContextDependency, refuse_repeated_parameters
from app.api.schemas import PoolSummary, Schema
from app.errors import NotFound, PagepoolError
from app.pool.parameters import Parameters
from app.telemetry_cells import (
    BOUNDS_SECONDS,
    COUNTERS,
    SPAN,
    STATUS_CLASSES,
    WORKER_GAUGES,
    Operation,
    Series,
    request_series,
)

DIRECTORY = Path(__file__).parents[1] / "dashboard"
INDEX = "index.html"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    # Asked for again each time, answered with 304: a page and its modules never come from two versions.
    "cache-control": "no-cache",
}

_OF_LATENCY = {
    "load": (Operation.LOAD, Operation.FRAMES_LOAD),
    "store": (Operation.STORE, Operation.FRAMES_STORE),
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    media_type: str
    etag: str


class Activity(Schema):
    """What the dashboard shows of the whole service, and works rates and percentiles out from."""

    at: Annotated[float, Field(description="Seconds on a clock of this machine that never goes back.")]
    pool: Annotated[PoolSummary | None, Field(description="As /v1/pool; null while Redis is away.")]
    parameters: Parameters
    counters: dict[str, int | dict[str, int]]
    gauges: dict[str, int | dict[str, int]]
    latency: Annotated[
        dict[str, list[float]],
        Field(description="bounds_seconds, and for load and store the requests in each bucket, those above all last."),
    ]


router = APIRouter(include_in_schema=False, dependencies=[Depends(refuse_repeated_parameters)])


@cache
def _files() -> dict[str, _File]:
    found = {}
    for path in DIRECTORY.iterdir():
        if path.suffix in MEDIA_TYPES:
            body = path.read_bytes()
            found[path.name] = _File(body, MEDIA_TYPES[path.suffix], f'"{sha256(body).hexdigest()[:16]}"')
    return found


@router.get("/", operation_id="get_dashboard")
async def get_dashboard(request: Request) -> Response:
    """The page; it needs no token, what it asks for does."""
    return _serve(INDEX, request)


@router.get("/assets/{name}", operation_id="get_dashboard_asset")
async def get_asset(name: str, request: Request) -> Response:
    """A file of the page."""
    if name == INDEX or name not in _files():
        raise NotFound("No such path.")
    return _serve(name, request)


@router.get("/v1/activity", operation_id="get_activity")
async def get_activity(context: ContextDependency) -> Activity:
    """A few kilobytes where /metrics has a hundred: it is asked for each second, by every dashboard that is open."""
    pool, telemetry = context.pool, context.telemetry
    try:
        summary = PoolSummary.of(
            await pool.numbers(),
            page_size=pool.page_size,
            max_extent_pages=pool.max_extent_pages,
            hit_rate=telemetry.hit_rate(),
        )
    except PagepoolError:
        summary = None
    totals = telemetry.totals()
    latency = {name: _buckets(operations, totals) for name, operations in _OF_LATENCY.items()}
    return Activity(
        at=time.monotonic(),
        pool=summary,
        parameters=pool.parameters,
        counters={_short(series): _values(series, totals) for series in COUNTERS},
        gauges={_short(series): _values(series, totals) for series in WORKER_GAUGES},
        latency={"bounds_seconds": list(BOUNDS_SECONDS), **latency},
    )


def _serve(name: str, request: Request) -> Response:
    file = _files()[name]
    headers = {**HEADERS, "etag": file.etag}
    sent = request.headers.get("if-none-match", "")
    if sent == "*" or file.etag in {tag.strip().removeprefix("W/") for tag in sent.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers={**headers, "content-type": file.media_type})


def _short(series: Series) -> str:
    return series.name.removeprefix("pagepool_")


def _values(series: Series, totals: list[float]) -> int | dict[str, int]:
    if series.label is None:
        return int(totals[series.index])
    return {value: int(totals[index]) for index, value in enumerate(series.values, series.index)}


def _buckets(operations: tuple[Operation, ...], totals: list[float]) -> list[float]:
    spans: list[Any] = [
        totals[first : first + SPAN - 1]
        for operation in operations
        for first in (request_series(operation, int(class_[0]) * 100) for class_ in STATUS_CLASSES)
    ]
    return [sum(column) for column in zip(*spans, strict=True)]
