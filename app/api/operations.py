"""Tunables, numbers, health."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.api.dependencies import ContextDependency, Pool, json_body, refuse_repeated_parameters
from app.api.openapi import json_request, problem_responses
from app.api.schemas import Liveness, PoolSummary, Ready, ShrinkOrder, ShrinkResult
from app.errors import (
    BackendUnavailable,
    BadBody,
    BadParameter,
    PagepoolError,
    RangeTooLarge,
    UnsupportedMediaType,
)
from app.pool.parameters import Parameters, ParametersPatch

router = APIRouter(tags=["operations"], dependencies=[Depends(refuse_repeated_parameters)])


@router.get(
    "/v1/parameters",
    operation_id="get_parameters",
    summary="Show the tunables",
)
async def get_parameters(pool: Pool) -> Parameters:
    """The run-time tunables as they hold now."""
    return pool.parameters


@router.patch(
    "/v1/parameters",
    operation_id="change_parameters",
    summary="Change tunables",
    responses=problem_responses(BadBody, UnsupportedMediaType, RangeTooLarge, BadParameter, BackendUnavailable),
    openapi_extra=json_request(ParametersPatch, "Any of the tunables; those left out keep their value."),
)
async def change_parameters(
    pool: Pool, patch: Annotated[ParametersPatch, Depends(json_body(ParametersPatch))]
) -> Parameters:
    """Answers when every worker of this service has the change; other replicas follow within a second."""
    return await pool.change_parameters(patch)


@router.get(
    "/v1/pool",
    operation_id="get_pool",
    summary="The pool at a glance",
    responses=problem_responses(BackendUnavailable),
)
async def get_pool(context: ContextDependency) -> PoolSummary:
    """MiB held and saved, compression ratio, share of zero pages, how full, open or closed, hit rate."""
    pool = context.pool
    return PoolSummary.of(
        await pool.numbers(),
        page_size=pool.page_size,
        max_extent_pages=pool.max_extent_pages,
        hit_rate=context.telemetry.hit_rate(),
    )


@router.post(
    "/v1/pool/shrink",
    operation_id="shrink_pool",
    summary="Free bytes of the pool",
    responses=problem_responses(BadBody, UnsupportedMediaType, RangeTooLarge, BadParameter, BackendUnavailable),
    openapi_extra=json_request(ShrinkOrder, "How many bytes of blobs to free."),
)
async def shrink_pool(pool: Pool, order: Annotated[ShrinkOrder, Depends(json_body(ShrinkOrder))]) -> ShrinkResult:
    """Takes expired and cold pages of the types that allow it, lower priorities first: memory.reclaim's twin.

    It may free less than was asked for, where less can go or within 5 s.
    """
    return ShrinkResult.of(await pool.shrink(None, order.bytes))


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus's text format 0.0.4, or OpenMetrics 1.0.0 if Accept names it.",
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                "application/openmetrics-text": {"schema": {"type": "string"}},
            },
        }
    },
)
async def get_metrics(request: Request, context: ContextDependency) -> Response:
    """Always 200: while Redis is away, the gauges that come from it are left out and `pagepool_redis_up` is 0."""
    pool, telemetry = context.pool, context.telemetry
    try:
        numbers = await pool.numbers()
    except PagepoolError:
        numbers = None
    # A thousand lines take milliseconds, in which the event loop would serve no page.
    accept = request.headers.get("accept", "")
    body, media_type = await asyncio.to_thread(telemetry.render, accept, numbers, pool.page_size)
    return Response(body, headers={"content-type": media_type})


@router.get("/livez", operation_id="get_liveness", summary="Whether the process runs")
async def get_liveness() -> Liveness:
    """Never touches Redis."""
    return Liveness()


@router.get(
    "/readyz",
    operation_id="get_readiness",
    summary="Whether the pool can serve",
    responses=problem_responses(BackendUnavailable),
)
async def get_readiness(pool: Pool) -> Ready:
    """503 with the reason while Redis is out of reach; a cluster is ready while any of its masters answers."""
    readiness = await pool.readiness()
    if not readiness.is_ready:
        raise BackendUnavailable(readiness.reason or "", lost_nodes=list(readiness.lost_nodes))
    return Ready.of(readiness)
