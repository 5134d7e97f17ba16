"""Which kind a page is, before a compressor has seen it.

zswap's zero-filled page patch (2017) and its successor, same-filled pages, look at a page word by word until one
differs. Here a zero page is one `memcmp` with early exit, and a page of one repeated word is the page compared with
itself, eight bytes on; a look at three words sends nearly every other page past that second comparison.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache

WORD_BYTES = 8

Octets = bytes | bytearray
"""Pages in either; not in a memoryview, whose comparisons are a hundred times slower."""


class Kind(IntEnum):
    """How a page that is present is kept."""

    ZERO = 0
    SAME = 1
    COMPRESSED = 2
    RAW = 3

    @property
    def word(self) -> str:
        """The kind's name as the API spells it."""
        return self.name.lower()


@cache
def zero_page(page_size: int) -> bytes:
    """The page of `page_size` zero bytes: one object for all."""
    return bytes(page_size)


def is_zero(page: Octets) -> bool:
    """Whether all bytes of the page are 0."""
    return page == zero_page(len(page))


def same_word(page: Octets) -> Octets | None:
    """The 8-byte word that the page repeats, if it is filled with one; the zero word included."""
    word = page[:WORD_BYTES]
    if word != page[WORD_BYTES : 2 * WORD_BYTES] or word != page[-WORD_BYTES:]:
        return None
    return word if page[WORD_BYTES:] == page[:-WORD_BYTES] else None
