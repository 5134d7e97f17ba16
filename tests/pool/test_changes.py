"""How ranges of pages become changes of chunks."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from app.pool.changes import drops, merged, offsets_in

EXTENTS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 200)), max_size=12)


def pages_of(extents: list[tuple[int, int]]) -> set[int]:
    return {page for offset, count in extents for page in range(offset, offset + count)}


@given(extents=EXTENTS)
def test_merged_extents(extents: list[tuple[int, int]]) -> None:
    """They name the same pages, each once, ascending, and no two that touch."""
    found = merged(extents)
    assert pages_of(found) == pages_of(extents)
    assert all(first + count < second for (first, count), (second, _) in itertools.pairwise(found))


@given(extents=EXTENTS)
def test_drops(extents: list[tuple[int, int]]) -> None:
    """There is one change for each chunk touched, and together they drop just these pages."""
    changes = drops(3, extents)
    chunks = [change.chunk for change in changes]
    assert len(chunks) == len(set(chunks))
    dropped = {page for change in changes for page in offsets_in(change.chunk, change.drop_map)}
    assert dropped == pages_of(extents)
