"""The story of a page: store, load, invalidate, take.

A store: the pages are encoded, split into changes of chunks, admitted, and sent; each change is one atomic script. What
the limit or Redis refuses leaves no older copy behind (the stale-copy rule), which the script sees to.
A load: one HMGET for each chunk; every blob is decoded and checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter

from app.errors import (
    Overloaded,
    PageCorrupt,
    PageMissing,
    PagepoolError,
    PreconditionFailed,
    StoresDisabled,
)
from app.page.classify import Kind
from app.page.codec import (
    ABSENT,
    CORRUPT,
    UNREADABLE_BLOB,
    ZERO_BLOB,
    DecodedExtent,
    EncodedPage,
    EncodedPages,
    decode,
)
from app.page.frames import scan
from app.pool.base import Page, PoolBase
from app.pool.changes import Extent, drops, put_one, puts
from app.pool.patience import ensure_time
from app.pool.preconditions import Preconditions, etag_of
from app.store.base import StateChanged
from app.store.chunk import FULL_MASK, kind_of_page, unpack
from app.store.keys import CHUNK_PAGES, CHUNK_SHIFT, INDEX_MASK
from app.store.script_header import ChunkChange
from app.store.sent_change import SentChange
from app.telemetry_cells import (
    DECODE_FAILURES,
    INVALIDATES,
    LOADS,
    LOADS_MISS,
    REJECTS_DISABLED,
    RedisOperation,
    redis_series,
)

_LOAD_SERIES = redis_series(RedisOperation.LOAD)

AHEAD_BYTES = 4 << 20
"""Up to this length a body is stored while it is encoded: what Redis says to its first pages is heard at its end, and
must not come too late to try again."""

MAX_ATTEMPTS = 64
"""Compare-and-swap rounds on one page before the request gives way: so many others changed it in between."""


class Pages(PoolBase):
    """Single pages and extents."""

    # Loads

    async def load(self, type_: int, offset: int, *, is_counted: bool = True) -> Page:
        """One page; a look at it that gives no bytes away is not counted as a load.

        Raises:
            PageMissing: it is absent.
            PageCorrupt: what is kept failed its check.
            BackendUnavailable: Redis is out of reach.
        """
        started = perf_counter()
        if type_ in self._state.policies:
            page, _, _ = await self._look_up(type_, offset, is_marked=is_counted)
        else:
            field, blob = await self._store.fetch_page(type_, offset >> CHUNK_SHIFT, offset & INDEX_MASK)
            page = self._open(type_, offset, field, blob)
        self._observe(_LOAD_SERIES, perf_counter() - started)
        if is_counted:
            self._cells[LOADS_MISS if page is None else LOADS + page.kind] += 1
        if page is None:
            raise PageMissing("The page is absent.", missing=[[offset, 1]])
        return page

    def _open(self, type_: int, offset: int, field: bytes | None, blob: bytes | None) -> Page | None:
        """The page that a chunk's map and a blob give, checked; None where it is absent."""
        try:
            kind = kind_of_page(field, type_, offset >> CHUNK_SHIFT, offset & INDEX_MASK)
            if kind is None:
                return None
            if kind is Kind.ZERO:
                return self._zero_page
            data, digest, kind = decode(blob or UNREADABLE_BLOB, self.page_size, type_, offset)
        except PageCorrupt:
            self._cells[DECODE_FAILURES] += 1
            raise
        return Page(data, digest, kind, len(blob or b""))

    async def _look_up(
        self, type_: int, offset: int, *, is_marked: bool = False
    ) -> tuple[Page | None, bytes, int | None]:
        """One page, uncounted; the state that a change of it can be bound to, and what it calls expired."""
        chunk, index = offset >> CHUNK_SHIFT, offset & INDEX_MASK
        policy = self._state.policies.get(type_)
        if policy is None:
            cutoff = None
            field, blob = await self._store.fetch_page(type_, chunk, index)
        else:
            field, blob, *rest = await self._store.fetch_page(type_, chunk, index, with_times=policy.ttl_seconds > 0)
            times = rest[0] if rest else None
            cutoff = policy.cutoff(self._store.server_time(self._store.keys.stripe_of(type_, chunk)))
            if field is not None and policy.is_expired(times, index, cutoff):
                return None, b"a", cutoff
        page = self._open(type_, offset, field, blob)
        if page is None:
            return None, b"a", cutoff
        if is_marked and policy is not None:
            self._marks.add(type_, chunk, 1 << index)
        return page, b"z" if page.kind is Kind.ZERO or blob is None else blob[1:9], cutoff

    async def load_extent(self, type_: int, offset: int, count: int, *, is_counted: bool = True) -> DecodedExtent:
        """Consecutive pages, each with its state; corrupt ones are counted and marked, none is made up."""
        extent = await self._slices.decode(await self._held(type_, offset, count), type_, offset)
        if is_counted:
            self.count_loads(extent.states)
        return extent

    async def load_frames(self, type_: int, extents: Sequence[Extent], *, with_lz4: bool) -> bytes:
        """The pages of some extents, as frames (contract 2.2)."""
        held = [(offset, await self._held(type_, offset, count)) for offset, count in extents]
        states, body = await self._slices.write_frames(held, type_, with_lz4=with_lz4)
        self.count_loads(states)
        return body

    async def _held(self, type_: int, offset: int, count: int) -> list[bytes | None]:
        held: list[bytes | None] = []
        started = perf_counter()
        policy = self._state.policies.get(type_)
        with_times = policy is not None and policy.ttl_seconds > 0
        pieces = await self._store.fetch_pages(type_, offset, count, with_times=with_times)
        self._observe(_LOAD_SERIES, perf_counter() - started)
        for chunk, index, taken, (field, *blobs) in pieces:
            times = blobs.pop() if with_times else None
            try:
                chunk_map = unpack(field, type_, chunk)
            except PageCorrupt:
                held.extend([UNREADABLE_BLOB] * taken)
                continue
            present = chunk_map.present
            if policy is not None:
                cutoff = policy.cutoff(self._store.server_time(self._store.keys.stripe_of(type_, chunk)))
                present &= ~policy.expired_map(times, present, cutoff)
                if wanted := present & (FULL_MASK >> CHUNK_PAGES - taken) << index:
                    self._marks.add(type_, chunk, wanted)
            present, zero = present >> index, chunk_map.zero >> index
            for blob in blobs:
                if not present & 1:
                    held.append(None)
                elif zero & 1:
                    held.append(ZERO_BLOB)
                else:
                    held.append(UNREADABLE_BLOB if blob is None else blob)
                present >>= 1
                zero >>= 1
        return held

    def count_loads(self, states: bytearray) -> None:
        """Count what a load of many pages found, as `decode_extent` and `FrameWriter` tell it."""
        cells = self._cells
        for kind in Kind:
            cells[LOADS + kind] += states.count(kind)
        cells[LOADS_MISS] += states.count(ABSENT)
        cells[DECODE_FAILURES] += states.count(CORRUPT)

    # Stores

    async def store(self, type_: int, offset: int, body: bytes) -> EncodedPages:
        """Store the pages of a body, k × page_size bytes, at consecutive offsets; what they were encoded to.

        Raises:
            Refused: the pool will not take some of them; the rest was stored.
            BackendUnavailable: Redis is out of reach; what became of the pages is unknown.
        """
        if not CHUNK_PAGES * self.page_size < len(body) <= AHEAD_BYTES:
            pages = await self._slices.encode(self._state.encoder, body, type_, offset)
            await self._store_encoded(type_, pages)
            return pages
        changes, sent = list[ChunkChange](), list[SentChange]()

        def send_ahead(pages: EncodedPages) -> None:
            # Redis has work while the rest is encoded, and what is sent has just been in the processor's caches.
            [change] = puts(type_, pages)
            if len(sent) == len(changes) and (begun := self._stores.send_ahead(change)) is not None:
                sent.append(begun)
            changes.append(change)

        try:
            pages = await self._slices.encode(self._state.encoder, body, type_, offset, send_ahead)
        except BaseException:
            await self._await_sent(changes, sent)
            raise
        await self._put(changes, sent)
        return pages

    async def _await_sent(self, changes: Sequence[ChunkChange], sent: Sequence[SentChange]) -> None:
        """Wait for what was sent ahead, of a store that fails whatever becomes of it."""
        if sent:
            with suppress(PagepoolError):
                await self._stores.put(changes[: len(sent)], ahead=sent)

    async def store_frames(self, type_: int, offset: int, body: bytes) -> EncodedPages:
        """Store the pages of a body of frames (contract 2.2).

        Raises:
            BadFrame: a rule is broken; nothing was stored.
            Refused, BackendUnavailable: as `store`.
        """
        frames = scan(body, offset, self.max_extent_pages, self.page_size)
        pages = await self._slices.encode_frames(self._state.encoder, body, frames, type_)
        await self._store_encoded(type_, pages)
        return pages

    async def _store_encoded(
        self, type_: int, pages: EncodedPages, expected: bytes = b"", cutoff: int | None = None
    ) -> None:
        changes = puts(type_, pages)
        if expected:
            changes[0].expected, changes[0].cutoff = expected, cutoff
        await self._put(changes)

    async def _put(self, changes: Sequence[ChunkChange], ahead: Sequence[SentChange] = ()) -> None:
        """Store, if stores are enabled now; else drop the pages, and with them what was sent ahead before."""
        if self._state.parameters.enabled:
            await self._stores.put(changes, ahead=ahead)
            return
        await self._await_sent(changes, ahead)
        self._cells[REJECTS_DISABLED] += sum(change.put_map.bit_count() for change in changes)
        for change in changes:
            change.drop_map = change.put_map
            change.zero_map = change.same_map = change.raw_map = change.blob_map = change.blob_bytes = 0
            change.blobs = ()
        await self._stores.drop(changes)
        raise StoresDisabled("The pool does not accept stores now.")

    async def store_page(self, type_: int, offset: int, page: bytes) -> EncodedPage:
        """As `store`, of one page: the call that must cost least."""
        encoded = self._state.encoder.encode(page, type_, offset)
        if self._state.parameters.enabled:
            await self._stores.put_page(put_one(type_, offset, encoded.kind, encoded.blob or ZERO_BLOB))
        else:
            await self._store_encoded(type_, EncodedPages.of_one(offset, encoded))
        return encoded

    async def store_begun(self, type_: int, offset: int, encoded: EncodedPage, begun_at: float) -> None:
        """The long way for a store of one page that `short_way` has begun, at `begun_at`, and that changed nothing.

        Raises:
            Refused, BackendUnavailable: as `store`.
        """
        change = put_one(type_, offset, encoded.kind, encoded.blob or ZERO_BLOB)
        await self._stores.put_page(change, begun_at)

    async def store_if(self, type_: int, offset: int, page: bytes, conditions: Preconditions) -> EncodedPage:
        """Store one page if the preconditions hold for what is there, compared and swapped in one step.

        Raises:
            PreconditionFailed: they do not; nothing was changed.
            Refused, BackendUnavailable: as `store`.
        """
        started = perf_counter()
        encoded = self._state.encoder.encode(page, type_, offset)
        for _ in range(MAX_ATTEMPTS):
            current, state, cutoff = await self._look_up(type_, offset)
            if not conditions.allow_change(None if current is None else etag_of(current.digest)):
                raise PreconditionFailed("The page that is there does not meet the precondition.")
            ensure_time(started)
            try:
                await self._store_encoded(type_, EncodedPages.of_one(offset, encoded), state, cutoff)
            except StateChanged:
                ensure_time(started)
                continue
            return encoded
        raise Overloaded("The page changes too often to be compared and swapped.")

    # Invalidates

    async def invalidate_page(self, type_: int, offset: int, conditions: Preconditions | None = None) -> None:
        """Remove one page.

        Raises:
            PageMissing: there is none.
            PreconditionFailed: the preconditions do not hold for it.
        """
        [change] = drops(type_, [(offset, 1)])
        if conditions is None:
            [result] = await self._stores.drop([change])
            if not result.dropped:
                raise PageMissing("The page is absent.", missing=[[offset, 1]])
            self._cells[INVALIDATES] += 1
            return
        await self._remove_checked(type_, offset, conditions)

    async def take(self, type_: int, offset: int) -> Page:
        """Load one page and remove it: of several takers one gets it.

        Raises:
            PageMissing: it is absent, or another taker was first.
            PageCorrupt: what is kept failed its check; it stays.
        """
        try:
            page = await self._remove_checked(type_, offset, Preconditions())
        except PageMissing:
            self._cells[LOADS_MISS] += 1
            raise
        self._cells[LOADS + page.kind] += 1
        return page

    async def _remove_checked(self, type_: int, offset: int, conditions: Preconditions) -> Page:
        started = perf_counter()
        [change] = drops(type_, [(offset, 1)])
        for _ in range(MAX_ATTEMPTS):
            page, change.expected, change.cutoff = await self._look_up(type_, offset)
            if page is None:
                raise PageMissing("The page is absent.", missing=[[offset, 1]])
            if not conditions.allow_change(etag_of(page.digest)):
                raise PreconditionFailed("The page that is there does not meet the precondition.")
            ensure_time(started)
            try:
                await self._stores.drop([change])
            except StateChanged:
                ensure_time(started)
                continue
            self._cells[INVALIDATES] += 1
            return page
        raise Overloaded("The page changes too often to be compared and swapped.")

    async def invalidate_extent(self, type_: int, offset: int, count: int) -> int:
        """Remove what is held of an extent; how many pages that were."""
        results = await self._stores.drop(drops(type_, [(offset, count)]))
        dropped = sum(result.dropped for result in results)
        self._cells[INVALIDATES] += dropped
        return dropped
