"""Changes on their way to the store: admitted at once where they surely fit, else page by page and one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from app.errors import BackendFull, BackendUnavailable, MetadataFull, Overloaded, PagepoolError, PoolFull, Refused
from app.page.classify import Kind
from app.pool.admission import Gate, Verdict
from app.pool.changes import offsets_in, runs_of
from app.pool.patience import ensure_time
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


def _partly(error: PagepoolError) -> PagepoolError:
    """The error of a request of which something was sent already: nobody may say then that nothing was changed."""
    return BackendUnavailable(error.detail) if isinstance(error, Overloaded) else error


class Stores:
    """Sends changes and counts what became of them."""

    def __init__(self, store: RedisStore, state: PoolState, telemetry: Telemetry) -> None:
        self._store = store
        self._state = state
        self._cells = telemetry.cells
        self._observe = telemetry.observe

    async def put_page(self, change: ChunkChange, begun_at: float | None = None) -> None:
        """As `put`, of one page: what surely fits spares itself the questions.

        `begun_at`: when a try that changed nothing was sent; time.monotonic.
        """
        if not self._state.surely_fits(change.blob_bytes):
            await self.put((change,))
            return
        started = perf_counter()
        pending = self._begin(change, begun_at)
        try:
            await pending.finish()
        except StoreFull:
            refusals = _Refusals()
            result = await self._refuse_blobs(change, refusals, keep=False)
            self._count(change, result, refusals)
            raise refusals.error(1) from None
        finally:
            self._state.release(change)
            self._observe(_STORE_SERIES, perf_counter() - started)
        self._cells[STORES + change.kind_of_one] += 1

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
        failure = await self._put_many(changes, refusals, started, keep=keep)
        self._observe(_STORE_SERIES, perf_counter() - started)
        if failure is not None:
            raise failure
        if refusals.pool or refusals.metadata or refusals.memory:
            raise refusals.error(sum(change.put_map.bit_count() for change in changes))

    async def _put_many(
        self, changes: Sequence[ChunkChange], refusals: _Refusals, started: float, *, keep: bool
    ) -> PagepoolError | None:
        """Send what surely fits, then the rest page by page; the first error that a change ended with."""
        sent: list[SentChange] = []
        failure: PagepoolError | None = None
        remaining = list(changes)
        while remaining:
            change = remaining[0]
            try:
                verdict = self._state.decide(change.blob_bytes, change.put_map.bit_count())
                if verdict is Verdict.LOOK:
                    await self._state.look()
                    ensure_time(started)
                    verdict = self._state.decide(change.blob_bytes, change.put_map.bit_count())
                if verdict is Verdict.EXACT:
                    break
                sent.append(self._begin(change))
            except PagepoolError as error:
                # Not answered before what was sent already has ended, too.
                failure = _partly(error) if sent else error
                break
            del remaining[0]
        for change, pending in zip(changes, sent, strict=False):
            failure = await self._finish(change, pending, refusals, keep=keep) or failure
        if failure is None and remaining:
            await self._put_exactly(remaining, refusals, started, keep=keep, is_whole=not sent)
        return failure

    def _begin(self, change: ChunkChange, begun_at: float | None = None) -> SentChange:
        sent = self._store.begin_change(change, begun_at=begun_at)
        self._state.reserve(change)
        return sent

    async def _finish(
        self, change: ChunkChange, pending: SentChange, refusals: _Refusals, *, keep: bool
    ) -> PagepoolError | None:
        """Wait for a change's end, and count it; the error that it failed with, so that all others can end as well."""
        try:
            result = await pending.finish()
        except StoreFull:
            try:
                result = await self._refuse_blobs(change, refusals, keep=keep)
            except PagepoolError as error:
                return error
        except PagepoolError as error:
            return error
        finally:
            self._state.release(change)
        self._count(change, result, refusals)
        return None

    async def _put_exactly(
        self, changes: Sequence[ChunkChange], refusals: _Refusals, started: float, *, keep: bool, is_whole: bool
    ) -> None:
        """Let the script admit page by page, one change at a time, after a fresh look.

        `is_whole`: these are all changes of the request.
        """
        state = self._state
        async with state.exact_turn:
            try:
                ensure_time(started)
                await state.look()
                for change in changes:
                    ensure_time(started)
                    try:
                        result = await self._store.change(change, state.room(), keep=keep)
                    except StoreFull:
                        result = await self._refuse_blobs(change, refusals, keep=keep)
                    else:
                        await state.set_gate(Gate.CLOSED if result.is_closed else Gate.OPEN)
                    self._count(change, result, refusals)
                    is_whole = False
            except Overloaded as error:
                raise error if is_whole else _partly(error) from error

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
        sent: list[SentChange] = []
        results: list[ChangeResult] = []
        failure: PagepoolError | StateChanged | None = None
        for change in changes:
            try:
                sent.append(self._store.begin_change(change))
            except PagepoolError as error:
                failure = _partly(error) if sent else error
                break
        for pending in sent:
            try:
                results.append(await pending.finish())
            except (PagepoolError, StateChanged) as error:
                failure = failure or error
        self._observe(_INVALIDATE_SERIES, perf_counter() - started)
        if failure is not None:
            raise failure
        return results
