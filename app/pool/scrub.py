"""The scrub: every page that is held is read and checked, at a bounded rate, so that rot is found before a client does.

It walks the index as a type's invalidation does (types, runs, chunks) and reads each chunk whole, in one reply: so it
may run beside a working service, and what is stored or invalidated meanwhile is seen as it was or as it is. A page is
corrupt where a load of it would say so; nothing is changed, corrupt pages are kept for inspection (contract 3.4).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from app.errors import PageCorrupt
from app.page.codec import UNREADABLE_BLOB, address_mix, open_envelope
from app.store.chunk import unpack
from app.store.keys import CHUNK_PAGES, CHUNK_SHIFT
from app.store.redis import RedisStore

_TYPES_AT_ONCE: Final = 256
_RUNS_AT_ONCE: Final = 64
_LAST_RUN: Final = 1 << 51


class CorruptPage(NamedTuple):
    """A page that failed its check."""

    type: int
    offset: int
    reason: str
    """Which check; where a chunk's map is unreadable, all pages of the chunk stand as its first."""


@dataclass(slots=True)
class ScrubReport:
    """What a scrub found."""

    pages: int = 0
    zero_pages: int = 0
    bytes: int = 0
    """Of all blobs, as `pool_bytes` counts them."""
    chunks: int = 0
    corrupt: list[CorruptPage] = field(default_factory=list)
    seconds: float = 0.0


async def scrub(store: RedisStore, pages_per_second: float) -> ScrubReport:
    """Check every page of a pool, whose services may be running.

    Raises:
        BackendUnavailable: Redis went away.
    """
    report = ScrubReport()
    started = time.monotonic()
    async for type_, chunk in _held_chunks(store):
        await _check_chunk(store, type_, chunk, report)
        ahead = report.pages / pages_per_second - (time.monotonic() - started)
        if ahead > 0:
            await asyncio.sleep(ahead)
    report.seconds = time.monotonic() - started
    return report


async def _held_chunks(store: RedisStore) -> AsyncIterator[tuple[int, int]]:
    """Type and number of every chunk that the index knows, ascending."""
    last_type = -1
    while types := await store.types_after(last_type, _TYPES_AT_ONCE):
        for type_ in types:
            first = 0
            while runs := await store.runs(type_, first, _LAST_RUN, _RUNS_AT_ONCE):
                for run in runs:
                    for chunk in await store.chunks_of_run(type_, run):
                        yield type_, chunk
                first = runs[-1] + 1
        last_type = types[-1]


async def _check_chunk(store: RedisStore, type_: int, chunk: int, report: ScrubReport) -> None:
    first = chunk << CHUNK_SHIFT
    [(_, _, _, (map_field, *blobs))] = await store.fetch_pages(type_, first, CHUNK_PAGES)
    report.chunks += 1
    try:
        chunk_map = unpack(map_field, type_, chunk)
    except PageCorrupt as error:
        report.corrupt.append(CorruptPage(type_, first, error.detail))
        return
    page_size = store.record.page_size
    report.pages += chunk_map.present.bit_count()
    report.zero_pages += chunk_map.zero.bit_count()
    for index, blob in enumerate(blobs):
        if not chunk_map.blobs >> index & 1:
            continue
        offset = first + index
        report.bytes += len(blob or b"")
        try:
            open_envelope(blob or UNREADABLE_BLOB, page_size, address_mix(type_, offset))
        except PageCorrupt as error:
            reason = "The page's blob is gone." if blob is None else error.detail
            report.corrupt.append(CorruptPage(type_, offset, reason))
