"""Files of pages to import: what is read from where, and which of it is zeros that need not be read at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from select import select
from typing import BinaryIO

from pagepool_client.errors import NotWholePages
from pagepool_client.plain_files import plain_descriptor, seek_aside

_SOME_ZEROS = bytes(4096)


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring pages of a file: `first` counts pages from where reading began. Without `data` they are zeros."""

    first: int
    count: int
    data: bytes | None


def count_pages(file: BinaryIO, page_size: int, *, pad: bool) -> int | None:
    """How many pages a file holds from its position on; None for a pipe, which says so only at its end.

    Raises:
        NotWholePages: the file ends within a page, and `pad` does not allow that.
    """
    bounds = _bounds(file)
    if bounds is None:
        return None
    size = bounds.end - bounds.start
    if size % page_size and not pad:
        raise _not_whole(size, page_size)
    return -(-size // page_size)


def pieces(file: BinaryIO, page_size: int, first_length: int, length: int, *, pad: bool) -> Iterator[Piece]:
    """A file's pages from its position on, in pieces of `length` pages, the first of `first_length`, in order.

    A hole in a sparse file is never read; where a whole piece is zeros, it has no data.

    Raises:
        NotWholePages: what comes ends within a page, and `pad` does not allow that.
    """
    bounds = _bounds(file)
    if bounds is None:
        yield from _piped(file, page_size, first_length, length, pad=pad)
        return
    if (size := bounds.end - bounds.start) % page_size and not pad:
        raise _not_whole(size, page_size)
    total = -(-size // page_size)
    first, count = 0, min(first_length, total)
    next_data = 0
    while first < total:
        start = bounds.start + first * page_size
        if next_data <= start:
            next_data = _next_data(bounds.descriptor, start, bounds.end)
        if next_data >= bounds.end:
            count = total - first
            yield Piece(first, count, None)
        elif next_data >= start + count * page_size:
            whole_pages = (next_data - start) // page_size
            count += (whole_pages - count) // length * length  # all the whole pieces in the hole
            yield Piece(first, count, None)
        else:
            data = _read(bounds.descriptor, min(count * page_size, bounds.end - start), start)
            data += bytes(-len(data) % page_size)
            yield Piece(first, count, None if _is_zero(data) else data)
        first += count
        count = min(length, total - first)
    file.seek(bounds.end)


def _piped(file: BinaryIO, page_size: int, first_length: int, length: int, *, pad: bool) -> Iterator[Piece]:
    first, count, seen = 0, first_length, 0
    while True:
        data = _read_stream(file, count * page_size)
        if not data:
            return
        seen += len(data)
        if over := len(data) % page_size:
            if not pad:
                raise _not_whole(seen, page_size)
            data += bytes(page_size - over)
        read = len(data) // page_size
        yield Piece(first, read, None if _is_zero(data) else data)
        if read < count or over:
            return
        first, count = first + read, length


def _is_zero(data: bytes) -> bool:
    """Whether all bytes are 0; most data says no in its first page, and then nothing is made to compare it with."""
    return data.startswith(_SOME_ZEROS[: len(data)]) and data == bytes(len(data))


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What is to be read of a file that can be read at any place, in bytes from its beginning."""

    descriptor: int
    start: int
    end: int


def _bounds(file: BinaryIO) -> _Bounds | None:
    """From where a file is open at to its end; None unless it is a regular file or a block device."""
    descriptor = plain_descriptor(file)
    if descriptor is None:
        return None
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        return None
    file.flush()  # what was written to it is to be read
    start = file.tell()
    try:
        return _Bounds(descriptor, start, max(start, seek_aside(descriptor, 0, os.SEEK_END)))
    except OSError:
        return None  # it only looks like a file, as much in /proc does


def _next_data(descriptor: int, start: int, size: int) -> int:
    """Where the next byte lies that is not in a hole; `size` if there is none."""
    try:
        return seek_aside(descriptor, start, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            return start  # a file system, or a device, that knows no holes: all is data
        if seek_aside(descriptor, 0, os.SEEK_END) < size:
            raise _cut() from None
        return size


def _read(descriptor: int, length: int, start: int) -> bytes:
    data = os.pread(descriptor, length, start)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), start + len(data))
        if not more:
            raise _cut()
        data += more
    return data


def _read_stream(file: BinaryIO, length: int) -> bytes:
    parts = []
    while length:
        data: bytes | None = file.read(length)
        if data is None:  # it does not block, and there is nothing yet
            select([file], [], [])
        elif data:
            parts.append(data)
            length -= len(data)
        else:
            break
    return b"".join(parts)


def _cut() -> NotWholePages:
    return NotWholePages("The file was cut while it was read.")


def _not_whole(size: int, page_size: int) -> NotWholePages:
    return NotWholePages(
        f"{size} bytes are not a whole number of pages of {page_size}: {size % page_size} bytes are left over."
    )
