"""Where exported pages go: a sparse file, or whatever takes bytes in order."""

from __future__ import annotations

import fcntl
import io
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from typing import BinaryIO, Protocol

from pagepool_client.plain_files import plain_descriptor

_BYTES_AT_ONCE = 256 << 10
"""In one call to write. Of more, Linux makes its page cache in pieces of up to 2 MB, which are what a virtual machine
lends its host while they are free (free page reporting): the host has to find memory for them first. 400 MB in
calls of 2 MB took 0.7 to 1.3 s so, in calls of 256 KB 0.1 s; where nothing is lent back, both take the same."""

_BUFFERS_AT_ONCE = 512
"""Below every system's IOV_MAX."""

_ZEROS = bytes(1 << 20)

_NAMES_OF_OPEN_FILES = re.compile(
    r"/dev/(?:(?P<stream>stdout|stderr)|fd/(?P<dev>[0-9]+))|/proc/self/fd/(?P<proc>[0-9]+)"
)
_STREAMS = {"stdout": 1, "stderr": 2}


class Sink(Protocol):
    """Takes bytes in ascending order; what is skipped reads as zeros."""

    def write(self, position: int, buffers: Sequence[bytes]) -> None: ...

    def finish(self, length: int) -> None: ...


class SparseFile:
    """A regular file that ends where it is open at: what is skipped becomes a hole.

    Such a file is not truncated: one that ever was, to nothing, ext4 allocates and begins to write when it is closed,
    which held up the end of an export of 512 MiB by a quarter of a second.
    """

    def __init__(self, file: BinaryIO, descriptor: int) -> None:
        self._file = file
        self._descriptor = descriptor
        self._start = file.tell()

    def write(self, position: int, buffers: Sequence[bytes]) -> None:
        """Write buffers, one after the other, at a position."""
        position += self._start
        for batch in _batches(buffers):
            length = sum(map(len, batch))
            written = os.pwritev(self._descriptor, batch, position)
            if written < length:  # rare (a full disk says so only at the next write): the rest, plainly
                rest = b"".join(batch)[written:]
                at = position + written
                while rest:
                    count = os.pwrite(self._descriptor, rest, at)
                    rest, at = rest[count:], at + count
            position += length

    def finish(self, length: int) -> None:
        """Give the file its length, as a hole at its end has been written by nobody, and leave it open there."""
        os.ftruncate(self._descriptor, self._start + length)
        self._file.seek(self._start + length)


def _batches(buffers: Iterable[bytes]) -> Iterator[list[bytes | memoryview]]:
    """The same bytes in lists of at most _BYTES_AT_ONCE and _BUFFERS_AT_ONCE."""
    batch: list[bytes | memoryview] = []
    room = _BYTES_AT_ONCE
    for buffer in buffers:
        piece: bytes | memoryview = buffer
        while len(piece) > room:
            view = memoryview(piece)
            yield [*batch, view[:room]]
            batch, piece, room = [], view[room:], _BYTES_AT_ONCE
        batch.append(piece)
        room -= len(piece)
        if len(batch) == _BUFFERS_AT_ONCE:
            yield batch
            batch, room = [], _BYTES_AT_ONCE
    if batch:
        yield batch


class Stream:
    """A pipe, a device, or an object with `write`: what is skipped is written as zeros."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._position = 0

    def write(self, position: int, buffers: Sequence[bytes]) -> None:
        """Write buffers, one after the other, after zeros up to the position."""
        self._fill(position)
        for buffer in buffers:
            self._put(buffer)

    def finish(self, length: int) -> None:
        """Write zeros up to the length."""
        self._fill(length)
        self._file.flush()

    def _fill(self, position: int) -> None:
        while self._position < position:
            self._put(_ZEROS[: position - self._position])

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            taken: int | None = self._file.write(view)
            if taken is not None:
                view = view[taken:]  # an unbuffered file may take less than all
            elif isinstance(self._file, io.RawIOBase):
                select([], [self._file], [])  # it does not block, and takes nothing yet
            else:
                break  # the object's own write, which says nothing of what it takes
        self._position += len(data)


@contextmanager
def open_sink(target: BinaryIO | str | os.PathLike[str]) -> Iterator[Sink]:
    """A place to write to.

    A regular file named by its path is replaced only once all is written: an export that fails leaves what was there.
    Into an open file goes what comes at its position, as with any other writer.
    """
    if isinstance(target, str | os.PathLike):
        with _open_path(Path(target)) as sink:
            yield sink
    else:
        yield _sink_of(target)


@contextmanager
def _open_path(path: Path) -> Iterator[Sink]:
    descriptor = _descriptor_named(path)
    if descriptor is not None:  # what the name leads to on Linux, the file itself, must not be replaced
        with os.fdopen(os.dup(descriptor), "wb", buffering=0) as file:
            yield _sink_of(file)
        return
    if path.exists() and not path.is_file():
        with path.open("wb", buffering=0) as device:
            yield Stream(device)
        return
    path = Path(os.path.realpath(path))  # through a symbolic link, so that the link stays one
    partial = path.with_name(f".pagepool-{secrets.token_hex(8)}.partial")
    try:
        with partial.open("xb", buffering=0) as file:
            if path.exists():
                _take_after(file.fileno(), path.stat())
            yield SparseFile(file, file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _descriptor_named(path: Path) -> int | None:
    """The file that this process has open and that a path names as such: /dev/stdout, /dev/fd/3."""
    named = _NAMES_OF_OPEN_FILES.fullmatch(str(path))
    if named is None:
        return None
    stream = named["stream"]
    return int(named["dev"] or named["proc"]) if stream is None else _STREAMS[stream]


def _take_after(descriptor: int, before: os.stat_result) -> None:
    """Give a file the owner, where that is allowed, and the rights of the one that it replaces."""
    with suppress(PermissionError):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode) & 0o777)  # nothing that runs as somebody else


def _sink_of(file: BinaryIO) -> Sink:
    descriptor = plain_descriptor(file)
    if descriptor is None or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return Stream(file)
    file.flush()
    # Where something follows the position, holes would let it show through; where the file is open for appending, the
    # system writes at its end, whatever position it is given.
    ends_here = file.tell() >= os.fstat(descriptor).st_size
    appends = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
    return SparseFile(file, descriptor) if ends_here and not appends else Stream(file)
