"""From encoded pages to changes of chunks, and from refused pages back to runs of offsets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.page.classify import Kind
from app.page.codec import EncodedPages
from app.store.chunk import FULL_MASK, in_fields
from app.store.keys import CHUNK_PAGES, CHUNK_SHIFT, INDEX_MASK
from app.store.resp import Piece
from app.store.script_header import ChunkChange

Extent = tuple[int, int]
"""A first offset and a count of pages."""

_ZERO, _SAME, _RAW = Kind.ZERO, Kind.SAME, Kind.RAW


def puts(type_: int, pages: EncodedPages) -> list[ChunkChange]:
    """One change for each chunk that the pages touch, in ascending order."""
    changes: list[ChunkChange] = []
    change = ChunkChange(type_, -1)
    blobs: list[Piece] = []
    for offset, kind, blob in zip(pages.offsets, pages.kinds, pages.blobs, strict=True):
        chunk = offset >> CHUNK_SHIFT
        if chunk != change.chunk:
            blobs = []
            change = ChunkChange(type_, chunk, blobs=blobs)
            changes.append(change)
        bit = 1 << (offset & INDEX_MASK)
        if kind == _ZERO:
            change.zero_map |= bit
            continue
        change.blob_map |= bit
        change.blob_bytes += len(blob)
        if kind == _RAW:
            change.raw_map |= bit
            blobs += in_fields(blob)
            continue
        blobs.append(blob)
        if kind == _SAME:
            change.same_map |= bit
    return changes


def put_one(type_: int, offset: int, kind: int, blob: bytes) -> ChunkChange:
    """The change that puts one page."""
    bit = 1 << (offset & INDEX_MASK)
    chunk = offset >> CHUNK_SHIFT
    if kind == _ZERO:
        return ChunkChange(type_, chunk, zero_map=bit)
    if kind == _RAW:
        return ChunkChange(type_, chunk, 0, 0, bit, bit, 0, in_fields(blob), len(blob))
    return ChunkChange(type_, chunk, 0, bit * (kind == _SAME), 0, bit, 0, (blob,), len(blob))


def chunk_masks(offset: int, count: int) -> Iterable[tuple[int, int]]:
    """Chunk and 64-bit map of the pages in each chunk that an extent touches, ascending."""
    end = offset + count
    while offset < end:
        index = offset & INDEX_MASK
        taken = min(CHUNK_PAGES - index, end - offset)
        yield offset >> CHUNK_SHIFT, (FULL_MASK >> (CHUNK_PAGES - taken)) << index
        offset += taken


def drops(type_: int, extents: Iterable[Extent]) -> list[ChunkChange]:
    """One change for each chunk that the extents touch: drop their pages."""
    maps: dict[int, int] = {}
    for offset, count in extents:
        for chunk, mask in chunk_masks(offset, count):
            maps[chunk] = maps.get(chunk, 0) | mask
    return [ChunkChange(type_, chunk, drop_map=mask) for chunk, mask in maps.items()]


def merged(extents: Iterable[Extent]) -> list[Extent]:
    """The same pages, each in one extent only, ascending."""
    found: list[Extent] = []
    for offset, count in sorted(extents):
        if found and offset <= (end := found[-1][0] + found[-1][1]):
            found[-1] = (found[-1][0], max(end, offset + count) - found[-1][0])
        else:
            found.append((offset, count))
    return found


def offsets_in(chunk: int, mask: int) -> list[int]:
    """The offsets of the pages in a chunk's map."""
    base = chunk << CHUNK_SHIFT
    return [base + index for index in range(CHUNK_PAGES) if mask >> index & 1]


def runs_of(offsets: Sequence[int]) -> list[list[int]]:
    """Ascending offsets as runs: [first, count] each."""
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and runs[-1][0] + runs[-1][1] == offset:
            runs[-1][1] += 1
        else:
            runs.append([offset, 1])
    return runs
