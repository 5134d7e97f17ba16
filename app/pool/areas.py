"""Types as areas of pages: what they hold and where, and invalidating or zeroing ranges of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from app.errors import BadParameter, Overloaded, Refused, StoresDisabled, TypeUnknown
from app.page.address import offset_limit
from app.pool.admission import Gate
from app.pool.base import PoolBase
from app.pool.changes import Extent, chunk_masks, drops, merged
from app.pool.hands import LeaseElsewhere
from app.pool.maps import AllocationBuilder, CellBuilder
from app.pool.numbers import (
    IDLE_SECONDS,
    IMAGES_KEEP_PAGES,
    Allocation,
    Cell,
    Idleness,
    Shrunk,
    TypeConfiguration,
    TypeNumbers,
)
from app.store.base import Counters, Reclaims
from app.store.chunk import unpack
from app.store.keys import CHUNK_SHIFT, RUN_CHUNKS, RUN_PAGES, RUN_SHIFT
from app.store.policy import Policy
from app.store.script_header import ChunkChange
from app.telemetry_cells import INVALIDATES, POLICIES_VERSION, REJECTS_DISABLED

WINDOW: Final = 128
"""Changes of chunks that one request has on the way at once: others' commands go in between."""

RUNS_AT_ONCE: Final = 32
ALLOCATION_RUNS: Final = 64
"""Held runs (of 4096 pages) that one allocation map covers at most."""
ALLOCATION_RUNS_AT_ONCE: Final = 8
"""That it asks for at once."""

IDLE_RUNS: Final = 256
"""Runs that figures of idleness are taken from at most: a million pages."""

_LAST_RUN: Final = 1 << 51

DIRECT_PAGES: Final = 1024
"""An extent up to this size is invalidated chunk by chunk, without asking first what is held."""


class Areas(PoolBase):
    """Types, and ranges of their pages."""

    # Types

    async def types(self, after: int | None, limit: int) -> list[TypeNumbers]:
        """At most `limit` types above `after`, ascending: those that hold pages or have a configuration."""
        lowest = -1 if after is None else after
        held, configured = await asyncio.gather(
            self._store.types_after(lowest, limit), self._state.configurations.read_all()
        )
        chosen = sorted({*held, *(type_ for type_ in configured if type_ > lowest)})[:limit]
        numbers = []
        for type_, (counters, reclaims) in zip(chosen, await self._store.read_types(chosen), strict=True):
            each = _numbers(type_, counters, configured.get(type_))
            numbers.append(await self._of_governed(each, reclaims) if each.configuration.is_governed else each)
        return numbers

    async def type_numbers(self, type_: int) -> TypeNumbers:
        """One type.

        Raises:
            TypeUnknown: it holds no page and has no configuration.
        """
        (counters, reclaims), configuration = await asyncio.gather(
            self._store.read_type(type_), self._state.configurations.read(type_)
        )
        if not counters.pages and configuration is None:
            raise TypeUnknown("The type holds no page and has no configuration.")
        numbers = _numbers(type_, counters, configuration)
        policy = self._state.policies.get(type_)
        if policy is None:
            return numbers
        return replace(await self._of_governed(numbers, reclaims), idleness=await self._idleness(policy))

    async def _of_governed(self, numbers: TypeNumbers, reclaims: Reclaims) -> TypeNumbers:
        """The numbers of a governed type, with what only such a type has."""
        state, type_ = self._state, numbers.type
        if type_ in state.types:
            await state.look(type_)
        ledger = state.types.get(type_)
        return replace(
            numbers,
            is_full=ledger is not None and ledger.gate is Gate.CLOSED,
            evicted_pages=reclaims.evicted,
            expired_pages=reclaims.expired,
            reclaim_failures=reclaims.failures,
        )

    async def _idleness(self, policy: Policy) -> Idleness:
        """How long ago pages were stored and touched; what this worker has not written yet counts as well."""
        await self._marks.write()
        totals = [0] * (1 + 2 * len(IDLE_SECONDS))
        first, runs = 0, 0
        while found := await self._store.runs(policy.type, first, _LAST_RUN, RUNS_AT_ONCE):
            for run in found:
                counted = await self._reclaim.idle_of_run(policy, run, list(IDLE_SECONDS.values()))
                totals = [total + number for total, number in zip(totals, counted, strict=True)]
            first, runs = found[-1] + 1, runs + len(found)
            if runs >= IDLE_RUNS:
                break
        pages, *by_age = totals
        return Idleness(
            pages,
            dict(zip(IDLE_SECONDS, by_age[::2], strict=True)),
            dict(zip(IDLE_SECONDS, by_age[1::2], strict=True)),
        )

    async def configure_type(self, type_: int, configuration: TypeConfiguration) -> TypeConfiguration:
        """Replace a type's configuration.

        Raises:
            BadParameter: the image would reach past the last offset, or lose pages.
            BackendUnavailable: Redis is out of reach, or a worker did not follow in time.
        """
        image_bytes = configuration.image_bytes or 0
        if -(-image_bytes // self.page_size) > offset_limit(self.page_size):
            raise BadParameter("image_bytes reaches past the last offset.")
        if configuration.image_bytes is not None and configuration.may_lose_pages:
            raise BadParameter(f"{IMAGES_KEEP_PAGES.capitalize()}.")
        await self._write_configuration(type_, configuration.model_dump_json(exclude_none=True), configuration)
        return configuration

    async def _write_configuration(self, type_: int, text: str, configuration: TypeConfiguration) -> None:
        """Write a configuration; on return every worker of this service goes by it."""
        state = self._state
        if type_ in state.types:
            # Whether it had opened under the limit that was: as with the pool's.
            await state.look(type_)
            if configuration.max_pool_bytes is None:
                await state.set_gate(Gate.OPEN, type_)
        version = await state.configurations.write(type_, text, is_governed=configuration.is_governed)
        if not version:
            return
        await state.reload_policies()
        await self._followed(POLICIES_VERSION, version)

    async def delete_type(self, type_: int) -> None:
        """Invalidate all that a type holds, and forget its configuration; piece by piece, can be repeated."""
        is_governed = type_ in self._state.policies
        await self._write_configuration(type_, "", TypeConfiguration())
        await self._invalidate_range(type_, 0, offset_limit(self.page_size))
        if is_governed:
            await self._reclaim.forget_reclaims(type_)

    async def shrink(self, type_: int | None, goal_bytes: int) -> Shrunk:
        """Free so many bytes of the pool or of one type by taking cold and expired pages, or as many as can be freed.

        Raises:
            TypeUnknown: the type holds no page and has no configuration.
            BadParameter: the type neither evicts nor expires pages.
            Overloaded: another worker shrinks now.
        """
        if type_ is not None:
            policy = self._state.policies.get(type_)
            if policy is None or not policy.gives_way:
                await self.type_numbers(type_)
                raise BadParameter("The type neither evicts nor expires pages.")
        await self._marks.write()
        try:
            return await self._shrinker.shrink(type_, goal_bytes)
        except LeaseElsewhere:
            raise Overloaded("Another worker makes room now.") from None

    # Ranges

    async def invalidate(self, type_: int, extents: Sequence[Extent]) -> int:
        """Remove what is held of the extents; the work grows with that. How many pages that were."""
        whole = merged(extents)  # many may name the same pages, or a few of one chunk each
        dropped = await self._drop_all(drops(type_, [extent for extent in whole if extent[1] <= DIRECT_PAGES]))
        self._cells[INVALIDATES] += dropped
        for offset, count in whole:
            if count > DIRECT_PAGES:
                dropped += await self._invalidate_range(type_, offset, count)
        return dropped

    async def _invalidate_range(self, type_: int, offset: int, count: int) -> int:
        dropped = 0
        async for run in self._held_runs(type_, offset, count):
            first = max(offset, run * RUN_PAGES)
            last = min(offset + count, (run + 1) * RUN_PAGES)
            held = set(await self._store.chunks_of_run(type_, run))
            masks = [(chunk, mask) for chunk, mask in chunk_masks(first, last - first) if chunk in held]
            dropped += await self._drop_all([ChunkChange(type_, chunk, drop_map=mask) for chunk, mask in masks])
        self._cells[INVALIDATES] += dropped
        return dropped

    async def _drop_all(self, changes: Iterable[ChunkChange]) -> int:
        dropped = 0
        for window in _windows(changes):
            dropped += sum(result.dropped for result in await self._stores.drop(window))
        return dropped

    async def zero(self, type_: int, extents: Sequence[Extent]) -> int:
        """Store zero pages over the extents, without a payload; how many.

        Raises:
            Refused: some pages were refused; all others were stored.
        """
        is_enabled = self.parameters.enabled
        changes = (
            ChunkChange(type_, chunk, zero_map=mask * is_enabled, drop_map=mask * (not is_enabled))
            for offset, count in extents
            for chunk, mask in chunk_masks(offset, count)
        )
        pages = sum(count for _, count in extents)
        if not is_enabled:
            self._cells[REJECTS_DISABLED] += pages
            await self._drop_all(changes)
            raise StoresDisabled("The pool does not accept stores now.")
        refused: Refused | None = None
        rejected: list[list[int]] = []
        for window in _windows(changes):
            try:
                await self._stores.put(window)
            except Refused as error:
                refused = error
                rejected.extend(error.members["rejected"])
        if refused is not None:
            refused.members = {"stored": pages - sum(count for _, count in rejected), "rejected": rejected}
            raise refused
        return pages

    async def _held_runs(self, type_: int, offset: int, count: int) -> AsyncIterator[int]:
        """The runs of a range that hold a chunk, ascending; those that come while it goes may be seen."""
        first, last = offset // RUN_PAGES, (offset + count - 1) // RUN_PAGES
        while True:
            runs = await self._store.runs(type_, first, last, RUNS_AT_ONCE)
            for run in runs:
                yield run
            if len(runs) < RUNS_AT_ONCE:
                return
            first = runs[-1] + 1

    # Maps

    async def _read_run(
        self, type_: int, run: int, first: int, last: int, *, with_lengths: bool
    ) -> list[tuple[int, bytes, dict[int, int]]]:
        policy = self._state.policies.get(type_)
        return await self._store.read_run(type_, run, first, last, with_lengths=with_lengths, policy=policy)

    async def allocation(self, type_: int, from_: int, count: int) -> Allocation:
        """What lies where in a range; it may cover less than asked, and says up to where."""
        builder = AllocationBuilder(from_, count)
        held = await self._store.runs(type_, from_ // RUN_PAGES, (from_ + count - 1) // RUN_PAGES, ALLOCATION_RUNS + 1)
        for begin in range(0, min(len(held), ALLOCATION_RUNS), ALLOCATION_RUNS_AT_ONCE):
            runs = held[begin : min(begin + ALLOCATION_RUNS_AT_ONCE, ALLOCATION_RUNS)]
            reads = [self._read_run(type_, run, *_places(run, from_, count), with_lengths=False) for run in runs]
            for run, chunks in zip(runs, await asyncio.gather(*reads), strict=True):
                for chunk, field, _ in chunks:
                    builder.add(chunk, unpack(field, type_, chunk))
                if builder.is_long:
                    return builder.finish(min(from_ + count, (run + 1) * RUN_PAGES))
        covered = held[ALLOCATION_RUNS] * RUN_PAGES if len(held) > ALLOCATION_RUNS else from_ + count
        return builder.finish(covered)

    async def cell_map(self, type_: int, from_: int, count: int, cells: int) -> list[Cell]:
        """The range cut into `cells` cells, with the pages by kind and their bytes in each."""
        builder = CellBuilder(from_, count, cells)
        async for run in self._held_runs(type_, from_, count):
            first, last = _places(run, from_, count)
            for chunk, field, _ in await self._read_run(type_, run, first, last, with_lengths=False):
                chunk_map = unpack(field, type_, chunk)
                if builder.add_whole(chunk, chunk_map):
                    continue
                place = chunk % RUN_CHUNKS
                for _, _, lengths in await self._read_run(type_, run, place, place, with_lengths=True):
                    builder.add_pages(chunk, chunk_map, lengths)
        return builder.cells()


def _numbers(type_: int, counters: Counters, configuration: str | None) -> TypeNumbers:
    return TypeNumbers(
        type=type_,
        stored_pages=counters.pages,
        zero_pages=counters.zero,
        same_filled_pages=counters.same,
        incompressible_pages=counters.raw,
        pool_bytes=counters.bytes,
        configuration=TypeConfiguration.model_validate_json(configuration or "{}"),
    )


def _windows(changes: Iterable[ChunkChange]) -> Iterable[list[ChunkChange]]:
    iterator = iter(changes)
    while window := list(islice(iterator, WINDOW)):
        yield window


def _places(run: int, from_: int, count: int) -> tuple[int, int]:
    """The first and last place in a run of the chunks that a range touches."""
    base = run << RUN_SHIFT
    first, last = from_ >> CHUNK_SHIFT, (from_ + count - 1) >> CHUNK_SHIFT
    return max(first - base, 0), min(last - base, RUN_CHUNKS - 1)
