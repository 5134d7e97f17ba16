"""Encoding and decoding of extents on the event loop, a slice at a time, so that small loads beside it need not wait.

One extent at a time, in the order in which they came: while one is on its way to Redis or to its client, the next is
worked on. Did they take turns, all would be done at once, and then all wait at once: with four clients that send
extents, a quarter of the processor lay idle.

Not in a thread: lz4 lets go of the interpreter for each page, and two threads that hand it to each other every 5 µs
took a sixth more processor time for frames, and won none (bench/extents.py, 2 cores). More cores are for more workers.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from app.page.classify import Octets
from app.page.codec import DecodedExtent, EncodedPages, Encoder, decode_extent
from app.page.frame_writer import FrameWriter
from app.page.frames import Frame, encode_parts
from app.store.keys import INDEX_MASK

SLICE_PAGES: Final = 32
"""Some 0.3 ms of work."""

_yield_processor: Final[Callable[[], None]] = getattr(os, "sched_yield", lambda: None)


async def _pause() -> None:
    """Let the loop have its turn, and before it whoever waits for this processor.

    Redis was woken by a worker that goes on working: where the kernel had put it beside that, small loads waited until
    the worker's slice of time was over.
    """
    _yield_processor()
    await asyncio.sleep(0)


class Slices:
    """Takes the extents of one worker, one after another."""

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def _in_turn(self, count: int) -> AsyncIterator[None]:
        """What is done in one slice need not wait for anybody."""
        if count <= SLICE_PAGES:
            yield
            return
        async with self._turn:
            yield

    async def encode(
        self,
        encoder: Encoder,
        body: Octets,
        type_: int,
        offset: int,
        each_chunk: Callable[[EncodedPages], None] | None = None,
    ) -> EncodedPages:
        """As `Encoder.encode_extent`; `each_chunk` is given the pages of each chunk as soon as they are ready."""
        size = self._page_size
        kinds, blobs = bytearray(), list[bytes]()
        end = offset + len(body) // size
        async with self._in_turn(end - offset):
            begin = offset
            while begin < end:
                chunk_end = min((begin | INDEX_MASK) + 1, end)
                in_chunk = range(begin, chunk_end)
                for first in range(begin, chunk_end, SLICE_PAGES):
                    if first > offset:
                        await _pause()
                    last = min(first + SLICE_PAGES, chunk_end)
                    pages = encoder.encode_extent(body, type_, first, (first - offset) * size, (last - offset) * size)
                    kinds += pages.kinds
                    blobs += pages.blobs
                if each_chunk is not None:
                    await _pause()
                    each_chunk(EncodedPages(in_chunk, kinds[-len(in_chunk) :], blobs[-len(in_chunk) :]))
                begin = chunk_end
        return EncodedPages(range(offset, end), kinds, blobs)

    async def encode_frames(self, encoder: Encoder, body: Octets, frames: Sequence[Frame], type_: int) -> EncodedPages:
        """As `frames.encode_frames`."""
        offsets, kinds, blobs = list[int](), bytearray(), list[bytes]()
        async with self._in_turn(sum(frame.page_count for frame in frames)):
            done = 0
            for pages in encode_parts(body, frames, self._page_size, type_, encoder, SLICE_PAGES):
                offsets += pages.offsets
                kinds += pages.kinds
                blobs += pages.blobs
                done += len(pages)
                if done >= SLICE_PAGES:
                    await _pause()
                    done = 0
        return EncodedPages(offsets, kinds, blobs)

    async def decode(self, held: Sequence[bytes | None], type_: int, offset: int) -> DecodedExtent:
        """As `decode_extent`."""
        states, pages = bytearray(), list[bytes]()
        async with self._in_turn(len(held)):
            for begin in range(0, len(held), SLICE_PAGES):
                if begin:
                    await _pause()
                extent = decode_extent(held[begin : begin + SLICE_PAGES], self._page_size, type_, offset + begin)
                states += extent.states
                pages += extent.pages
        return DecodedExtent(states, pages)

    async def write_frames(
        self, held: Sequence[tuple[int, Sequence[bytes | None]]], type_: int, *, with_lz4: bool
    ) -> tuple[bytearray, bytes]:
        """What is held in each extent, by its first offset, as frames: the pages' states, and the body."""
        writer = FrameWriter(self._page_size, with_lz4=with_lz4)
        async with self._in_turn(sum(len(blobs) for _, blobs in held)):
            for offset, blobs in held:
                for begin in range(0, len(blobs), SLICE_PAGES):
                    writer.add(type_, offset + begin, blobs[begin : begin + SLICE_PAGES])
                    await _pause()
        return writer.states, b"".join(writer.finish())
