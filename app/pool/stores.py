"""Changes on their way to the store: admitted at once where they surely fit, else page by page and one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from app.errors import BackendFull, MetadataFull, PagepoolError, PoolFull, Refused
from app.page.classify import Kind
from app.pool.admission import Gate, Verdict
from app.pool.changes import offsets_in, runs_of
from app.pool.state import PoolState
from app.store.base import ChangeResult, StateChanged, StoreFull
from app.store.redis import RedisStore, SentChange
from app.store.script_header import ChunkChange
from app.telemetry import Telemetry
from app.telemetry_cells import (
    POOL_LIMIT_HIT,
    REJECTS_METADATA_FULL,
    REJECTS_POOL_FULL,
    REJECTS_REDIS_OOM,
    STORES,
    RedisOperation,
    redis_series,
)

_STORE_SERIES = redis_series(RedisOperation.STORE)
_INVALIDATE_SERIES = redis_series(RedisOperation.INVALIDATE)
_FITS = Verdict.FITS


class _Refusals:
    """What of one request was refused, and why."""

    def __init__(self) -> None:
        self.pool: list[int] = []
        self.metadata: list[int] = []
        self.memory: list[int] = []

    def error(self, asked_pages: int) -> Refused:
        """The error that the request ends with."""
        rejected = sorted([*self.pool, *self.metadata, *self.memory])
        members = {"stored": asked_pages - len(rejected), "rejected": runs_of(rejected)}
        if self.memory:
            return BackendFull("Redis lacks the memory for the page.", **members)
        if self.pool:
            return PoolFull("The pool holds as many bytes as it may.", **members)
        return MetadataFull("The pool holds as many pages as it may.", **members)


class Stores:
    """Sends changes and counts what became of them."""

    def __init__(self, store: RedisStore, state: PoolState, telemetry: Telemetry) -> None:
        self._store = store
        self._state = state
        self._cells = telemetry.cells
        self._observe = telemetry.observe

    async def put(self, changes: Sequence[ChunkChange], *, keep: bool = False) -> None:
        """Store the pages of the changes.

        Args:
            changes: one for each chunk.
            keep: a refused page leaves what was there (an image's write), instead of nothing.

        Raises:
            Refused: some pages were refused; all others were stored.
            StateChanged: the one page is not as expected; nothing was changed.
            BackendUnavailable: what became of some pages is unknown.
        """
        started = perf_counter()
        refusals = _Refusals()
        sent: list[SentChange] = []
        failure: PagepoolError | None = None
        remaining = list(changes)
        while remaining:
            change = remaining[0]
            verdict = self._state.decide(change.blob_bytes, change.put_map.bit_count())
            if verdict is Verdict.LOOK:
                await self._state.look()
                verdict = self._state.decide(change.blob_bytes, change.put_map.bit_count())
            if verdict is Verdict.EXACT:
                break
            sent.append(self._begin(change))
            del remaining[0]
        for change, pending in zip(changes, sent, strict=False):
            try:
                result = await pending.finish()
            except StoreFull:
                result = await self._refuse_blobs(change, refusals, keep=keep)
            except PagepoolError as error:
                failure = failure or error
                continue
            finally:
                self._state.release(change)
            self._count(change, result, refusals)
        if failure is None and remaining:
            await self._put_exactly(remaining, refusals, keep=keep)
        self._observe(_STORE_SERIES, perf_counter() - started)
        if failure is not None:
            raise failure
        if refusals.pool or refusals.metadata or refusals.memory:
            raise refusals.error(sum(change.put_map.bit_count() for change in changes))

    def _begin(self, change: ChunkChange) -> SentChange:
        sent = self._store.begin_change(change)
        self._state.reserve(change)
        return sent

    async def _put_exactly(self, changes: Sequence[ChunkChange], refusals: _Refusals, *, keep: bool) -> None:
        """Let the script admit page by page, one change at a time, after a fresh look."""
        state = self._state
        async with state.exact_turn:
            await state.look()
            for change in changes:
                try:
                    result = await self._store.change(change, state.room(), keep=keep)
                    await state.set_gate(Gate.CLOSED if result.is_closed else Gate.OPEN)
                except StoreFull:
                    result = await self._refuse_blobs(change, refusals, keep=keep)
                self._count(change, result, refusals)

    async def _refuse_blobs(self, change: ChunkChange, refusals: _Refusals, *, keep: bool) -> ChangeResult:
        """Redis lacked the memory: put the zero pages all the same, and leave no stale copy of the others."""
        result = await self._store.change(change, self._state.room(), refuse=True, keep=keep)
        refused = offsets_in(change.chunk, result.refused_for_bytes)
        refusals.memory.extend(refused)
        self._cells[REJECTS_REDIS_OOM] += len(refused)
        # They are counted here, so they are none of the pool's own refusals.
        return ChangeResult(result.dropped, result.is_closed, 0, change.blob_map, result.refused_for_pages)

    def _count(self, change: ChunkChange, result: ChangeResult, refusals: _Refusals) -> None:
        cells = self._cells
        refused = result.refused
        if refused:
            known = set(refusals.memory)
            pool = [offset for offset in offsets_in(change.chunk, result.refused_for_bytes) if offset not in known]
            metadata = offsets_in(change.chunk, result.refused_for_pages)
            refusals.pool.extend(pool)
            refusals.metadata.extend(metadata)
            cells[REJECTS_POOL_FULL] += len(pool)
            cells[REJECTS_METADATA_FULL] += len(metadata)
            cells[POOL_LIMIT_HIT] += result.limit_hits
        blobs = change.blob_map & ~refused
        same, raw = change.same_map & blobs, change.raw_map & blobs
        cells[STORES + Kind.ZERO] += (change.zero_map & ~refused).bit_count()
        cells[STORES + Kind.SAME] += same.bit_count()
        cells[STORES + Kind.RAW] += raw.bit_count()
        cells[STORES + Kind.COMPRESSED] += (blobs & ~same & ~raw).bit_count()

    async def drop(self, changes: Sequence[ChunkChange]) -> list[ChangeResult]:
        """Remove the pages of the changes.

        Raises:
            StateChanged: the one page is not as expected; nothing was changed.
            BackendUnavailable: whether some pages are gone is unknown.
        """
        started = perf_counter()
        sent = [self._store.begin_change(change) for change in changes]
        results: list[ChangeResult] = []
        failure: PagepoolError | StateChanged | None = None
        for pending in sent:
            try:
                results.append(await pending.finish())
            except (PagepoolError, StateChanged) as error:
                failure = failure or error
        self._observe(_INVALIDATE_SERIES, perf_counter() - started)
        if failure is not None:
            raise failure
        return results
