"""The compressors: what goes in comes out, and what did not come from them is refused at a bounded cost."""

from __future__ import annotations

import random
import tracemalloc

import lz4.block
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from app.page.compressors import COMPRESSORS, DECODE_ERRORS, DECOMPRESSORS, LZ4_ID, ZSTD_ID
from app.settings import CompressorName
from tests.page.golden import LZ4_BLOCK, LZ4HC_BLOCK, PAGE_SIZE, TEXT_PAGE, ZSTD_FRAME

COMPRESSING = [name for name in CompressorName if name is not CompressorName.NONE]


def pages_of(page_size: int) -> st.SearchStrategy[bytes]:
    """Pages from all the same byte to noise: a short piece repeated, with noise in the middle."""

    def build(piece: bytes, noise: int, seed: int) -> bytes:
        page = (piece * (page_size // len(piece) + 1))[:page_size]
        return page[: page_size // 3] + random.Random(seed).randbytes(noise) + page[page_size // 3 + noise :]

    return st.builds(
        build, st.binary(min_size=1, max_size=300), st.integers(0, page_size // 2), st.integers(0, 1 << 32)
    )


@pytest.mark.parametrize("page_size", [4096, 65536])
@pytest.mark.parametrize("name", COMPRESSING)
def test_pages_come_back(name: CompressorName, page_size: int) -> None:
    """Every page comes back from every compressor, out of bytes, a bytearray or a memoryview."""
    identifier, compress = COMPRESSORS[name]
    assert compress is not None

    @given(page=pages_of(page_size))
    def comes_back(page: bytes) -> None:
        for form in (page, bytearray(page), memoryview(page)):
            assert DECOMPRESSORS[identifier](compress(form), page_size) == page

    comes_back()


def test_identifiers_are_fixed() -> None:
    """The identifiers stand in stored envelopes: they never change, and raw has none of a decompressor."""
    identifiers = {name.value: identifier for name, (identifier, _) in COMPRESSORS.items()}
    assert identifiers == {"lz4": 1, "lz4hc": 1, "zstd": 2, "none": 0}
    assert set(DECOMPRESSORS) == {1, 2}
    assert set(COMPRESSORS) == set(CompressorName)


@pytest.mark.parametrize(("identifier", "payload"), [(LZ4_ID, LZ4_BLOCK), (LZ4_ID, LZ4HC_BLOCK), (ZSTD_ID, ZSTD_FRAME)])
def test_stored_payloads_stay_readable(identifier: int, payload: bytes) -> None:
    """Payloads that were stored once decode with the libraries of today."""
    assert DECOMPRESSORS[identifier](payload, PAGE_SIZE) == TEXT_PAGE


@given(payload=st.binary(max_size=200), identifier=st.sampled_from([LZ4_ID, ZSTD_ID]))
def test_noise_is_refused_or_at_most_a_page(payload: bytes, identifier: int) -> None:
    """Whatever the payload, there is one of DECODE_ERRORS or at most a page."""
    try:
        page = DECOMPRESSORS[identifier](payload, PAGE_SIZE)
    except DECODE_ERRORS:
        return
    assert len(page) <= PAGE_SIZE


BOMBS = {
    "lz4, 1 MiB": (LZ4_ID, lz4.block.compress(bytes(1 << 20), store_size=False)),
    "zstd, 64 MiB, size claimed": (ZSTD_ID, zstandard.ZstdCompressor().compress(bytes(1 << 26))),
    "zstd, 64 MiB, size not claimed": (
        ZSTD_ID,
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 26)),
    ),
    "zstd, 2^60 bytes claimed": (ZSTD_ID, bytes.fromhex("28b52ffd e0 0000000000000010 010000")),
    "zstd, a window of 2^41 bytes": (ZSTD_ID, bytes.fromhex("28b52ffd 00 f8 010000")),
    "zstd, a window of 64 MiB": (ZSTD_ID, bytes.fromhex("28b52ffd 00 80 010000")),
}


@pytest.mark.parametrize(("identifier", "payload"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_costs_at_most_a_page(identifier: int, payload: bytes) -> None:
    """A payload that claims or holds far more than a page is refused without memory for more than a page."""
    tracemalloc.start()
    try:
        with pytest.raises(DECODE_ERRORS):
            DECOMPRESSORS[identifier](payload, PAGE_SIZE)
        assert tracemalloc.get_traced_memory()[1] < 16 * PAGE_SIZE
    finally:
        tracemalloc.stop()
