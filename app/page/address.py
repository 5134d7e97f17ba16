"""Addresses: which types and offsets there are, and how a path names them (contract, section 1).

An offset counts pages. It stays below 2^63 / page_size, so that a byte address fits a signed 64-bit number.
"""

from __future__ import annotations

import re

from app.errors import BadAddress

MAX_TYPE = (1 << 31) - 1

_DIGITS = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def offset_limit(page_size: int) -> int:
    """The first offset that is too large for pages of `page_size` bytes."""
    return (1 << 63) // page_size


def parse_number(text: str, name: str) -> int:
    """A number as a path or query spells it: decimal digits only, no sign, no leading zero.

    Raises:
        BadAddress: the text is anything else.
    """
    if not _DIGITS.fullmatch(text):
        raise BadAddress(f"{name} must be a decimal number without sign or leading zero.")
    return int(text)


def check_type(type_: int) -> int:
    """The type, if it is one.

    Raises:
        BadAddress: it is not in 0 … 2^31-1.
    """
    if not 0 <= type_ <= MAX_TYPE:
        raise BadAddress(f"type must be between 0 and {MAX_TYPE}.")
    return type_


def check_extent(offset: int, count: int, page_size: int) -> None:
    """Check that `count` pages from `offset` lie inside a type.

    Raises:
        BadAddress: the extent is empty, starts before 0, or reaches past the last offset.
    """
    limit = offset_limit(page_size)
    if not 0 <= offset < limit:
        raise BadAddress(f"offset must be between 0 and {limit - 1}.")
    if count < 1:
        raise BadAddress("count must be at least 1.")
    if offset + count > limit:
        raise BadAddress(f"The extent reaches past the last offset, {limit - 1}.")
