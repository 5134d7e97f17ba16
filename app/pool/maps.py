"""Pictures of a type, built from its chunks' maps: the allocation map and the cell map. Pure."""

from __future__ import annotations

from typing import Final

from app.pool.numbers import Allocation, Cell, State
from app.store.chunk import FULL_MASK, ChunkMap
from app.store.keys import CHUNK_PAGES, CHUNK_SHIFT

MAX_ALLOCATION_RUNS: Final = 8192
"""Runs in one answer, about; a client asks on from where it ends."""

_HOLE: Final[State] = "hole"
_ZERO: Final[State] = "zero"
_DATA: Final[State] = "data"


class AllocationBuilder:
    """Collects adjacent runs of one state in [from_, from_ + count); chunks come in ascending order."""

    def __init__(self, from_: int, count: int) -> None:
        self._position = from_
        self._end = from_ + count
        self._runs: list[tuple[int, int, State]] = []

    @property
    def is_long(self) -> bool:
        """Whether there are runs enough for one answer."""
        return len(self._runs) >= MAX_ALLOCATION_RUNS

    def add(self, chunk: int, chunk_map: ChunkMap) -> None:
        """Add a chunk that holds something; what lies between it and the one before is a hole."""
        base = chunk << CHUNK_SHIFT
        self._extend(base, _HOLE)
        present, zero = chunk_map.present, chunk_map.zero
        index = 0
        while index < CHUNK_PAGES:
            if not present >> index & 1:
                state, pages = _HOLE, FULL_MASK & ~present
            elif zero >> index & 1:
                state, pages = _ZERO, zero
            else:
                state, pages = _DATA, present & ~zero
            others = ~(pages >> index)
            index += (others & -others).bit_length() - 1  # up to the first page that is not of this state
            self._extend(base + index, state)

    def _extend(self, until: int, state: State) -> None:
        count = min(until, self._end) - self._position
        if count <= 0:
            return
        if self._runs and self._runs[-1][2] == state:
            first, before, _ = self._runs[-1]
            self._runs[-1] = (first, before + count, state)
        else:
            self._runs.append((self._position, count, state))
        self._position += count

    def finish(self, until: int) -> Allocation:
        """The map up to `until`; what follows the last chunk is a hole."""
        self._extend(until, _HOLE)
        return Allocation(self._runs, self._position)


class CellBuilder:
    """Adds chunks up in the cells that a range is cut into."""

    def __init__(self, from_: int, count: int, cells: int) -> None:
        cells = min(cells, count)
        self._from = from_
        self._count = count
        self._edges = [from_ + count * cell // cells for cell in range(cells + 1)]
        self._sums = [[0, 0, 0, 0, 0] for _ in range(cells)]

    def _cell(self, offset: int) -> int:
        """The cell that an offset of the range lies in."""
        cells = len(self._sums)
        guess = (offset - self._from) * cells // self._count
        while guess + 1 < cells and self._edges[guess + 1] <= offset:
            guess += 1
        while self._edges[guess] > offset:
            guess -= 1
        return guess

    def add_whole(self, chunk: int, chunk_map: ChunkMap) -> bool:
        """Add a chunk that lies in one cell; False, and nothing is added, where it does not."""
        first = chunk << CHUNK_SHIFT
        last = first + CHUNK_PAGES - 1
        if first < self._from or last >= self._from + self._count:
            return False
        cell = self._cell(first)
        if last >= self._edges[cell + 1]:
            return False
        blobs = chunk_map.blobs
        same, raw = chunk_map.same.bit_count(), chunk_map.raw.bit_count()
        compressed = blobs.bit_count() - same - raw
        for place, amount in enumerate((chunk_map.zero.bit_count(), same, compressed, raw, chunk_map.stored_bytes)):
            self._sums[cell][place] += amount
        return True

    def add_pages(self, chunk: int, chunk_map: ChunkMap, lengths: dict[int, int]) -> None:
        """Add a chunk that reaches over several cells, page by page; `lengths` are its blobs' by index."""
        base = chunk << CHUNK_SHIFT
        for index in range(CHUNK_PAGES):
            offset = base + index
            kind = chunk_map.kind(index)
            if kind is not None and self._from <= offset < self._from + self._count:
                sums = self._sums[self._cell(offset)]
                sums[kind] += 1
                sums[4] += lengths.get(index, 0)

    def cells(self) -> list[Cell]:
        """All cells, in order; they cover the range without gaps."""
        edges = zip(self._edges, self._edges[1:], self._sums, strict=False)
        return [Cell(first, behind - first, *sums) for first, behind, sums in edges]
