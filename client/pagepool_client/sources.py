"""Files of pages to import: what is read from where, and which of it is zeros that need not be read at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pagepool_client.errors import NotWholePages

_SOME_ZEROS = bytes(4096)


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring pages of a file: `first` counts pages from the file's start. Without `data` they are zeros."""

    first: int
    count: int
    data: bytes | None


def count_pages(file: BinaryIO, page_size: int, *, pad: bool) -> int | None:
    """How many pages a file holds; None for a pipe, which says so only at its end.

    Raises:
        NotWholePages: the file ends within a page, and `pad` does not allow that.
    """
    size = _size(file)
    if size is None:
        return None
    if size % page_size and not pad:
        raise _not_whole(size, page_size)
    return -(-size // page_size)


def pieces(file: BinaryIO, page_size: int, first_length: int, length: int, *, pad: bool) -> Iterator[Piece]:
    """A file's pages in pieces of `length` pages, the first of `first_length`, in order.

    A hole in a sparse file is never read; where a whole piece is zeros, it has no data.

    Raises:
        NotWholePages: what comes ends within a page, and `pad` does not allow that.
    """
    size = _size(file)
    if size is None:
        yield from _piped(file, page_size, first_length, length, pad=pad)
        return
    descriptor = file.fileno()
    total = -(-size // page_size)
    first, count = 0, min(first_length, total)
    next_data = 0
    while first < total:
        start = first * page_size
        if next_data <= start:
            next_data = _next_data(descriptor, start, size)
        if next_data >= size:
            count = total - first
            yield Piece(first, count, None)
        elif next_data >= start + count * page_size:
            count += (next_data // page_size - first - count) // length * length  # all the whole pieces in the hole
            yield Piece(first, count, None)
        else:
            data = _read(descriptor, count * page_size, start)
            data += bytes(-len(data) % page_size)
            if len(data) != count * page_size:
                raise NotWholePages("The file was cut while it was read.")
            yield Piece(first, count, None if _is_zero(data) else data)
        first += count
        count = min(length, total - first)


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


def _size(file: BinaryIO) -> int | None:
    """Bytes of a file that can be read at any place: a regular one, or a block device."""
    try:
        descriptor = file.fileno()
    except OSError:  # io.UnsupportedOperation: a file that is not the system's
        return None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        return os.lseek(descriptor, 0, os.SEEK_END)
    return None


def _next_data(descriptor: int, start: int, size: int) -> int:
    """Where the next byte lies that is not in a hole; `size` if there is none."""
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA)
    except OSError as error:
        # Else a file system, or a device, that knows no holes: all is data.
        return size if error.errno == errno.ENXIO else start


def _read(descriptor: int, length: int, start: int) -> bytes:
    data = os.pread(descriptor, length, start)
    while len(data) < length and (more := os.pread(descriptor, length - len(data), start + len(data))):
        data += more
    return data


def _read_stream(file: BinaryIO, length: int) -> bytes:
    parts = []
    while length and (data := file.read(length)):
        parts.append(data)
        length -= len(data)
    return b"".join(parts)


def _not_whole(size: int, page_size: int) -> NotWholePages:
    return NotWholePages(
        f"{size} bytes are not a whole number of pages of {page_size}: {size % page_size} bytes are left over."
    )
