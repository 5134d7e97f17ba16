"""Frames (contract 2.2) written down a second time: a builder that can also build wrong ones, and a strict reader."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import lz4.block
import xxhash

from tests.harness.pages import PAGE_SIZE

_HEAD = struct.Struct("<QIB3s")
_BLOCK = struct.Struct("<HQ")
HEAD_BYTES = 16


class FrameKind(IntEnum):
    """What a frame's payload is."""

    DATA = 0
    ZERO = 1
    SAME = 2
    ABSENT = 3
    LZ4 = 4
    CORRUPT = 5
    END = 255


@dataclass(frozen=True)
class Frame:
    """One frame of an answer; `pages` are its pages decoded, empty where the kind has none."""

    offset: int
    count: int
    kind: FrameKind
    pages: tuple[bytes, ...] = ()


def frame(offset: int, count: int, kind: int, payload: bytes = b"", reserved: bytes = bytes(3)) -> bytes:
    """A frame, right or wrong."""
    return _HEAD.pack(offset, count, kind, reserved) + payload


def data(offset: int, *pages: bytes) -> bytes:
    """A data frame."""
    return frame(offset, len(pages), FrameKind.DATA, b"".join(pages))


def zero(offset: int, count: int = 1) -> bytes:
    """A zero frame."""
    return frame(offset, count, FrameKind.ZERO)


def same(offset: int, count: int, word: bytes) -> bytes:
    """A same-filled frame."""
    return frame(offset, count, FrameKind.SAME, word)


def block(page: bytes) -> bytes:
    """One page of an LZ4 frame."""
    compressed = lz4.block.compress(page, store_size=False)
    return _BLOCK.pack(len(compressed), xxhash.xxh3_64_intdigest(page)) + compressed


def lz4_frame(offset: int, *pages: bytes) -> bytes:
    """An LZ4 frame."""
    return frame(offset, len(pages), FrameKind.LZ4, b"".join(map(block, pages)))


def read(body: bytes, page_size: int = PAGE_SIZE) -> list[Frame]:
    """The frames of an answer, its end frame checked and left out; raises AssertionError where it is broken."""
    frames: list[Frame] = []
    at = 0
    while True:
        assert at + HEAD_BYTES <= len(body), "the answer ends without its end frame"
        offset, count, number, reserved = _HEAD.unpack_from(body, at)
        at += HEAD_BYTES
        assert reserved == bytes(3), "reserved bytes are not 0"
        kind = FrameKind(number)
        if kind is FrameKind.END:
            assert offset == 0
            assert count == sum(frame.count for frame in frames), "the end frame counts the pages answered for"
            assert at == len(body), "bytes after the end frame"
            return frames
        assert count > 0, "an empty frame"
        pages: list[bytes] = []
        if kind is FrameKind.DATA:
            pages = [body[at + n * page_size : at + (n + 1) * page_size] for n in range(count)]
            at += count * page_size
        elif kind is FrameKind.ZERO:
            pages = [bytes(page_size)] * count
        elif kind is FrameKind.SAME:
            pages = [body[at : at + 8] * (page_size // 8)] * count
            at += 8
        elif kind is FrameKind.LZ4:
            for _ in range(count):
                length, digest = _BLOCK.unpack_from(body, at)
                at += _BLOCK.size
                page = lz4.block.decompress(body[at : at + length], uncompressed_size=page_size)
                at += length
                assert length < page_size, "a block that does not shrink its page"
                assert xxhash.xxh3_64_intdigest(page) == digest
                pages.append(page)
        assert at <= len(body), "a cut frame"
        assert all(len(page) == page_size for page in pages)
        frames.append(Frame(offset, count, kind, tuple(pages)))


def by_offset(frames: list[Frame]) -> dict[int, bytes | FrameKind]:
    """Each page answered for: its bytes, or the kind of frame that says why there are none."""
    found: dict[int, bytes | FrameKind] = {}
    for each in frames:
        for index in range(each.count):
            assert each.offset + index not in found, "an address twice"
            found[each.offset + index] = each.pages[index] if each.pages else each.kind
    return found
