"""Which kind a page is: near-misses on every byte that could be missed, for every page size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.page.classify import Kind, is_zero, same_word, zero_page
from app.page.codec import Encoder
from app.settings import CompressorName
from tests.harness.pages import NEAR_MISSES, SAME_WORDS, kind_of, real

EVERY_PAGE_SIZE = (4096, 8192, 16384, 32768, 65536)
each_page_size = pytest.mark.parametrize("page_size", EVERY_PAGE_SIZE)


def places(page_size: int) -> list[int]:
    """Bytes at which a check that looks at too little would look away: both ends, word edges, the middle."""
    near_ends = [*range(17), *range(page_size - 17, page_size)]
    return [*near_ends, *range(64, page_size, page_size // 64 + 1), page_size // 2 - 1, page_size // 2]


@each_page_size
def test_a_page_of_zeros_is_zero(page_size: int) -> None:
    """All bytes 0: a zero page, which is also filled with the word 0; bytes and bytearray alike."""
    for page in (bytes(page_size), bytearray(page_size)):
        assert is_zero(page)
        assert same_word(page) == bytes(8)
    assert zero_page(page_size) is zero_page(page_size)


@each_page_size
def test_one_bit_anywhere_makes_a_page_no_zero_page(page_size: int) -> None:
    """A single bit set in any place, first and last byte included, is seen."""
    page = bytearray(page_size)
    for place in places(page_size):
        for bit in (0x01, 0x80):
            page[place] = bit
            assert not is_zero(page), place
            assert same_word(page) is None, place
            page[place] = 0


@each_page_size
@pytest.mark.parametrize("word", SAME_WORDS.values(), ids=SAME_WORDS)
def test_a_repeated_word_is_found(word: bytes, page_size: int) -> None:
    """A page of one word repeated gives that word, whatever the word."""
    page = word * (page_size // 8)
    assert same_word(page) == word
    assert not is_zero(page)


@each_page_size
def test_one_byte_off_makes_a_page_not_same_filled(page_size: int) -> None:
    """A page of one word with a single byte changed in any place is not same-filled."""
    page = bytearray(b"\x01\x02\x03\x04\x05\x06\x07\x08" * (page_size // 8))
    for place in places(page_size):
        page[place] ^= 0x40
        assert same_word(page) is None, place
        page[place] ^= 0x40
    assert same_word(page) is not None


@pytest.mark.parametrize("page", NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_near_misses_are_neither_zero_nor_same(page: bytes) -> None:
    """Pages that are nearly zero or nearly same-filled are neither."""
    assert not is_zero(page)
    assert same_word(page) is None


@given(word=st.binary(min_size=8, max_size=8), place=st.integers(0, 4095), flip=st.integers(0, 255))
def test_same_word_agrees_with_the_definition(word: bytes, place: int, flip: int) -> None:
    """A page is same-filled exactly if it is its first eight bytes repeated."""
    page = bytearray(word * 512)
    page[place] ^= flip
    expected = page[:8] if page == page[:8] * 512 else None
    assert same_word(page) == expected
    assert is_zero(page) is (not any(page))


def test_the_encoder_agrees_with_the_definition_on_real_pages() -> None:
    """On real pages the encoder's kind is the contract's."""
    encoder = Encoder(4096, CompressorName.LZ4)
    for page in real(512):
        assert encoder.encode(page, 0, 0).kind.word == kind_of(page)


def test_kinds_have_fixed_numbers() -> None:
    """The numbers of the kinds are part of what is stored, and their words of the API."""
    assert [(kind.value, kind.word) for kind in Kind] == [(0, "zero"), (1, "same"), (2, "compressed"), (3, "raw")]
