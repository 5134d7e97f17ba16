"""Ranges of bytes in headers (RFC 9110, section 14): what a read asks for, and where a write begins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from app.errors import BadHeader, RangeNotSatisfiable

_RANGE: Final = re.compile(rb"bytes=[ \t]*(?:([0-9]{1,30})-([0-9]{0,30})|-([0-9]{1,30}))[ \t]*", re.IGNORECASE)
_CONTENT_RANGE: Final = re.compile(
    rb"bytes[ \t]+([0-9]{1,30})-[0-9]{0,30}(?:/(?:\*|-?[0-9]{1,30})?)?[ \t]*", re.IGNORECASE
)


def requested_range(values: Sequence[bytes], size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last that a Range asks for of `size` bytes, clamped at the end.

    None stands for the whole: no Range, several, another unit, or what is no range at all (section 14.2).

    Raises:
        RangeNotSatisfiable: it starts past the end, or asks for the last 0 bytes.
    """
    if len(values) != 1 or (match := _RANGE.fullmatch(values[0])) is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        start, end = max(size - int(suffix), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        error = RangeNotSatisfiable(f"The image has {size} bytes.")
        error.headers["Content-Range"] = f"bytes */{size}"
        raise error
    return start, end


def stated_range(values: Sequence[bytes]) -> tuple[int, int] | None:
    """First byte and the one behind the last, where a Range names both; whether they lie in the image is not known."""
    if len(values) != 1 or (match := _RANGE.fullmatch(values[0])) is None or not match[1] or not match[2]:
        return None
    start, end = int(match[1]), int(match[2]) + 1
    return (start, end) if start < end else None


def content_start(values: Sequence[bytes]) -> int | None:
    """Where a write begins, by its Content-Range; None without one.

    Only START is believed. What follows it is often wrong: nbdkit sends the bytes' count for the end, and -1 for a
    total that it does not know.

    Raises:
        BadHeader: it has no START, or there are several.
    """
    if not values:
        return None
    match = _CONTENT_RANGE.fullmatch(values[0])
    if match is None or len(values) > 1:
        raise BadHeader("Content-Range must be one of the form: bytes START-END/*.")
    return int(match[1])
