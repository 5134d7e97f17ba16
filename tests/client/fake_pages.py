"""What the fake service knows of pages and frames, written down a second time."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import lz4.block
import xxhash

PAGE_SIZE = 4096
MAX_EXTENT_PAGES = 512
ZERO = bytes(PAGE_SIZE)


class Refusal(Exception):
    def __init__(self, status: int, code: str, **members: Any) -> None:
        self.status = status
        self.members = {"type": f"urn:pagepool:error:{code}", "title": code, "status": status, "detail": code}
        self.members |= {"code": code} | members
        self.headers = {"Retry-After": str(members["retry_after"])} if "retry_after" in members else {}


def kind_of(page: bytes) -> str:
    if page == ZERO:
        return "zero"
    if page == page[:8] * (PAGE_SIZE // 8):
        return "same"
    return "compressed" if len(lz4.block.compress(page, store_size=False)) < PAGE_SIZE else "raw"


def stored_length(page: bytes) -> int:
    kind = kind_of(page)
    if kind == "compressed":
        return 9 + len(lz4.block.compress(page, store_size=False))
    return {"zero": 0, "same": 17, "raw": 9 + PAGE_SIZE}[kind]


def etag_of(page: bytes) -> str:
    return f'"{xxhash.xxh3_64_hexdigest(page)}"'


def frame(offset: int, count: int, kind: int, payload: bytes = b"") -> bytes:
    return struct.pack("<QIB3x", offset, count, kind) + payload


def runs_of(offsets: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and offset == sum(runs[-1]):
            runs[-1][1] += 1
        else:
            runs.append([offset, 1])
    return runs


def decode(offset: int, body: bytes) -> dict[int, bytes]:
    pages: dict[int, bytes] = {}
    try:
        for at, page in _frame_pages(body):
            if at in pages or not offset <= at < offset + MAX_EXTENT_PAGES:
                raise Refusal(400, "bad_frame", previous="kept")
            pages[at] = page
    except (struct.error, lz4.block.LZ4BlockError):
        raise Refusal(400, "bad_frame", previous="kept") from None
    return dict(sorted(pages.items()))


def _frame_pages(body: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(body):
        at, count, kind, reserved = struct.unpack_from("<QIB3s", body, position)
        position += 16
        if reserved != bytes(3) or kind not in {0, 1, 2, 4} or not 1 <= count <= MAX_EXTENT_PAGES:
            raise Refusal(400, "bad_frame", previous="kept")
        word = body[position : position + 8]
        position += 8 if kind == 2 else 0
        for index in range(count):
            if kind == 4:
                length, digest = struct.unpack_from("<HQ", body, position)
                block = body[position + 10 : position + 10 + length]
                position += 10 + length
                page = lz4.block.decompress(block, uncompressed_size=PAGE_SIZE)
                if xxhash.xxh3_64_intdigest(page) != digest:
                    raise Refusal(400, "bad_frame", previous="kept")
            elif kind == 0:
                page = body[position : position + PAGE_SIZE]
                position += PAGE_SIZE
            else:
                page = ZERO if kind == 1 else word * (PAGE_SIZE // 8)
            if len(page) != PAGE_SIZE or position > len(body):
                raise Refusal(400, "bad_frame", previous="kept")
            yield at + index, page


def encode(offset: int, page: bytes | None, *, lz4_wanted: bool) -> bytes:
    """One page of an answer as a frame of its own."""
    if page is None:
        return frame(offset, 1, 3)
    kind = kind_of(page)
    if kind == "zero":
        return frame(offset, 1, 1)
    if kind == "same":
        return frame(offset, 1, 2, page[:8])
    if kind == "compressed" and lz4_wanted:
        block = lz4.block.compress(page, store_size=False)
        return frame(offset, 1, 4, struct.pack("<HQ", len(block), xxhash.xxh3_64_intdigest(page)) + block)
    return frame(offset, 1, 0, page)
