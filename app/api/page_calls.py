"""The page and frame calls, free of any transport: a parsed request in, an answer out. Both doors call these.

call = Call(operation, type, offset, query, head)
call.admit(pool)                  # all that can be said before the body has come; how large it may be
answer = await call.run(pool, body)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

from app.api.answer import JSON_HEADERS, NO_HEADERS, PAGE_HEADERS, Answer
from app.api.page_head import PageHead, parse_query
from app.errors import (
    BadAddress,
    BadHeader,
    BadPageLength,
    BadParameter,
    ExtentTooLarge,
    PageCorrupt,
    PageMissing,
    PreconditionFailed,
    UnsupportedMediaType,
)
from app.page.address import check_extent, check_type, parse_number
from app.page.classify import Kind, zero_page
from app.page.codec import ABSENT, CORRUPT, EncodedPage, EncodedPages
from app.page.frames import BLOCK_HEAD_BYTES, HEADER_BYTES
from app.pool.base import Page
from app.pool.changes import runs_of
from app.pool.pool import Pool
from app.telemetry_cells import Operation

OCTETS: Final = b"application/octet-stream"
MAX_MISSING_RUNS: Final = 32
"""Runs that `Page-Missing` lists; past it the header is left out."""

KIND_WORDS: Final = {kind: kind.word.encode() for kind in Kind}
COUNTS_OF_ONE: Final = tuple(
    (b"page-counts", b"zero=%d, same=%d, compressed=%d, raw=%d" % tuple(kind == one for kind in Kind)) for one in Kind
)
_NO_CONTENT: Final = Answer(204, NO_HEADERS)


class Call:
    """One request for pages or frames."""

    __slots__ = ("_offset_text", "_query", "_type_text", "count", "head", "held_bytes", "offset", "operation", "type")

    def __init__(self, operation: PageOperation, type_: str, offset: str, query: bytes, head: PageHead) -> None:
        self.operation = operation
        self._type_text = type_
        self._offset_text = offset
        self._query = query
        self.head = head
        self.type = self.offset = self.count = 0
        self.held_bytes = 0
        """Bytes that the request may hold at most, of its body and its answer."""

    def admit(self, pool: Pool) -> int:
        """Check all that can be checked before the body has come; the most bytes that it may have.

        Raises:
            BadRequest: nothing was changed, no body needs to be read.
        """
        self.type = check_type(parse_number(self._type_text, "type"))
        self.offset = parse_number(self._offset_text, "offset")
        count = self.parameter("count") if self._query else None
        self.count = 1 if count is None else parse_number(count, "count")
        check_extent(self.offset, self.count, pool.page_size)
        return self.operation.admit(pool, self)

    def run(self, pool: Pool, body: bytes) -> Coroutine[Any, Any, Answer]:
        """Do what is asked; `body` is whole. Awaited, it raises PagepoolError as the contract says."""
        return self.operation.run(pool, self, body)

    @property
    def described(self) -> tuple[str, str]:
        """Method and path, for the access log."""
        return self.operation.method, f"/v1/{self.operation.area}/{self._type_text}/{self._offset_text}"

    def parameter(self, name: str) -> str | None:
        """A parameter of the query, if it is given."""
        return parse_query(self._query).get(name)

    def flag(self, name: str, on: str, off: str) -> bool:
        """A parameter with two values; `off` where it is not given.

        Raises:
            BadParameter: it has another value.
        """
        value = self.parameter(name) if self._query else None
        if value is not None and value not in {on, off}:
            raise BadParameter(f"{name} must be {off} or {on}.")
        return value == on

    def refuse_preconditions(self) -> None:
        """Preconditions are for one page.

        Raises:
            BadParameter: the request has one.
        """
        if self.head.is_conditional:
            raise BadParameter("Preconditions are for single pages.")


def check_media_type(head: PageHead) -> None:
    """Check that a body is declared to be bytes.

    Raises:
        UnsupportedMediaType: it is not, or it is compressed.
    """
    # Without a Content-Type a body is bytes (RFC 9110, 8.3).
    if head.content_type is not None and head.content_type.partition(b";")[0].strip().lower() != OCTETS:
        raise UnsupportedMediaType("This call takes application/octet-stream.")
    if head.content_encoding is not None and head.content_encoding.strip().lower() != b"identity":
        raise UnsupportedMediaType("This call takes no Content-Encoding.")


def _admit_bodiless(pool: Pool, call: Call) -> int:
    if call.count > pool.max_extent_pages:
        raise BadAddress(f"count must be at most {pool.max_extent_pages}.")
    if call.count > 1:
        call.refuse_preconditions()
    call.held_bytes = call.count * pool.page_size
    return 0


# Stores


def _admit_store(pool: Pool, call: Call) -> int:
    head = call.head
    check_media_type(head)
    if head.has_content_range:
        raise BadHeader("Pages are stored whole: Content-Range is for images.")
    most = pool.max_extent_pages * pool.page_size
    if head.content_length is not None:
        if head.content_length > most:
            raise ExtentTooLarge(f"A body holds {pool.max_extent_pages} pages at most.")
        check_extent(call.offset, max(1, -(-head.content_length // pool.page_size)), pool.page_size)
    call.held_bytes = most if head.content_length is None else head.content_length
    return most


async def _store(pool: Pool, call: Call, body: bytes) -> Answer:
    count, rest = divmod(len(body), pool.page_size)
    check_extent(call.offset, max(count, 1), pool.page_size)
    if rest or not count:
        raise BadPageLength(f"The body has {len(body)} bytes, which is not a positive multiple of {pool.page_size}.")
    if count > 1:
        call.refuse_preconditions()
        return Answer(204, NO_HEADERS, (_page_counts(await pool.store(call.type, call.offset, body)),))
    if call.head.is_conditional:
        page = await pool.store_if(call.type, call.offset, body, call.head.preconditions)
    else:
        page = await pool.store_page(call.type, call.offset, body)
    return _stored(page)


async def store_begun(pool: Pool, call: Call, page: EncodedPage, begun_at: float) -> Answer:
    """The end of a store that was begun on the short way, and that changed nothing there."""
    await pool.store_begun(call.type, call.offset, page, begun_at)
    return _stored(page)


def _stored(page: EncodedPage) -> Answer:
    return Answer(204, NO_HEADERS, ((b"etag", b'"%016x"' % page.digest), COUNTS_OF_ONE[page.kind]))


def _page_counts(pages: EncodedPages) -> tuple[bytes, bytes]:
    count = pages.kinds.count
    return b"page-counts", b"zero=%d, same=%d, compressed=%d, raw=%d" % (count(0), count(1), count(2), count(3))


# Loads


async def _load(pool: Pool, call: Call, _body: bytes) -> Answer:
    zero_fills = call.flag("missing", "zero", "error")
    if call.count > 1:
        return await _load_extent(pool, call, zero_fills=zero_fills)
    try:
        page = await pool.load(call.type, call.offset, is_counted=call.operation is LOAD)
    except PageMissing:
        if not zero_fills:
            raise
        return _absent_as_zeros(pool, call)
    headers = [(b"etag", b'"%016x"' % page.digest), (b"page-kind", KIND_WORDS[page.kind])]
    if call.operation is INSPECT:
        headers.append((b"page-stored-length", b"%d" % page.stored_length))
    if zero_fills:
        headers.append((b"page-missing-count", b"0"))
    if call.head.is_conditional and not _is_modified(call, page):
        return Answer(304, PAGE_HEADERS, headers)
    return Answer(200, PAGE_HEADERS, headers, page.data)


def _is_modified(call: Call, page: Page) -> bool:
    conditions, etag = call.head.preconditions, f"{page.digest:016x}"
    if not conditions.match_holds(etag):
        raise PreconditionFailed("The page that is there does not meet If-Match.")
    return conditions.none_match_holds(etag)


def _absent_as_zeros(pool: Pool, call: Call) -> Answer:
    if not call.head.preconditions.match_holds(None):
        raise PreconditionFailed("No page is there to meet If-Match.")
    headers = [
        (b"page-kind", b"absent"),
        (b"page-missing-count", b"1"),
        (b"page-missing", b"%d" % call.offset),
    ]
    return Answer(200, PAGE_HEADERS, headers, zero_page(pool.page_size))


async def _load_extent(pool: Pool, call: Call, *, zero_fills: bool) -> Answer:
    extent = await pool.load_extent(call.type, call.offset, call.count, is_counted=call.operation is LOAD)
    states = extent.states
    if CORRUPT in states:
        raise PageCorrupt("Some pages failed their check.", corrupt=_runs_in(states, CORRUPT, call.offset))
    if ABSENT not in states:
        headers = [(b"page-missing-count", b"0")] if zero_fills else []
        return Answer(200, PAGE_HEADERS, headers, b"".join(extent.pages))
    missing = _runs_in(states, ABSENT, call.offset)
    if not zero_fills:
        raise PageMissing("Some pages are absent.", missing=missing)
    zero = zero_page(pool.page_size)
    headers = [(b"page-missing-count", b"%d" % states.count(ABSENT))]
    if len(missing) <= MAX_MISSING_RUNS:
        spans = (b"%d" % first if count == 1 else b"%d-%d" % (first, first + count - 1) for first, count in missing)
        headers.append((b"page-missing", b", ".join(spans)))
    return Answer(200, PAGE_HEADERS, headers, b"".join(page or zero for page in extent.pages))


def _runs_in(states: bytearray, state: int, first: int) -> list[list[int]]:
    return runs_of([first + place for place, found in enumerate(states) if found == state])


async def _inspect(pool: Pool, call: Call, body: bytes) -> Answer:
    answer = await _load(pool, call, body)
    return answer._replace(body=b"", length=len(answer.body)) if answer.body else answer


async def _take(pool: Pool, call: Call, _body: bytes) -> Answer:
    call.refuse_preconditions()
    page = await pool.take(call.type, call.offset)
    headers = ((b"etag", b'"%016x"' % page.digest), (b"page-kind", KIND_WORDS[page.kind]))
    return Answer(200, PAGE_HEADERS, headers, page.data)


async def _invalidate(pool: Pool, call: Call, _body: bytes) -> Answer:
    if call.count > 1:
        invalidated = await pool.invalidate_extent(call.type, call.offset, call.count)
        return Answer(200, JSON_HEADERS, (), json.dumps({"invalidated": invalidated}).encode())
    conditions = call.head.preconditions if call.head.is_conditional else None
    await pool.invalidate_page(call.type, call.offset, conditions)
    return _NO_CONTENT


# Frames


def _admit_frames(pool: Pool, call: Call) -> int:
    check_media_type(call.head)
    call.refuse_preconditions()
    if call.head.has_content_range:
        raise BadHeader("Frames are stored whole: Content-Range is for images.")
    most = pool.max_extent_pages * (HEADER_BYTES + BLOCK_HEAD_BYTES + pool.page_size)
    if call.head.content_length is not None and call.head.content_length > most:
        raise ExtentTooLarge(f"A body of frames holds {pool.max_extent_pages} pages at most.")
    # A few bytes can stand for a whole extent of zero or same-filled pages, of which only the blobs are held.
    call.held_bytes = most if call.head.content_length is None else call.head.content_length
    return most


async def _store_frames(pool: Pool, call: Call, body: bytes) -> Answer:
    return Answer(204, NO_HEADERS, (_page_counts(await pool.store_frames(call.type, call.offset, body)),))


def _admit_load_frames(pool: Pool, call: Call) -> int:
    call.refuse_preconditions()
    return _admit_bodiless(pool, call)


async def _load_frames(pool: Pool, call: Call, _body: bytes) -> Answer:
    with_lz4 = call.flag("lz4", "1", "0")
    return await frames_answer(pool, call.type, [(call.offset, call.count)], with_lz4=with_lz4)


async def frames_answer(pool: Pool, type_: int, extents: list[tuple[int, int]], *, with_lz4: bool) -> Answer:
    """The pages of some extents, as frames."""
    return Answer(200, PAGE_HEADERS, (), await pool.load_frames(type_, extents, with_lz4=with_lz4))


class PageOperation:
    """A method on a path: how it is counted, what it checks first, and what it does."""

    __slots__ = ("admit", "area", "method", "operation", "run")

    def __init__(
        self,
        method: str,
        area: str,
        operation: Operation,
        admit: Callable[[Pool, Call], int],
        run: Callable[[Pool, Call, bytes], Coroutine[Any, Any, Answer]],
    ) -> None:
        self.method = method
        self.area = area
        self.operation = operation
        self.admit = admit
        self.run = run


LOAD: Final = PageOperation("GET", "pages", Operation.LOAD, _admit_bodiless, _load)
INSPECT: Final = PageOperation("HEAD", "pages", Operation.HEAD, _admit_bodiless, _inspect)
STORE: Final = PageOperation("PUT", "pages", Operation.STORE, _admit_store, _store)
INVALIDATE: Final = PageOperation("DELETE", "pages", Operation.INVALIDATE, _admit_bodiless, _invalidate)
TAKE: Final = PageOperation("POST", "pages", Operation.TAKE, _admit_bodiless, _take)
LOAD_FRAMES: Final = PageOperation("GET", "frames", Operation.FRAMES_LOAD, _admit_load_frames, _load_frames)
STORE_FRAMES: Final = PageOperation("PUT", "frames", Operation.FRAMES_STORE, _admit_frames, _store_frames)
