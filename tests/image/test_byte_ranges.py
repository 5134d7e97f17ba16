"""Range and Content-Range, parsed (RFC 9110, section 14)."""

import pytest

from app.api.byte_ranges import content_start, requested_range, stated_range
from app.errors import BadHeader, RangeNotSatisfiable

SIZE = 10_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bytes=0-0", (0, 1)),
        (b"bytes=0-", (0, SIZE)),
        (b"bytes=9999-", (9999, SIZE)),
        (b"bytes=9999-12345", (9999, SIZE)),
        (b"bytes=-1", (9999, SIZE)),
        (b"bytes=-99999", (0, SIZE)),
        (b"Bytes= 5-6 ", (5, 7)),
        (b"bytes=5-999999999999999999999999999", (5, SIZE)),
    ],
)
def test_one_range(value: bytes, expected: tuple[int, int]) -> None:
    """One range of bytes is clamped at the end."""
    assert requested_range([value], SIZE) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"bytes=6-5",
        b"bytes=0-1,3-4",
        b"bytes=",
        b"bytes=-",
        b"bytes",
        b"pages=0-1",
        b"bytes=a-b",
        b"bytes=+1-2",
        b"bytes=1-2-3",
        b"",
        b"bytes=" + b"1" * 5000 + b"-",
    ],
)
def test_what_is_no_single_range(value: bytes) -> None:
    """Anything else is ignored."""
    assert requested_range([value], SIZE) is None
    assert stated_range([value]) is None


def test_several_headers() -> None:
    """Several Range headers are several ranges."""
    assert requested_range([b"bytes=0-1", b"bytes=5-6"], SIZE) is None
    assert requested_range([], SIZE) is None


@pytest.mark.parametrize("value", [b"bytes=10000-", b"bytes=10000-10001", b"bytes=-0"])
def test_not_satisfiable(value: bytes) -> None:
    """A start past the end, and the last 0 bytes, cannot be had; the error says the size."""
    with pytest.raises(RangeNotSatisfiable) as caught:
        requested_range([value], SIZE)
    assert caught.value.headers == {"Content-Range": "bytes */10000"}


def test_an_empty_image_has_no_range() -> None:
    """Of 0 bytes none can be had."""
    with pytest.raises(RangeNotSatisfiable):
        requested_range([b"bytes=0-"], 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bytes 0-99/100", 0),
        (b"bytes 5-9/*", 5),
        (b"bytes 5-9/-1", 5),
        (b"bytes 5-1/*", 5),
        (b"bytes 5-/*", 5),
        (b"bytes 5-", 5),
        (b"bytes 5-9/", 5),
        (b"BYTES  7-7/8 ", 7),
    ],
)
def test_where_a_write_begins(value: bytes, expected: int) -> None:
    """START counts, whatever follows it."""
    assert content_start([value]) == expected


@pytest.mark.parametrize(
    "value", [b"", b"bytes", b"bytes */5", b"bytes -5-6/*", b"bytes=5-6", b"bytes 5", b"5-6/7", b"bytes 5-6/7/8"]
)
def test_a_content_range_without_start(value: bytes) -> None:
    """Without START nothing is written: it might be meant for another place than the beginning."""
    with pytest.raises(BadHeader):
        content_start([value])


def test_two_content_ranges() -> None:
    """Two of them contradict each other."""
    with pytest.raises(BadHeader):
        content_start([b"bytes 0-1/*", b"bytes 0-1/*"])
    assert content_start([]) is None
