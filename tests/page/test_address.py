"""Types, offsets and extents: what is one and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadAddress
from app.page.address import MAX_TYPE, check_extent, check_type, offset_limit, parse_number


@given(number=st.integers(0, 10**19 - 1))
def test_decimal_digits_are_a_number(number: int) -> None:
    """A number of up to 19 digits is read as it is written."""
    assert parse_number(str(number), "offset") == number


@pytest.mark.parametrize(
    "text",
    ["", "+1", "-1", "01", "00", " 1", "1 ", "1\n", "1_0", "0x1", "1.0", "1e3", "%31", "१", "²", "1" * 20, "NaN"],
)
def test_any_other_spelling_is_refused(text: str) -> None:
    """No sign, leading zero, space, underscore, exponent, or digit of another script; the error names the field."""
    with pytest.raises(BadAddress, match="offset"):
        parse_number(text, "offset")


@pytest.mark.parametrize("page_size", [4096, 8192, 16384, 32768, 65536])
def test_a_byte_address_fits_63_bits(page_size: int) -> None:
    """The last offset's last byte is the last that a signed 64-bit number can name."""
    assert offset_limit(page_size) * page_size == 1 << 63
    check_extent(offset_limit(page_size) - 1, 1, page_size)
    with pytest.raises(BadAddress):
        check_extent(offset_limit(page_size), 1, page_size)


def test_every_offset_is_exact_in_javascript() -> None:
    """No offset passes 2^53, beyond which a double skips numbers."""
    assert offset_limit(4096) - 1 < 1 << 53


@pytest.mark.parametrize("type_", [0, 1, MAX_TYPE])
def test_types_are_31_bits(type_: int) -> None:
    """0 to 2^31-1 are types."""
    assert check_type(type_) == type_


@pytest.mark.parametrize("type_", [-1, MAX_TYPE + 1, 1 << 64])
def test_other_types_are_refused(type_: int) -> None:
    """Nothing below 0 or past 2^31-1 is a type."""
    with pytest.raises(BadAddress, match="type"):
        check_type(type_)


@pytest.mark.parametrize(
    ("offset", "count"),
    [(-1, 1), (0, 0), (0, -1), ((1 << 51) - 1, 2), (0, (1 << 51) + 1), (1 << 51, 1), (1 << 63, 1), (-5, 10)],
)
def test_extents_outside_the_type_are_refused(offset: int, count: int) -> None:
    """An extent is at least one page, starts at 0 or later, and ends with the last offset or before."""
    with pytest.raises(BadAddress):
        check_extent(offset, count, 4096)


def test_an_extent_may_end_with_the_last_offset() -> None:
    """The whole type is an extent, and so is its last page."""
    check_extent(0, 1 << 51, 4096)
    check_extent((1 << 51) - 3, 3, 4096)
