"""Redis's wire protocol (RESP), as far as commands are written by hand: arrays of bulk strings.

hiredis's own packing takes three times as long, and copies every blob twice more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

Piece = bytes | memoryview
"""Of a command; a view where a copy is spared."""

END: Final = b"\r\n"


def bulk(item: bytes) -> bytes:
    """A bulk string."""
    return b"$%d\r\n%b\r\n" % (len(item), item)


class _Between(dict[int, bytes]):
    """What stands between two bulk strings, by the length of the second: each is made once."""

    def __missing__(self, length: int) -> bytes:
        between = self[length] = b"\r\n$%d\r\n" % length
        return between


between: Final[Callable[[int], bytes]] = _Between().__getitem__
"""From the end of one bulk string to the beginning of another, of that length."""


def command_with(items: Sequence[bytes], blobs: Sequence[Piece]) -> list[Piece]:
    """A command in pieces, its last items blobs, which are not copied."""
    before = b"".join((b"*%d\r\n" % (len(items) + len(blobs)), *map(bulk, items)))
    pieces: list[Piece] = [END] * (2 * len(blobs) + 2)
    pieces[0] = before[: -len(END)]
    pieces[1:-1:2] = map(between, map(len, blobs))
    pieces[2:-1:2] = blobs
    return pieces
