"""A type as a disk image: its bytes, read in pieces and written at any place (contract 2.4).

Reading: a long stretch first asks for the chunks that each run holds, so that holes cost one question for 4096 pages;
the pages themselves come in pieces of one chunk at most, the next ones asked for while the consumer takes this one.

Writing: whole pages go as they come, page by page; a page that is written in part is read, changed and swapped for what
was read, again if somebody else changed it meanwhile. The stale-copy rule does not hold here: what is refused leaves
what was there. Zeros over a hole leave a hole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from app.errors import (
    BackendUnavailable,
    BadParameter,
    NoImage,
    Overloaded,
    PageCorrupt,
    PagepoolError,
    PagesLost,
    Previous,
    StoresDisabled,
)
from app.page.address import offset_limit
from app.page.classify import Kind, zero_page
from app.page.codec import CORRUPT, UNREADABLE_BLOB, decode_extent
from app.pool.areas import Areas
from app.pool.changes import Extent, puts
from app.pool.numbers import IMAGES_KEEP_PAGES, MAX_IMAGE_BYTES, TypeConfiguration
from app.pool.pages import MAX_ATTEMPTS
from app.store.base import StateChanged
from app.store.chunk import unpack
from app.store.image_reads import LOST, ImageReads, SentRead
from app.store.keys import CHUNK_PAGES, CHUNK_SHIFT, INDEX_MASK, RUN_CHUNKS, RUN_PAGES
from app.store.script_header import ChunkChange
from app.telemetry_cells import DECODE_FAILURES, LOADS, REJECTS_DISABLED, RedisOperation, redis_series

_LOAD_SERIES: Final = redis_series(RedisOperation.LOAD)

PIECE_BYTES: Final = 256 << 10
"""Bytes that a read gives out at once, about; one chunk of the smallest pages."""

READ_AHEAD: Final = 2
"""Pieces that are asked for beyond the one that is given out."""

WRITE_BYTES: Final = 1 << 20
"""Bytes that are written at once, about."""

_ZEROS: Final = bytes(PIECE_BYTES)
_ZERO_WRITE: Final = bytes(WRITE_BYTES)


class _Piece(NamedTuple):
    """Consecutive pages of one chunk; `read` is None where they are known to be a hole."""

    first: int
    pages: int
    read: SentRead | None


class ShortRead(NamedTuple):
    """The pieces of a range of bytes, all asked for."""

    start: int
    end: int
    pieces: list[_Piece]


class Images(Areas):
    """Types by bytes."""

    @cached_property
    def _reads(self) -> ImageReads:
        return ImageReads(self._store)

    # What an image is

    async def image_bytes(self, type_: int) -> int:
        """The image's size in bytes.

        Raises:
            NoImage: the type has none.
            PagesLost: configurations were lost, perhaps this type's.
            BackendUnavailable: Redis is out of reach.
        """
        text, is_lost = await self._state.configurations.read_for_image(type_)
        if is_lost:
            raise PagesLost(LOST)
        image_bytes = None if text is None else TypeConfiguration.model_validate_json(text).image_bytes
        if image_bytes is None:
            raise NoImage("The type has no image_bytes.")
        return image_bytes

    async def check_keeps_pages(self, type_: int) -> None:
        """Check that a type may be written as a whole image.

        Raises:
            BadParameter: its pages go by themselves.
        """
        text = await self._state.configurations.read(type_)
        if text is not None and TypeConfiguration.model_validate_json(text).may_lose_pages:
            raise BadParameter(f"{IMAGES_KEEP_PAGES.capitalize()}.")

    @property
    def max_image_bytes(self) -> int:
        """The size of the largest image that a type of this pool can be."""
        return min(MAX_IMAGE_BYTES, offset_limit(self.page_size) * self.page_size)

    # Reading

    def begin_short_read(self, type_: int, start: int, end: int) -> ShortRead:
        """Ask for a range of PIECE_BYTES at most, in the same round trip as what follows; `image_pieces` takes it on.

        Raises:
            BackendUnavailable: Redis is out of reach.
        """
        offset, behind = start // self.page_size, -(-end // self.page_size)
        return ShortRead(start, end, [self._begin(type_, *part) for part in self._parts(offset, behind)])

    async def image_pieces(
        self, type_: int, start: int, end: int, begun: ShortRead | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `end`, in pieces of PIECE_BYTES at most; holes are zeros.

        `begun` is of use where it is of this very range.

        Raises:
            PagesLost: some may have been lost.
            PageCorrupt: a page failed its check; what came before it was given out.
            BackendUnavailable: Redis is out of reach.
        """
        size = self.page_size
        ahead: deque[_Piece] = deque()
        if begun is not None and (begun.start, begun.end) == (start, end):
            ahead.extend(begun.pieces)
        else:
            async for piece in self._pieces(type_, start // size, -(-end // size)):
                ahead.append(piece)
                if len(ahead) > READ_AHEAD:
                    yield _cut(await self._finish(type_, ahead[0]), ahead.popleft().first * size, start, end)
        while ahead:
            yield _cut(await self._finish(type_, ahead[0]), ahead.popleft().first * size, start, end)

    async def _pieces(self, type_: int, offset: int, behind: int) -> AsyncIterator[_Piece]:
        """The pieces of a range of pages, each read begun."""
        while offset < behind:
            run_end = min(behind, (offset // RUN_PAGES + 1) * RUN_PAGES)
            held = -1
            if (run_end - offset) * self.page_size > (READ_AHEAD + 1) * PIECE_BYTES:
                held = await self._reads.chunks_held(type_, offset // RUN_PAGES)
            for first, pages in self._parts(offset, run_end):
                is_held = held >> (first >> CHUNK_SHIFT & RUN_CHUNKS - 1) & 1
                yield self._begin(type_, first, pages) if is_held else _Piece(first, pages, None)
            offset = run_end

    def _parts(self, offset: int, behind: int) -> Iterator[Extent]:
        """A range of pages, cut where pieces end; each part lies in one chunk."""
        per_piece = min(PIECE_BYTES // self.page_size, CHUNK_PAGES)
        while offset < behind:
            pages = min(per_piece - offset % per_piece, behind - offset)
            yield offset, pages
            offset += pages

    def _begin(self, type_: int, first: int, pages: int) -> _Piece:
        return _Piece(first, pages, self._reads.begin_pages(type_, first, pages))

    async def _finish(self, type_: int, piece: _Piece) -> bytes:
        """The bytes of whole pages."""
        first, count, read = piece
        if read is None:
            return _zeros(count * self.page_size)
        field, *blobs = await read.finish()
        self._telemetry.observe(_LOAD_SERIES, read.seconds)
        try:
            chunk_map = unpack(field, type_, first >> CHUNK_SHIFT)
        except PageCorrupt:
            self._cells[DECODE_FAILURES] += count
            raise
        zero, with_blob = chunk_map.zero >> (first & INDEX_MASK), chunk_map.blobs >> (first & INDEX_MASK)
        here = (1 << count) - 1
        self._cells[LOADS + Kind.ZERO] += (zero & here).bit_count()
        if not with_blob & here:
            return _zeros(count * self.page_size)
        held = [(blob or UNREADABLE_BLOB) if with_blob >> place & 1 else None for place, blob in enumerate(blobs)]
        extent = decode_extent(held, self.page_size, type_, first)
        for kind in (Kind.SAME, Kind.COMPRESSED, Kind.RAW):
            self._cells[LOADS + kind] += extent.states.count(kind)
        if corrupt := extent.states.count(CORRUPT):
            self._cells[DECODE_FAILURES] += corrupt
            raise PageCorrupt("A page of the image failed its check.")
        return b"".join([page or self._zero_page.data for page in extent.pages])

    # Writing

    async def write_image(self, type_: int, start: int, data: bytes) -> None:
        """Write bytes at `start`, which need not be where a page begins, nor need they end with one.

        Raises:
            Refused: the pool will not take some of the pages; each of those is as it was.
            PagesLost: a page that is written in part may have been lost.
            BackendUnavailable: Redis is out of reach; each page is as it was, or as it should be.
            Overloaded: others change the same page all the time.
        """
        try:
            await self._write(type_, start, data)
        except PagepoolError as error:
            if not isinstance(error, BackendUnavailable):
                error.previous, error.members = Previous.KEPT, {}
            raise

    async def _write(self, type_: int, start: int, data: bytes) -> None:
        size = self.page_size
        self._refuse_if_disabled(-(-(start + len(data)) // size) - start // size)
        offset, skipped = divmod(start, size)
        if skipped:
            edge, data = data[: size - skipped], data[size - skipped :]
            await self._patch(type_, offset, skipped, edge)
            offset += 1
        whole = len(data) // size * size
        if whole:
            await self._write_pages(type_, offset, data[:whole] if whole < len(data) else data)
        if whole < len(data):
            await self._patch(type_, offset + whole // size, 0, data[whole:])

    async def _patch(self, type_: int, offset: int, skipped: int, part: bytes) -> None:
        """Change a part of one page, whatever others do to the rest of it."""
        for _ in range(MAX_ATTEMPTS):
            old, state = await self._look_at(type_, offset)
            new = b"".join((old[:skipped], part, old[skipped + len(part) :]))
            if new == old:
                return
            [change] = puts(type_, self._state.encoder.encode_extent(new, type_, offset))
            change.expected = state
            try:
                await self._stores.put([change], keep=True)
            except StateChanged:
                continue
            return
        raise Overloaded("The page changes too often to be compared and swapped.")

    async def _look_at(self, type_: int, offset: int) -> tuple[bytes, bytes]:
        """A page's bytes, zeros where it is absent, and the state that a change of it can be bound to."""
        chunk, index = offset >> CHUNK_SHIFT, offset & INDEX_MASK
        read = self._reads.begin_pages(type_, offset, 1)
        field, blob = await read.finish()
        kind = unpack(field, type_, chunk).kind(index)
        if kind is None or kind is Kind.ZERO:
            return zero_page(self.page_size), b"a" if kind is None else b"z"
        extent = decode_extent([blob or UNREADABLE_BLOB], self.page_size, type_, offset)
        if CORRUPT in extent.states:
            self._cells[DECODE_FAILURES] += 1
            raise PageCorrupt("A page that is to be changed in part failed its check.")
        return extent.pages[0], blob[1:9]

    async def _write_pages(self, type_: int, offset: int, body: bytes) -> None:
        pages = await self._slices.encode(self._state.encoder, body, type_, offset)
        self._refuse_if_disabled(len(pages))
        changes = puts(type_, pages)
        await self._leave_holes(type_, changes)
        changes = [change for change in changes if change.put_map]
        if changes:
            await self._stores.put(changes, keep=True)

    def _refuse_if_disabled(self, pages: int) -> None:
        if not self.parameters.enabled:
            self._cells[REJECTS_DISABLED] += pages
            raise StoresDisabled("The pool does not accept stores now.")

    async def _leave_holes(self, type_: int, changes: Sequence[ChunkChange]) -> None:
        """Take those zero pages out of the changes that would come to lie in holes.

        A page that appears in between is overwritten by nobody: its store comes after this write, which left a hole.
        """
        with_zeros = [change for change in changes if change.zero_map]
        chunk_maps = await self._reads.chunk_maps(type_, [change.chunk for change in with_zeros])
        for change, chunk_map in zip(with_zeros, chunk_maps, strict=True):
            change.zero_map &= chunk_map.present

    async def end_image(self, type_: int, image_bytes: int) -> None:
        """Set the size of an image that was written whole, and drop what lies behind its end.

        In this order, so that a failure in between drops no page of the image that was.
        """
        text = await self._state.configurations.read(type_)
        configuration = TypeConfiguration.model_validate_json(text or "{}")
        await self.configure_type(type_, configuration.model_copy(update={"image_bytes": image_bytes}))
        behind, limit = -(-image_bytes // self.page_size), offset_limit(self.page_size)
        if behind < limit:
            await self._invalidate_range(type_, behind, limit - behind)


def _cut(pages: bytes, first_byte: int, start: int, end: int) -> bytes:
    """The part of whole pages, the first of which begins at `first_byte`, that lies from `start` to before `end`."""
    if start <= first_byte and first_byte + len(pages) <= end:
        return pages
    return pages[max(start - first_byte, 0) : end - first_byte]


def _zeros(length: int) -> bytes:
    # One object for nearly all of a hole.
    return _ZEROS if length == PIECE_BYTES else bytes(length)
