r"""Frames: many pages in one body, in the fewest bytes (contract 2.2).

    byte  0                8            12     13         16
          +----------------+------------+------+----------+--------- … -+
          | offset         | count      | kind | 0  0  0  | payload     |
          +----------------+------------+------+----------+--------- … -+
           u64              u32          u8     reserved    little-endian

    kind    payload
      0  data     count × page_size bytes
      1  zero     none
      2  same     the 8-byte word; the word 0 makes zero pages
      3  absent   none                       in answers only
      4  LZ4      count × ( u16 length | u64 XXH3-64 of the page | one LZ4 block of that length, shorter than a page )
      5  corrupt  none                       in answers only
    255  end      none; offset 0, count = pages answered for; in answers only, always the last

A body that is stored goes through two steps, so that the second can leave the event loop. `scan` walks the headers and
settles all that can be said without looking at a page; `encode_frames` decodes, verifies, classifies and compresses.
Nothing may be stored before both are through. What they allocate is bounded by max_pages pages, whatever the body says:
a count is checked before anything is made of that length.

Answers are made by frame_writer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import islice
from operator import attrgetter
from struct import Struct
from typing import Final, NamedTuple

from app.errors import BadFrame
from app.page.address import offset_limit
from app.page.classify import WORD_BYTES, Kind, Octets, zero_page
from app.page.codec import (
    ZERO_BLOB,
    EncodedPages,
    Encoder,
    address_mixes,
    digest_of,
    same_blob,
)
from app.page.compressors import DECODE_ERRORS, decompress_lz4


class FrameKind(IntEnum):
    """Byte 12 of a frame."""

    DATA = 0
    ZERO = 1
    SAME = 2
    ABSENT = 3
    LZ4 = 4
    CORRUPT = 5
    END = 255


HEADER: Final = Struct("<QIB3s")
HEADER_BYTES: Final = HEADER.size
BLOCK_HEAD: Final = Struct("<HQ")
BLOCK_HEAD_BYTES: Final = BLOCK_HEAD.size
RESERVED: Final = bytes(3)

_ZERO_WORD: Final = bytes(WORD_BYTES)
_STORABLE: Final = frozenset({FrameKind.DATA, FrameKind.ZERO, FrameKind.SAME, FrameKind.LZ4})
_ANSWER_ONLY: Final = frozenset({FrameKind.ABSENT, FrameKind.CORRUPT, FrameKind.END})

# The members as names of the module: an attribute of an enum costs a page 40 ns.
_DATA, _ZERO, _SAME, _LZ4 = FrameKind.DATA, FrameKind.ZERO, FrameKind.SAME, FrameKind.LZ4
_KIND_ZERO = Kind.ZERO
_ALL: Final = 1 << 32
"""More pages than a frame can count."""
_unpack_header = HEADER.unpack_from
_unpack_block_head = BLOCK_HEAD.unpack_from
_unpack_length = Struct("<H").unpack_from


class Frame(NamedTuple):
    """A frame whose header was found good; its payload begins at byte `position` + HEADER_BYTES of the body."""

    offset: int
    page_count: int
    kind: int
    position: int


def parse(body: Octets, offset: int, max_pages: int, page_size: int, type_: int, encoder: Encoder) -> EncodedPages:
    """The pages of a whole body, ready to be stored: `scan`, then `encode_frames`.

    Raises:
        BadFrame: any rule of contract 2.2 is broken.
    """
    return encode_frames(body, scan(body, offset, max_pages, page_size), page_size, type_, encoder)


def _refuse(position: int, reason: str) -> BadFrame:
    return BadFrame(f"Byte {position}: {reason}.", position=position)


def scan(body: Octets, offset: int, max_pages: int, page_size: int) -> list[Frame]:
    """The frames of a body in ascending order of offset, all rules checked but those that need a page decoded.

    A body cannot name more than `max_pages` pages without naming one twice or one outside, so that rule needs no check
    of its own.

    Args:
        body: the whole body of a PUT.
        offset: the request's; every page lies in [offset, offset + max_pages) and inside the type.
        max_pages: pages in a request at most.
        page_size: bytes in a page.

    Raises:
        BadFrame: with the byte position at fault, counted from the body's first; it never bears page bytes.
    """
    end = len(body)
    if end == 0:
        raise _refuse(0, "the body holds no frame")
    limit = min(offset + max_pages, offset_limit(page_size))
    named = bytearray(max_pages)
    frames: list[Frame] = []
    position = 0
    while position < end:
        frame = _read_header(body, position, offset, limit)
        first, count, _, _ = frame
        low, high = first - offset, first - offset + count
        if named.find(1, low, high) >= 0:
            raise _refuse(position, "the frame names a page that an earlier frame named")
        named[low:high] = b"\x01" * count
        frames.append(frame)
        position = _skip_payload(body, frame, page_size)
    frames.sort(key=attrgetter("offset"))
    return frames


def _read_header(body: Octets, position: int, offset: int, limit: int) -> Frame:
    """The frame that begins at `position`, if all that its header says can be stored in [offset, limit)."""
    if position + HEADER_BYTES > len(body):
        raise _refuse(position, "the frame's header is cut")
    first, count, kind, reserved = _unpack_header(body, position)
    if kind not in _STORABLE:
        what = "appears in answers only" if kind in _ANSWER_ONLY else "is unknown"
        raise _refuse(position, f"the frame's kind {kind} {what}")
    if reserved != RESERVED:
        raise _refuse(position, "the frame's reserved bytes are not 0")
    if count == 0:
        raise _refuse(position, "the frame's count is 0")
    if first < offset or first + count > limit:
        raise _refuse(position, f"the frame names pages outside {offset} … {limit - 1}")
    return Frame(first, count, kind, position)


def _skip_payload(body: Octets, frame: Frame, page_size: int) -> int:
    """The position behind a frame, once its payload is known to be whole and every block's length to be right."""
    position = frame.position + HEADER_BYTES
    if frame.kind == _LZ4:
        return _skip_blocks(body, position, frame.page_count, page_size)
    if frame.kind == _DATA:
        position += frame.page_count * page_size
    elif frame.kind == _SAME:
        position += WORD_BYTES
    if position > len(body):
        raise _refuse(frame.position, "the frame's payload is cut")
    return position


def _skip_blocks(body: Octets, position: int, count: int, page_size: int) -> int:
    """The position behind `count` LZ4 pages; raises BadFrame at the one whose length is wrong or that is cut."""
    end = len(body)
    for _ in range(count):
        start = position + BLOCK_HEAD_BYTES
        if start > end or start + (length := _unpack_length(body, position)[0]) > end:
            raise _refuse(position, "the LZ4 block is cut")
        if not 0 < length < page_size:
            raise _refuse(position, f"the LZ4 block's length {length} is not between 1 and {page_size - 1}")
        position = start + length
    return position


def encode_frames(body: Octets, frames: Sequence[Frame], page_size: int, type_: int, encoder: Encoder) -> EncodedPages:
    """Decode, verify and encode what `scan` found in the same body.

    Raises:
        BadFrame: an LZ4 block does not decode to exactly one page, or not to its digest.
    """
    offsets, kinds, blobs = list[int](), bytearray(), list[bytes]()
    for pages in encode_parts(body, frames, page_size, type_, encoder, _ALL):
        offsets += pages.offsets
        kinds += pages.kinds
        blobs += pages.blobs
    return EncodedPages(offsets, kinds, blobs)


def encode_parts(
    body: Octets, frames: Iterable[Frame], page_size: int, type_: int, encoder: Encoder, most: int
) -> Iterator[EncodedPages]:
    """As `encode_frames`, in parts: of at most `most` pages where each page costs work (data and LZ4)."""
    for first, count, kind, position in frames:
        start = position + HEADER_BYTES
        end = first + count
        if kind == _LZ4:
            for at in range(first, end, most):
                part = range(at, min(at + most, end))
                kinds, blobs, start = _encode_blocks(body, start, part, type_, encoder)
                yield EncodedPages(part, kinds, blobs)
        elif kind == _DATA:
            for at in range(first, end, most):
                stop = start + min(most, end - at) * page_size
                yield encoder.encode_extent(body, type_, at, start, stop)
                start = stop
        elif kind == _ZERO or (word := bytes(body[start : start + WORD_BYTES])) == _ZERO_WORD:
            yield EncodedPages(range(first, end), bytearray((_KIND_ZERO,)) * count, [ZERO_BLOB] * count)
        else:
            digest = digest_of(word * (page_size // WORD_BYTES))
            same_blobs = [same_blob(word, digest ^ mix) for mix in islice(address_mixes(type_, first), count)]
            yield EncodedPages(range(first, end), bytearray((Kind.SAME,)) * count, same_blobs)


def _encode_blocks(
    body: Octets, position: int, offsets: range, type_: int, encoder: Encoder
) -> tuple[bytearray, list[bytes], int]:
    """Kind and blob of each LZ4 page from `position` on, which go to `offsets`; and the position behind them."""
    page_size = encoder.page_size
    zero = zero_page(page_size)
    envelop = encoder.envelop
    kinds, blobs = bytearray(), list[bytes]()
    octets = memoryview(body)  # its slices copy nothing, and each block is only read twice
    for mix in islice(address_mixes(type_, offsets.start), len(offsets)):
        length, digest = _unpack_block_head(body, position)
        start = position + BLOCK_HEAD_BYTES
        block = octets[start : start + length]
        try:
            page = decompress_lz4(block, page_size)
        except DECODE_ERRORS:
            raise _refuse(position, "the LZ4 block does not decode") from None
        if len(page) != page_size:
            raise _refuse(position, f"the LZ4 block decodes to {len(page)} bytes, not one page")
        if digest_of(page) != digest:
            raise _refuse(position, "the page that the LZ4 block decodes to does not match its digest")
        if page == zero:
            kinds.append(_KIND_ZERO)
            blobs.append(ZERO_BLOB)
        else:
            kind, blob = envelop(page, digest ^ mix, block)
            kinds.append(kind)
            blobs.append(blob)
        position = start + length
    return kinds, blobs, position
