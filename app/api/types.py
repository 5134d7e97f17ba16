"""Calls on types: their numbers and configuration, maps of what they hold, trim and write-zeroes over ranges."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from app.api.authorization import token_of, visible_types
from app.api.dependencies import (
    AfterQuery,
    CellsQuery,
    FromQuery,
    LimitQuery,
    MapCountQuery,
    Pool,
    RangeCountQuery,
    TypePath,
    json_body,
    refuse_repeated_parameters,
)
from app.api.openapi import empty_response, json_request, problem_responses
from app.api.schemas import ExtentList, Invalidated, ShrinkOrder, ShrinkResult, Zeroed
from app.api.type_schemas import TypeExtents, TypeList, TypeMap, TypeSummary
from app.errors import (
    BackendFull,
    BackendUnavailable,
    BadAddress,
    BadBody,
    BadParameter,
    MetadataFull,
    NotReplicated,
    RangeTooLarge,
    StoresDisabled,
    TypeUnknown,
    UnsupportedMediaType,
)
from app.page.address import check_extent, offset_limit
from app.pool.numbers import TypeConfiguration

MAX_ZERO_PAGES = 1 << 20
"""Pages that one `zero` may name: its work grows with the range, not with what is held."""

_JSON_ERRORS = (BadBody, UnsupportedMediaType, RangeTooLarge, BadParameter)

router = APIRouter(dependencies=[Depends(refuse_repeated_parameters)])


@router.get(
    "/v1/types",
    operation_id="list_types",
    summary="List types",
    tags=["types"],
    responses=problem_responses(BadParameter, BackendUnavailable),
)
async def list_types(request: Request, pool: Pool, after: AfterQuery = None, limit: LimitQuery = 100) -> TypeList:
    """The types that hold pages or have a configuration, in ascending order; of them, those that the token is for."""
    types = await visible_types(pool, token_of(request.scope), after, limit + 1)
    return TypeList.of(types, limit=limit, page_size=pool.page_size)


@router.get(
    "/v1/types/{type}",
    operation_id="get_type",
    summary="Show one type",
    tags=["types"],
    responses=problem_responses(BadAddress, TypeUnknown, BackendUnavailable),
)
async def get_type(pool: Pool, type: TypePath) -> TypeSummary:  # noqa: A002 - the word of the API
    """Pages by kind, bytes, compression ratio, configuration."""
    return TypeSummary.of(await pool.type_numbers(type), page_size=pool.page_size)


@router.put(
    "/v1/types/{type}",
    operation_id="configure_type",
    summary="Configure a type",
    tags=["types"],
    responses=problem_responses(BadAddress, *_JSON_ERRORS, BackendUnavailable),
    openapi_extra=json_request(TypeConfiguration, "The whole configuration; a field left out is unset."),
)
async def configure_type(
    pool: Pool,
    type: TypePath,  # noqa: A002 - the word of the API
    configuration: Annotated[TypeConfiguration, Depends(json_body(TypeConfiguration))],
) -> TypeConfiguration:
    """Replaces the configuration of the type, which need not hold pages yet.

    Answers when every worker of this service goes by it; other replicas follow within a second. A type with
    `image_bytes` neither evicts nor expires pages.
    """
    return await pool.configure_type(type, configuration)


@router.delete(
    "/v1/types/{type}",
    operation_id="delete_type",
    summary="Invalidate a whole type",
    tags=["types"],
    status_code=204,
    responses={
        204: empty_response("Gone, or never there."),
        **problem_responses(BadAddress, BackendUnavailable),
    },
)
async def delete_type(pool: Pool, type: TypePath) -> None:  # noqa: A002 - the word of the API
    """All pages stored before the request began are gone at the answer, and the configuration with them.

    It goes piece by piece; cut off half-way, the counters are exact, and it can be repeated.
    """
    await pool.delete_type(type)


@router.post(
    "/v1/types/{type}/shrink",
    operation_id="shrink_type",
    summary="Free bytes of a type",
    tags=["types"],
    responses=problem_responses(BadAddress, *_JSON_ERRORS, TypeUnknown, BackendUnavailable),
    openapi_extra=json_request(ShrinkOrder, "How many bytes of blobs to free."),
)
async def shrink_type(
    pool: Pool,
    type: TypePath,  # noqa: A002 - the word of the API
    order: Annotated[ShrinkOrder, Depends(json_body(ShrinkOrder))],
) -> ShrinkResult:
    """Takes expired and cold pages of the type; it may free less than asked for, where less can go or within 5 s."""
    return ShrinkResult.of(await pool.shrink(type, order.bytes))


@router.get(
    "/v1/types/{type}/extents",
    operation_id="get_type_extents",
    summary="Allocation map of a type",
    tags=["types"],
    responses=problem_responses(BadAddress, BadParameter, BackendUnavailable),
)
async def get_type_extents(
    pool: Pool,
    type: TypePath,  # noqa: A002 - the word of the API
    from_: FromQuery = 0,
    count: RangeCountQuery = None,
) -> TypeExtents:
    """Runs of data, zero pages and holes.

    An answer may cover less than was asked for, and says up to where in `until`; it is never empty.
    """
    pages = offset_limit(pool.page_size) - from_ if count is None else count
    check_extent(from_, pages, pool.page_size)
    return TypeExtents.of(type, from_, pages, await pool.allocation(type, from_, pages))


@router.get(
    "/v1/types/{type}/map",
    operation_id="get_type_map",
    summary="Cell map of a type",
    tags=["types"],
    responses=problem_responses(BadAddress, BadParameter, BackendUnavailable),
)
async def get_type_map(
    pool: Pool,
    type: TypePath,  # noqa: A002 - the word of the API
    count: MapCountQuery,
    from_: FromQuery = 0,
    cells: CellsQuery = 256,
) -> TypeMap:
    """Cuts a range into cells and tells for each the pages by kind and the bytes: for pictures."""
    check_extent(from_, count, pool.page_size)
    return TypeMap.of(type, from_, count, await pool.cell_map(type, from_, count, cells))


@router.post(
    "/v1/pages/{type}/invalidate",
    operation_id="invalidate_extents",
    summary="Invalidate ranges",
    tags=["pages"],
    responses=problem_responses(BadAddress, *_JSON_ERRORS, BackendUnavailable),
    openapi_extra=json_request(ExtentList, "The ranges, of any size; the work grows with the pages held in them."),
)
async def invalidate_extents(
    pool: Pool,
    type: TypePath,  # noqa: A002 - the word of the API
    body: Annotated[ExtentList, Depends(json_body(ExtentList))],
) -> Invalidated:
    """Trim: the pages in these ranges are gone."""
    return Invalidated(invalidated=await pool.invalidate(type, body.checked(pool.page_size)))


@router.post(
    "/v1/pages/{type}/zero",
    operation_id="zero_extents",
    summary="Store zero pages over ranges",
    tags=["pages"],
    responses=problem_responses(
        BadAddress,
        *_JSON_ERRORS,
        BackendUnavailable,
        StoresDisabled,
        NotReplicated,
        MetadataFull,
        BackendFull,
        is_store=True,
    ),
    openapi_extra=json_request(ExtentList, f"The ranges, at most {MAX_ZERO_PAGES} pages in all."),
)
async def zero_extents(
    pool: Pool,
    type: TypePath,  # noqa: A002 - the word of the API
    body: Annotated[ExtentList, Depends(json_body(ExtentList))],
) -> Zeroed:
    """Write-zeroes without a payload. Zero pages are welcome even when the pool is full."""
    extents = body.checked(pool.page_size)
    if sum(count for _, count in extents) > MAX_ZERO_PAGES:
        raise RangeTooLarge(f"One request may zero {MAX_ZERO_PAGES} pages.")
    return Zeroed(zeroed=await pool.zero(type, extents))
