"""From encoded pages to changes of chunks, and from refused pages back to runs of offsets."""

from __future__ import annotations

from bisect import bisect_left
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

_NOT_PUT = 255
_NONE_PUT = bytes((_NOT_PUT,)) * CHUNK_PAGES
_DIGITS = {kind: bytes(b"01"[byte == kind] for byte in range(256)) for kind in (_ZERO, _SAME, _RAW, _NOT_PUT)}
"""For bytes.translate, by kind: the digit 1 for it, 0 for all others."""


def puts(type_: int, pages: EncodedPages) -> list[ChunkChange]:
    """One change for each chunk that the pages touch, in ascending order."""
    changes: list[ChunkChange] = []
    offsets = pages.offsets
    begin, count = 0, len(offsets)
    while begin < count:
        behind_chunk = (offsets[begin] | INDEX_MASK) + 1
        end = bisect_left(offsets, behind_chunk, begin, min(begin + CHUNK_PAGES, count))
        changes.append(_put_in_chunk(type_, offsets[begin:end], pages.kinds[begin:end], pages.blobs[begin:end]))
        begin = end
    return changes


def _put_in_chunk(type_: int, offsets: Sequence[int], kinds: bytearray, blobs: Sequence[bytes]) -> ChunkChange:
    first = offsets[0]
    kind_of_index = bytearray(_NONE_PUT)
    if offsets[-1] - first == len(offsets) - 1:
        index = first & INDEX_MASK
        kind_of_index[index : index + len(kinds)] = kinds
    else:
        for offset, kind in zip(offsets, kinds, strict=True):
            kind_of_index[offset & INDEX_MASK] = kind
    zero_map, same_map, raw_map, left_map = (_map_of(kind_of_index, kind) for kind in _DIGITS)
    pieces: list[Piece] = []
    if raw_map:
        for kind, blob in zip(kinds, blobs, strict=True):
            if kind == _RAW:
                pieces += in_fields(blob)
            elif blob:
                pieces.append(blob)
    else:
        pieces += filter(None, blobs)
    blob_map = FULL_MASK & ~(zero_map | left_map)
    blob_bytes = sum(map(len, blobs))
    return ChunkChange(type_, first >> CHUNK_SHIFT, zero_map, same_map, raw_map, blob_map, 0, pieces, blob_bytes)


def _map_of(kind_of_index: bytearray, kind: int) -> int:
    """The map of the pages of one kind, read as a binary number: a shift for each page would cost ten times that."""
    return int(kind_of_index.translate(_DIGITS[kind])[::-1], 2)


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
