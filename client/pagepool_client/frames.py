"""The frames of Pagepool: many pages in one body, in a form that spares the wire and the service their work.

A body is a sequence of frames, little-endian:

    0                   8           12     13         16
    +-------------------+-----------+------+----------+---------- … -+
    | offset            | count     | kind | 0 · 0 · 0| payload      |
    +-------------------+-----------+------+----------+---------- … -+

    kind        payload
    0 data      count × page_size bytes
    1 zero      none
    2 same      the 8-byte word that fills each page
    3 absent    none; answers only
    4 LZ4       for each page: u16 length · u64 XXH3-64 of the page · one LZ4 block shorter than page_size
    5 corrupt   none; answers only: these pages failed their check
    255 end     none; answers only, always last: offset 0, count = pages answered for

Pure: bytes in, values out. An answer is decoded whole and checked whole: every page asked for is named once, every
digest holds, the end is there. Anything else is a BrokenAnswer, never other bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from struct import error as struct_error
from typing import Final

from lz4.block import LZ4BlockError
from lz4.block import compress as lz4_compress
from lz4.block import decompress as lz4_decompress
from xxhash import xxh3_64_intdigest

from pagepool_client.errors import BrokenAnswer

HEAD: Final = Struct("<QIB3s")
BLOCK_HEAD: Final = Struct("<HQ")
WORD_BYTES: Final = 8

_RESERVED: Final = bytes(3)
_PLAIN_BLOCK: Final = ("default", False)
"""The mode, and no size before the block; given by name these would cost a page 0.25 µs."""
_pack_block_head = BLOCK_HEAD.pack
_unpack_head = HEAD.unpack_from
_unpack_block_head = BLOCK_HEAD.unpack_from

Buffer = bytes | bytearray | memoryview

Extent = tuple[int, int]
"""`(offset, count)`: `count` pages from `offset` on."""


class FrameKind(IntEnum):
    """What a frame says of its pages."""

    DATA = 0
    ZERO = 1
    SAME = 2
    ABSENT = 3
    LZ4 = 4
    CORRUPT = 5
    END = 255


@dataclass(frozen=True, slots=True)
class PageCounts:
    """Pages by kind, as the service counts them."""

    zero: int = 0
    same: int = 0
    compressed: int = 0
    raw: int = 0

    @property
    def pages(self) -> int:
        """All of them."""
        return self.zero + self.same + self.compressed + self.raw

    def __add__(self, other: PageCounts) -> PageCounts:
        return PageCounts(
            self.zero + other.zero, self.same + other.same, self.compressed + other.compressed, self.raw + other.raw
        )

    @classmethod
    def parse(cls, header: str) -> PageCounts:
        """Read the header `Page-Counts: zero=1, same=0, compressed=3, raw=0`."""
        try:
            numbers = {name.strip(): int(number) for name, _, number in (p.partition("=") for p in header.split(","))}
            return cls(**numbers)
        except (TypeError, ValueError):
            raise BrokenAnswer(f"The header Page-Counts reads {header!r}.") from None


@dataclass(frozen=True, slots=True)
class EncodedPages:
    """A body of frames, and the kinds of the pages in it."""

    body: bytes
    counts: PageCounts


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of an answer, decoded and verified.

    `buffers`, one after the other, are the bytes of its `count` pages; a zero, absent or corrupt frame has none.
    """

    offset: int
    count: int
    kind: FrameKind
    buffers: Sequence[bytes] = ()

    @property
    def end(self) -> int:
        """The offset after its last page."""
        return self.offset + self.count


def head(offset: int, count: int, kind: FrameKind) -> bytes:
    """The 16 bytes that a frame begins with."""
    return HEAD.pack(offset, count, kind, _RESERVED)


def encode_pages(data: Buffer, offset: int, page_size: int, *, lz4: bool = True) -> EncodedPages:
    """Put neighbouring pages into frames, each in the shortest form; the first one's address is `offset`.

    With `lz4=False` pages that are neither zero nor same-filled go as they are, and the service compresses them.
    `data` is a whole number of pages.
    """
    zero = bytes(page_size)
    shift = page_size - WORD_BYTES
    parts: list[bytes] = []
    tally = [0] * 5
    open_kind, open_word, open_at, open_head = -1, b"", offset, 0
    at = offset
    for start in range(0, len(data), page_size):
        page = bytes(data[start : start + page_size])
        word = b""
        payload: tuple[bytes, ...] = ()
        if page == zero:
            kind = 1
        elif page[:8] == page[shift:] and page[8:] == page[:shift]:
            kind = 2
            word = page[:8]
        elif lz4 and len(block := lz4_compress(page, *_PLAIN_BLOCK)) < page_size:
            kind = 4
            payload = (_pack_block_head(len(block), xxh3_64_intdigest(page)), block)
        else:
            kind = 0
            payload = (page,)
        if kind != open_kind or word != open_word:
            if open_kind >= 0:
                parts[open_head] = HEAD.pack(open_at, at - open_at, open_kind, _RESERVED)
            open_kind, open_word, open_at, open_head = kind, word, at, len(parts)
            parts.append(b"")
            if word:
                parts.append(word)
        parts += payload
        tally[kind] += 1
        at += 1
    if open_kind >= 0:
        parts[open_head] = HEAD.pack(open_at, at - open_at, open_kind, _RESERVED)
    return EncodedPages(b"".join(parts), PageCounts(zero=tally[1], same=tally[2], compressed=tally[4], raw=tally[0]))


def merge_extents(extents: Iterable[Extent]) -> list[Extent]:
    """The same pages as fewest extents, ascending, none named twice."""
    merged: list[Extent] = []
    for offset, count in sorted(extents):
        if count < 1:
            raise ValueError(f"An extent of {count} pages.")
        if merged and offset <= (end := merged[-1][0] + merged[-1][1]):
            merged[-1] = (merged[-1][0], max(end, offset + count) - merged[-1][0])
        else:
            merged.append((offset, count))
    return merged


def decode_answer(body: bytes, page_size: int, asked: Iterable[Extent]) -> list[Frame]:
    """The frames of an answer in ascending order, every page of `asked` in exactly one of them.

    Raises:
        BrokenAnswer: the body is cut, malformed, does not decode, fails a digest, lacks its end, or answers for other
            pages than those asked for.
    """
    wanted = merge_extents(asked)
    room = sum(count for _, count in wanted)
    frames: list[Frame] = []
    answered = 0
    position = 0
    try:
        while True:
            offset, count, kind, reserved = _unpack_head(body, position)
            position += HEAD.size
            if reserved != _RESERVED:
                raise BrokenAnswer("A frame's reserved bytes are not 0.")
            if kind == FrameKind.END:
                break
            answered += count
            if count == 0 or answered > room:
                raise BrokenAnswer("The answer names no page in a frame, or more pages than were asked for.")
            buffers, position = _payload(body, position, kind, count, page_size)
            frames.append(Frame(offset, count, FrameKind(kind), buffers))
    except struct_error:
        raise BrokenAnswer("The answer ends without its end frame.") from None
    if offset != 0 or count != answered or position != len(body):
        raise BrokenAnswer("The end frame does not match what stands before it, or is not the last.")
    frames.sort(key=lambda frame: frame.offset)
    if not _tiles(frames, wanted):
        raise BrokenAnswer("The answer is for other pages than those asked for.")
    return frames


def _payload(body: bytes, position: int, kind: int, count: int, page_size: int) -> tuple[Sequence[bytes], int]:
    """A frame's pages, and where the next frame begins."""
    if kind == FrameKind.LZ4:
        return _lz4_pages(body, position, count, page_size)
    if kind == FrameKind.DATA:
        end = position + count * page_size
        if end > len(body):
            raise BrokenAnswer("A data frame is cut.")
        return (body[position:end],), end
    if kind == FrameKind.SAME:
        end = position + WORD_BYTES
        if end > len(body):
            raise BrokenAnswer("A same frame is cut.")
        return (body[position:end] * (page_size // WORD_BYTES),) * count, end
    if kind in {FrameKind.ZERO, FrameKind.ABSENT, FrameKind.CORRUPT}:
        return (), position
    raise BrokenAnswer(f"A frame of kind {kind} is unknown.")


def _lz4_pages(body: bytes, position: int, count: int, page_size: int) -> tuple[list[bytes], int]:
    pages = []
    limit = len(body)
    for _ in range(count):
        length, digest = _unpack_block_head(body, position)
        start = position + 10
        position = start + length
        if position > limit:
            raise BrokenAnswer("An LZ4 block is cut.")
        try:
            page = lz4_decompress(body[start:position], page_size)
        except LZ4BlockError:
            raise BrokenAnswer("An LZ4 block does not decode.") from None
        if xxh3_64_intdigest(page) != digest or len(page) != page_size:
            raise BrokenAnswer("A page does not match its digest.")
        pages.append(page)
    return pages, position


def _tiles(frames: list[Frame], wanted: list[Extent]) -> bool:
    """Whether ascending frames cover the wanted extents, and nothing twice."""
    remaining = iter(wanted)
    at = end = 0
    for frame in frames:
        if at == end:
            offset, count = next(remaining, (-1, 0))
            at, end = offset, offset + count
        if frame.offset != at or frame.end > end:
            return False
        at = frame.end
    return at == end and next(remaining, None) is None
