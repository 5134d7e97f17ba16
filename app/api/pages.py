"""Pages and frames over HTTP, as the OpenAPI document shows them; `page_calls` answers (contract 2.1 and 2.2)."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from app.api.dependencies import OffsetPath, TypePath, json_body, refuse_repeated_parameters
from app.api.lean_route import LeanRoute, answered_by, to_response
from app.api.openapi import (
    binary_request,
    binary_response,
    empty_response,
    json_request,
    json_response,
    problem_responses,
)
from app.api.page_calls import (
    INSPECT,
    INVALIDATE,
    LOAD,
    LOAD_FRAMES,
    STORE,
    STORE_FRAMES,
    TAKE,
    frames_answer,
)
from app.api.schemas import ExtentList, Invalidated
from app.errors import (
    BackendFull,
    BackendUnavailable,
    BadAddress,
    BadBody,
    BadFrame,
    BadHeader,
    BadPageLength,
    BadParameter,
    ExtentTooLarge,
    MetadataFull,
    NotReplicated,
    PageCorrupt,
    PageMissing,
    PagepoolError,
    PoolFull,
    PreconditionFailed,
    RangeTooLarge,
    StoresDisabled,
    TypeFull,
    UnsupportedMediaType,
)
from app.wiring import ProcessContext

_LOAD_ERRORS: Final = (BadAddress, BadParameter, PageMissing, PreconditionFailed, PageCorrupt, BackendUnavailable)
_STORE_ERRORS: Final[tuple[type[PagepoolError], ...]] = (
    BadAddress,
    BadParameter,
    UnsupportedMediaType,
    ExtentTooLarge,
    StoresDisabled,
    BackendUnavailable,
    NotReplicated,
    PoolFull,
    TypeFull,
    MetadataFull,
    BackendFull,
)

CountQuery = Annotated[int, Query(ge=1, le=65536, description="Pages, from `offset` on.")]
MissingQuery = Annotated[
    Literal["error", "zero"], Query(description="`zero`: absent pages read as zeros instead of 404.")
]
Lz4Query = Annotated[Literal["0", "1"], Query(description="`1`: pages that are kept as LZ4 come as their blocks.")]
IfMatch = Annotated[str | None, Header(description="Entity tags, or `*`; for single pages (RFC 9110, 13.1.1).")]
IfNoneMatch = Annotated[str | None, Header(description="Entity tags, or `*`; for single pages (RFC 9110, 13.1.2).")]

_PAGE_PATH: Final = "/v1/pages/{type}/{offset:offset}"
_FRAMES_PATH: Final = "/v1/frames/{type}/{offset:offset}"
_NOT_MODIFIED: Final[dict[int | str, dict[str, Any]]] = {
    304: empty_response("The page has a tag that If-None-Match names.", "ETag", "Cache-Control")
}

router = APIRouter(route_class=LeanRoute)
gather_router = APIRouter(dependencies=[Depends(refuse_repeated_parameters)])


@router.put(
    _PAGE_PATH,
    operation_id="store_pages",
    summary="Store pages",
    tags=["pages"],
    status_code=204,
    response_class=Response,
    responses={
        204: empty_response("Stored: created or replaced. `ETag` for one page.", "ETag", "Page-Counts"),
        **problem_responses(BadPageLength, BadHeader, PreconditionFailed, *_STORE_ERRORS, is_store=True),
    },
    openapi_extra=binary_request("k × page_size bytes, 1 ≤ k ≤ max_extent_pages."),
)
@answered_by(STORE)
async def store_pages(
    type: TypePath,  # noqa: A002 - the word of the API
    offset: OffsetPath,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> None:
    """Stores k consecutive pages from `offset` on. Each page is atomic by itself; an extent is no transaction.

    A store that is refused because the pool is full or stores are disabled leaves no older copy behind.
    Zero pages are stored even when the pool is full.
    """


@router.get(
    _PAGE_PATH,
    operation_id="load_pages",
    summary="Load pages",
    tags=["pages"],
    response_class=Response,
    responses={
        200: binary_response(
            "The pages' bytes. `ETag` and `Page-Kind` for one page; the others with `missing=zero`.",
            "ETag",
            "Page-Kind",
            "Cache-Control",
            "Page-Missing-Count",
            "Page-Missing",
        ),
        **_NOT_MODIFIED,
        **problem_responses(*_LOAD_ERRORS),
    },
)
@answered_by(LOAD)
async def load_pages(
    type: TypePath,  # noqa: A002 - the word of the API
    offset: OffsetPath,
    count: CountQuery = 1,
    missing: MissingQuery = "error",
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> None:
    """Loads `count` consecutive pages; they stay."""


@router.head(
    _PAGE_PATH,
    operation_id="inspect_pages",
    summary="Look at pages without their bytes",
    tags=["pages"],
    response_class=Response,
    responses={
        200: empty_response(
            "As GET, without the body.",
            "ETag",
            "Page-Kind",
            "Page-Stored-Length",
            "Content-Length",
            "Cache-Control",
            "Page-Missing-Count",
            "Page-Missing",
        ),
        **_NOT_MODIFIED,
        **problem_responses(*_LOAD_ERRORS),
    },
)
@answered_by(INSPECT)
async def inspect_pages(
    type: TypePath,  # noqa: A002 - the word of the API
    offset: OffsetPath,
    count: CountQuery = 1,
    missing: MissingQuery = "error",
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> None:
    """The page is checked as in a load, but not counted as one."""


@router.delete(
    _PAGE_PATH,
    operation_id="invalidate_pages",
    summary="Invalidate pages",
    tags=["pages"],
    response_class=Response,
    responses={
        200: json_response(Invalidated, "With `count` > 1: how many pages were there."),
        204: empty_response("The one page is gone."),
        **problem_responses(BadAddress, BadParameter, PageMissing, PreconditionFailed, PageCorrupt, BackendUnavailable),
    },
)
@answered_by(INVALIDATE)
async def invalidate_pages(
    type: TypePath,  # noqa: A002 - the word of the API
    offset: OffsetPath,
    count: CountQuery = 1,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> None:
    """One page: 204, or 404 when absent. More: 200 and how many there were."""


@router.post(
    _PAGE_PATH + "/take",
    operation_id="take_page",
    summary="Load a page and remove it",
    tags=["pages"],
    response_class=Response,
    responses={
        200: binary_response("The page's bytes; it is gone.", "ETag", "Page-Kind", "Cache-Control"),
        **problem_responses(BadAddress, BadParameter, PageMissing, PageCorrupt, BackendUnavailable),
    },
)
@answered_by(TAKE)
async def take_page(type: TypePath, offset: OffsetPath) -> None:  # noqa: A002 - the word of the API
    """Exclusive load: of several takers one gets the page. If the answer is lost so is the page: do not retry.

    GET followed by DELETE with If-Match is the safe form.
    """


@router.put(
    _FRAMES_PATH,
    operation_id="store_frames",
    summary="Store pages as frames",
    tags=["frames"],
    status_code=204,
    response_class=Response,
    responses={
        204: empty_response("Stored.", "Page-Counts"),
        **problem_responses(BadFrame, BadHeader, *_STORE_ERRORS, is_store=True),
    },
    openapi_extra=binary_request("A sequence of frames; their offsets lie in [offset, offset + max_extent_pages)."),
)
@answered_by(STORE_FRAMES)
async def store_frames(type: TypePath, offset: OffsetPath) -> None:  # noqa: A002 - the word of the API
    """Zero and same-filled pages without their bytes, others as they are or as LZ4 blocks made by the client."""


@router.get(
    _FRAMES_PATH,
    operation_id="load_frames",
    summary="Load pages as frames",
    tags=["frames"],
    response_class=Response,
    responses={
        200: binary_response("Frames, the last of them the end frame.", "Cache-Control"),
        **problem_responses(BadAddress, BadParameter, BackendUnavailable),
    },
)
@answered_by(LOAD_FRAMES)
async def load_frames(
    type: TypePath,  # noqa: A002 - the word of the API
    offset: OffsetPath,
    count: CountQuery = 1,
    lz4: Lz4Query = "0",
) -> None:
    """Absent and corrupt pages are frames of their own kinds."""


@gather_router.post(
    "/v1/frames/{type}/load",
    operation_id="gather_frames",
    summary="Load many extents as frames",
    tags=["frames"],
    response_class=Response,
    responses={
        200: binary_response("Frames, the last of them the end frame.", "Cache-Control"),
        **problem_responses(BadAddress, BadBody, UnsupportedMediaType, RangeTooLarge, BadParameter, BackendUnavailable),
    },
    openapi_extra=json_request(ExtentList, "The extents, at most max_extent_pages pages in all."),
)
async def gather_frames(
    request: Request,
    type: TypePath,  # noqa: A002 - the word of the API
    body: Annotated[ExtentList, Depends(json_body(ExtentList))],
    lz4: Lz4Query = "0",
) -> Response:
    """The gather call, for prefetch and for replaying a working set."""
    context: ProcessContext = request.app.state.context
    pool = context.pool
    extents = body.checked(pool.page_size)
    pages = sum(count for _, count in extents)
    if pages > pool.max_extent_pages:
        raise RangeTooLarge(f"One request may load {pool.max_extent_pages} pages.")
    held_bytes = pages * pool.page_size
    context.in_flight.enter(held_bytes)
    try:
        return to_response(await frames_answer(pool, type, extents, with_lz4=lz4 == "1"))
    finally:
        context.in_flight.leave(held_bytes)
