"""The calls on a disk image: what a request means, and its bytes in and out (contract 2.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from app.api.byte_ranges import content_start, requested_range, stated_range
from app.api.image_stream import HELD_BYTES, ImageStream
from app.api.image_writer import HELD_BYTES as WRITER_BYTES
from app.api.image_writer import ImageWriter, past_the_end
from app.api.page_head import PageHead, read_head
from app.errors import NoImage, PagepoolError, PreconditionFailed, UnsupportedMediaType
from app.page.address import check_type, parse_number
from app.pool.images import PIECE_BYTES
from app.pool.pool import Pool
from app.wiring import ProcessContext

_SOME_IMAGE: Final = "\n"
"""Stands for an image where preconditions want an entity tag: no tag that a client can send equals it."""

_IMAGE_HEADERS: Final = (
    (b"content-type", b"application/octet-stream"),
    (b"accept-ranges", b"bytes"),
    (b"cache-control", b"no-cache, no-transform"),
)
NOT_MODIFIED: Final = 304

# Reading


async def read(request: Request) -> Response:
    """GET and HEAD: the image, a range of it, or its size."""
    context, type_, head = _opened(request)
    ranges = [] if _values(request, b"if-range") else _values(request, b"range")
    if request.method == "HEAD":
        return _bodiless(_Plan(head, [], await context.pool.image_bytes(type_)))
    stated = stated_range(ranges)
    if stated is not None and stated[1] - stated[0] <= PIECE_BYTES and stated[1] <= context.pool.max_image_bytes:
        return await _read_short(context, type_, head, ranges, stated)
    plan = _Plan(head, ranges, await context.pool.image_bytes(type_))
    if plan.status == NOT_MODIFIED:
        return _bodiless(plan)
    held_bytes = min(plan.end - plan.start, HELD_BYTES)
    context.in_flight.enter(held_bytes)
    pieces = context.pool.image_pieces(type_, plan.start, plan.end)
    stream = ImageStream(pieces, plan.status, plan.headers, lambda: context.in_flight.leave(held_bytes))
    await stream.begin()
    return stream


async def _read_short(
    context: ProcessContext, type_: int, head: PageHead, ranges: list[bytes], stated: tuple[int, int]
) -> Response:
    """A range that is one piece at most: its pages are asked for together with the image's size, and it is one body."""
    held_bytes = stated[1] - stated[0]
    context.in_flight.enter(held_bytes)
    try:
        begun = context.pool.begin_short_read(type_, *stated)
        plan = _Plan(head, ranges, await context.pool.image_bytes(type_))
        if plan.status == NOT_MODIFIED:
            return _bodiless(plan)
        pieces = context.pool.image_pieces(type_, plan.start, plan.end, begun)
        response = Response(b"".join([piece async for piece in pieces]), plan.status)
    finally:
        context.in_flight.leave(held_bytes)
    response.raw_headers = plan.headers
    return response


class _Plan:
    """How a read is answered: which bytes, under which headers."""

    def __init__(self, head: PageHead, ranges: list[bytes], size: int) -> None:
        """Decide.

        Raises:
            PreconditionFailed: If-Match does not hold.
            RangeNotSatisfiable: the range starts past the end.
        """
        self.start, self.end, self.status = 0, size, 200
        self.headers = list(_IMAGE_HEADERS)
        if not _meets_preconditions(head, exists=True):
            self.status = NOT_MODIFIED
            return
        wanted = requested_range(ranges, size)
        if wanted is not None:
            self.start, self.end = wanted
            self.status = 206
            self.headers.append((b"content-range", b"bytes %d-%d/%d" % (self.start, self.end - 1, size)))
        self.headers.append((b"content-length", b"%d" % (self.end - self.start)))


def _bodiless(plan: _Plan) -> Response:
    response = Response(status_code=plan.status)
    response.raw_headers = plan.headers
    return response


# Writing


async def write(request: Request) -> Response:
    """PUT: bytes at a place in the image, or the image as a whole."""
    context, type_, head = _opened(request)
    pool = context.pool
    if head.content_encoding is not None and head.content_encoding.strip().lower() != b"identity":
        raise UnsupportedMediaType("This call takes no Content-Encoding.")
    content_range = content_start(_values(request, b"content-range"))
    if content_range is None:
        start, limit = 0, pool.max_image_bytes
        if head.is_conditional:
            await _check_conditions(pool, type_, head)
        await pool.check_keeps_pages(type_)
    else:
        start, limit = content_range, await pool.image_bytes(type_)
        _check_change(head, exists=True)
    if head.content_length is not None and start + head.content_length > limit:
        raise past_the_end(limit)
    held_bytes = WRITER_BYTES if head.content_length is None else min(head.content_length, WRITER_BYTES)
    context.in_flight.enter(held_bytes)
    writer = ImageWriter(pool, type_, start, limit)
    try:
        async for part in _body_parts(request):
            await writer.take(part)
        behind = await writer.end(fills_page=content_range is None)
        if content_range is None:
            await pool.end_image(type_, behind)
    finally:
        with suppress(PagepoolError):
            await writer.settle()
        context.in_flight.leave(held_bytes)
    return Response(status_code=204)


async def _body_parts(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        RequestTimeout: no byte came for too long.
        ClientDisconnect: the client left before its end.
    """
    more_body = True
    while more_body:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more_body = message.get("more_body", False)
        yield message.get("body", b"")


# What both share


def _opened(request: Request) -> tuple[ProcessContext, int, PageHead]:
    context: ProcessContext = request.app.state.context
    type_ = check_type(parse_number(request.scope["path_params"]["type"], "type"))
    return context, type_, read_head(request.scope["headers"])


def _values(request: Request, name: bytes) -> list[bytes]:
    return [value for key, value in request.scope["headers"] if key == name]


def _meets_preconditions(head: PageHead, *, exists: bool) -> bool:
    """Whether If-None-Match holds.

    Raises:
        PreconditionFailed: If-Match does not.
    """
    state = _SOME_IMAGE if exists else None
    if not head.preconditions.match_holds(state):
        raise PreconditionFailed("The image does not meet If-Match: it has no entity tag.")
    return head.preconditions.none_match_holds(state)


def _check_change(head: PageHead, *, exists: bool) -> None:
    if not _meets_preconditions(head, exists=exists):
        raise PreconditionFailed("The image does not meet If-None-Match.")


async def _check_conditions(pool: Pool, type_: int, head: PageHead) -> None:
    try:
        await pool.image_bytes(type_)
    except NoImage:
        _check_change(head, exists=False)
    else:
        _check_change(head, exists=True)
