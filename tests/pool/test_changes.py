"""How ranges of pages become changes of chunks."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from app.page.classify import Kind
from app.page.codec import EncodedPages
from app.pool.changes import drops, merged, offsets_in, puts

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


BLOBS = {Kind.ZERO: b"", Kind.SAME: b"s" * 17, Kind.COMPRESSED: b"c" * 100, Kind.RAW: b"r" * 4105}
PAGES = st.one_of(
    st.dictionaries(st.integers(0, 300), st.sampled_from(Kind), min_size=1),
    # Neighbours, over whole chunks and parts of them.
    st.builds(
        lambda offset, kinds: dict(enumerate(kinds, offset)),
        st.integers(0, 130),
        st.lists(st.sampled_from(Kind), min_size=1, max_size=300),
    ),
)


@given(pages=PAGES, as_range=st.booleans())
def test_puts(pages: dict[int, Kind], as_range: bool) -> None:
    """There is one change for each chunk, ascending; its maps and blobs are those of its pages."""
    offsets = sorted(pages)
    kinds = [pages[offset] for offset in offsets]
    # Each blob begins with its page's offset, so that none can stand for another.
    blobs = [BLOBS[kind] and b"%04d" % offset + BLOBS[kind][4:] for offset, kind in zip(offsets, kinds, strict=True)]
    is_range = as_range and offsets[-1] - offsets[0] == len(offsets) - 1
    changes = puts(
        7, EncodedPages(range(offsets[0], offsets[-1] + 1) if is_range else offsets, bytearray(kinds), blobs)
    )
    assert [change.chunk for change in changes] == sorted({offset // 64 for offset in offsets})
    for change in changes:
        here = {offset: blob for offset, blob in zip(offsets, blobs, strict=True) if offset // 64 == change.chunk}
        maps = {Kind.ZERO: change.zero_map, Kind.SAME: change.same_map, Kind.RAW: change.raw_map}
        for kind, map_ in maps.items():
            assert offsets_in(change.chunk, map_) == [offset for offset in here if pages[offset] is kind]
        assert offsets_in(change.chunk, change.blob_map) == [
            offset for offset in here if pages[offset] is not Kind.ZERO
        ]
        assert offsets_in(change.chunk, change.put_map) == list(here)
        assert (change.type, change.drop_map, change.blob_bytes) == (7, 0, sum(map(len, here.values())))
        fields = iter(change.blobs)
        for offset, blob in here.items():
            if pages[offset] is Kind.RAW:
                first, rest = next(fields), next(fields)
                assert (bytes(first) + bytes(rest), len(rest)) == (blob, 19)
            elif blob:
                assert next(fields) == blob
        assert list(fields) == []
