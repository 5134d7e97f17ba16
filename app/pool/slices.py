"""Encoding and decoding of extents on the event loop, a slice at a time, so that small loads beside it need not wait.

Not in a thread: lz4 lets go of the interpreter for each page, and two threads that hand it to each other every 5 µs
took a sixth more processor time for frames, and won none (bench/extents.py, 2 cores). More cores are for more workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from app.page.classify import Octets
from app.page.codec import DecodedExtent, EncodedPages, Encoder, decode_extent
from app.page.frames import Frame, encode_frames, split

SLICE_PAGES: Final = 32
"""Some 0.3 ms of work."""


async def encode_in_slices(encoder: Encoder, body: Octets, type_: int, offset: int) -> EncodedPages:
    """As `Encoder.encode_extent`."""
    size = encoder.page_size
    kinds, blobs = bytearray(), list[bytes]()
    for begin in range(0, len(body), SLICE_PAGES * size):
        if begin:
            await asyncio.sleep(0)
        end = min(begin + SLICE_PAGES * size, len(body))
        pages = encoder.encode_extent(body, type_, offset + begin // size, begin, end)
        kinds += pages.kinds
        blobs += pages.blobs
    return EncodedPages(range(offset, offset + len(blobs)), kinds, blobs)


async def encode_frames_in_slices(encoder: Encoder, body: Octets, frames: Sequence[Frame], type_: int) -> EncodedPages:
    """As `encode_frames`."""
    offsets, kinds, blobs = list[int](), bytearray(), list[bytes]()
    for frame in frames:
        for part in split(body, frame, SLICE_PAGES, encoder.page_size):
            pages = encode_frames(body, [part], encoder.page_size, type_, encoder)
            offsets += pages.offsets
            kinds += pages.kinds
            blobs += pages.blobs
            if part.page_count == SLICE_PAGES:
                await asyncio.sleep(0)
    return EncodedPages(offsets, kinds, blobs)


async def decode_in_slices(held: Sequence[bytes | None], page_size: int, type_: int, offset: int) -> DecodedExtent:
    """As `decode_extent`."""
    states, pages = bytearray(), list[bytes]()
    for begin in range(0, len(held), SLICE_PAGES):
        if begin:
            await asyncio.sleep(0)
        extent = decode_extent(held[begin : begin + SLICE_PAGES], page_size, type_, offset + begin)
        states += extent.states
        pages += extent.pages
    return DecodedExtent(states, pages)
