"""Changes on their way to the store: admitted at once where they surely fit, else page by page and one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

from app.errors import (
    BackendUnavailable,
    Overloaded,
    PagepoolError,
)
from app.page.classify import Kind
from app.pool.admission import Verdict
from app.pool.changes import offsets_in
from app.pool.patience import ensure_time
from app.pool.refusals import Refusals
from app.pool.shrinker import Shrinker
from app.pool.state import PoolState
from app.store.base import ChangeResult, PolicyOutdated, StateChanged, StoreFull
from app.store.redis import RedisStore
from app.store.script_header import ChunkChange, Room
from app.store.sent_change import SentChange
from app.telemetry import Telemetry
from app.telemetry_cells import (
    POOL_LIMIT_HIT,
    REJECTS_METADATA_FULL,
    REJECTS_POOL_FULL,
    REJECTS_REDIS_OOM,
    REJECTS_TYPE_FULL,
    STORES,
    RedisOperation,
    redis_series,
)

_STORE_SERIES = redis_series(RedisOperation.STORE)
_INVALIDATE_SERIES = redis_series(RedisOperation.INVALIDATE)

MAX_POLICIES = 8
"""How often a type's policy may change under one request before it gives way."""


def _partly(error: PagepoolError) -> PagepoolError:
    """The error of a request of which something was sent already: nobody may say then that nothing was changed."""
    return BackendUnavailable(error.detail) if isinstance(error, Overloaded) else error


class Stores:
    """Sends changes and counts what became of them."""

    def __init__(self, store: RedisStore, state: PoolState, shrinker: Shrinker, telemetry: Telemetry) -> None:
        self._store = store
        self._state = state
        self._shrinker = shrinker
        self._cells = telemetry.cells
        self._observe = telemetry.observe

    async def put_page(self, change: ChunkChange, begun_at: float | None = None) -> None:
        """As `put`, of one page: what surely fits spares itself the questions.

        `begun_at`: when a try that changed nothing was sent; time.monotonic.
        """
        if change.type in self._state.policies or not self._state.surely_fits(change.blob_bytes):
            await self.put((change,))
            return
        started = perf_counter()
        pending = self._begin(change, begun_at)
        try:
            await pending.finish()
        except StoreFull:
            refusals = Refusals()
            result = await self._refuse_blobs(change, refusals, keep=False)
            self._count(change, result, refusals)
            raise refusals.error(1) from None
        finally:
            self._state.release(change)
            self._observe(_STORE_SERIES, perf_counter() - started)
        self._cells[STORES + change.kind_of_one] += 1

    def send_ahead(self, change: ChunkChange) -> SentChange | None:
        """Send one of the changes that `put` will be given, while others are still being made; None: leave it to `put`.

        It is sent where no question has to be asked first.
        """
        is_plain = change.type not in self._state.policies and not self._store.nodes.waits_for_replicas
        if not is_plain or not self._state.surely_fits(change.blob_bytes, change.put_map.bit_count()):
            return None
        try:
            return self._begin(change)
        except PagepoolError:
            return None  # it fails again in `put`, where somebody waits for the outcome

    async def put(
        self, changes: Sequence[ChunkChange], *, keep: bool = False, ahead: Sequence[SentChange] = ()
    ) -> None:
        """Store the pages of the changes.

        Args:
            changes: one for each chunk.
            keep: a refused page leaves what was there (an image's write), instead of nothing.
            ahead: the first of the changes, as `send_ahead` has sent them.

        Raises:
            Refused: some pages were refused; all others were stored.
            StateChanged: the one page is not as expected; nothing was changed.
            BackendUnavailable: what became of some pages is unknown.
        """
        started = perf_counter()
        refusals = Refusals()
        failure = await self._put_many(changes, list(ahead), refusals, started, keep=keep)
        self._observe(_STORE_SERIES, perf_counter() - started)
        if failure is not None:
            raise failure
        if refusals:
            raise refusals.error(sum(change.put_map.bit_count() for change in changes))

    async def _put_many(
        self, changes: Sequence[ChunkChange], sent: list[SentChange], refusals: Refusals, started: float, *, keep: bool
    ) -> PagepoolError | None:
        """Send what surely fits, then the rest page by page; the first error that a change ended with."""
        failure: PagepoolError | None = None
        remaining = list(changes[len(sent) :])
        while remaining:
            change = remaining[0]
            try:
                if await self._verdict(change, started) is Verdict.EXACT:
                    break
                sent.append(self._begin(change))
                if len(remaining) > 1 and not self._store.nodes.waits_for_replicas:
                    await asyncio.sleep(0)  # Redis begins, and small loads need not wait for the whole of a large store
            except PagepoolError as error:
                # Not answered before what was sent already has ended, too.
                failure = _partly(error) if sent else error
                break
            del remaining[0]
        for change, pending in zip(changes, sent, strict=False):
            if (failed := await self._finish(change, pending, refusals, keep=keep)) is not None:
                failure = _partly(failed) if len(changes) > 1 else failed
        if failure is None and remaining:
            await self._put_exactly(remaining, refusals, started, keep=keep, is_whole=not sent)
        return failure

    async def _verdict(self, change: ChunkChange, started: float) -> Verdict:
        """What to do with a change, once this worker has looked, and room was made, where that is needed."""
        state = self._state
        verdict = state.decide(change)
        if verdict is Verdict.LOOK:
            await state.look(change.type)
            ensure_time(started)
            verdict = state.decide(change, has_looked=True)
        if verdict is Verdict.EXACT and await self._shrinker.make_room(change):
            ensure_time(started)
            verdict = state.decide(change, has_looked=True)
        self._shrinker.wake_if_near(change.type)
        return verdict if state.pages_fit(change) else Verdict.EXACT

    def _begin(self, change: ChunkChange, begun_at: float | None = None, room: Room | None = None) -> SentChange:
        change.policy = self._state.policies.get(change.type)
        sent = self._store.begin_change(change, room, begun_at=begun_at)
        self._state.reserve(change)
        return sent

    async def _end(self, change: ChunkChange, pending: SentChange, room: Room | None, *, keep: bool) -> ChangeResult:
        """Wait for a change's end; it goes again where the type has another policy by now."""
        for _ in range(MAX_POLICIES):
            try:
                return await pending.finish()
            except PolicyOutdated:
                await self._state.reload_policies()
                change.policy = self._state.policies.get(change.type)
                pending = self._store.begin_change(change, room, keep=keep)
        raise BackendUnavailable("The type's configuration changes too often.")

    async def _finish(
        self, change: ChunkChange, pending: SentChange, refusals: Refusals, *, keep: bool
    ) -> PagepoolError | None:
        """Wait for a change's end, and count it; the error that it failed with, so that all others can end as well."""
        try:
            result = await self._end(change, pending, None, keep=keep)
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
        self, changes: Sequence[ChunkChange], refusals: Refusals, started: float, *, keep: bool, is_whole: bool
    ) -> None:
        """Let the script admit page by page, the changes of this request one after another.

        `is_whole`: these are all changes of the request.
        """
        state = self._state
        try:
            if all(state.pages_fit(change) for change in changes):
                for change in changes:
                    await self._verdict(change, started)
                    await self._put_one_exactly(change, refusals, started, keep=keep)
                    is_whole = False
                return
            # The bound on pages has no slack: one request at a time, each after a look.
            async with state.exact_turn:
                ensure_time(started)
                await state.look(changes[0].type)
                for change in changes:
                    await self._put_one_exactly(change, refusals, started, keep=keep)
                    is_whole = False
        except Overloaded as error:
            raise error if is_whole else _partly(error) from error

    async def _put_one_exactly(self, change: ChunkChange, refusals: Refusals, started: float, *, keep: bool) -> None:
        state = self._state
        ensure_time(started)
        room = state.room(change.type)
        change.policy = state.policies.get(change.type)
        pending = self._store.begin_change(change, room, keep=keep)
        state.reserve(change)
        try:
            result = await self._end(change, pending, room, keep=keep)
        except StoreFull:
            result = await self._refuse_blobs(change, refusals, keep=keep)
        else:
            await state.settle(change.type, room, result)
        finally:
            state.release(change)
        self._count(change, result, refusals)

    async def _refuse_blobs(self, change: ChunkChange, refusals: Refusals, *, keep: bool) -> ChangeResult:
        """Redis lacked the memory: put the zero pages all the same, and leave no stale copy of the others."""
        result = await self._store.change(change, self._state.room(change.type), refuse=True, keep=keep)
        refused = offsets_in(change.chunk, result.refused_for_bytes)
        refusals.memory.extend(refused)
        self._cells[REJECTS_REDIS_OOM] += len(refused)
        # They are counted here, so they are none of the pool's own refusals.
        return ChangeResult(result.dropped, result.is_closed, 0, change.blob_map, result.refused_for_pages)

    def _count(self, change: ChunkChange, result: ChangeResult, refusals: Refusals) -> None:
        cells = self._cells
        refused = result.refused
        if refused:
            known = set(refusals.memory)
            of_type = result.refused_for_type
            pool = [
                offset
                for offset in offsets_in(change.chunk, result.refused_for_bytes & ~of_type)
                if offset not in known
            ]
            by_type = offsets_in(change.chunk, of_type)
            metadata = offsets_in(change.chunk, result.refused_for_pages)
            refusals.pool.extend(pool)
            refusals.metadata.extend(metadata)
            refusals.type.extend(by_type)
            cells[REJECTS_POOL_FULL] += len(pool)
            cells[REJECTS_TYPE_FULL] += len(by_type)
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
                change.policy = self._state.policies.get(change.type)
                sent.append(self._store.begin_change(change))
            except PagepoolError as error:
                failure = _partly(error) if sent else error
                break
        for change, pending in zip(changes, sent, strict=False):
            try:
                results.append(await self._end(change, pending, None, keep=False))
            except PagepoolError as error:
                failure = failure or (_partly(error) if len(changes) > 1 else error)
            except StateChanged as error:
                failure = failure or error
        self._observe(_INVALIDATE_SERIES, perf_counter() - started)
        if failure is not None:
            raise failure
        return results
