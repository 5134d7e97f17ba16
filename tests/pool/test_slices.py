"""Extents are encoded in slices, and handed on chunk by chunk."""

from __future__ import annotations

import asyncio

import pytest
from pagepool_client.frames import encode_pages

from app.page.codec import EncodedPages, Encoder
from app.page.frames import encode_frames, scan
from app.pool.slices import SLICE_PAGES, Slices
from app.settings import CompressorName
from tests.harness import pages

ENCODER = Encoder(pages.PAGE_SIZE, CompressorName.LZ4)


@pytest.mark.parametrize(
    ("offset", "count", "chunks"),
    [
        (0, 1, [(0, 1)]),
        (0, 64, [(0, 64)]),
        (0, 128, [(0, 64), (64, 64)]),
        (63, 2, [(63, 1), (64, 1)]),
        (10, 150, [(10, 54), (64, 64), (128, 32)]),
    ],
)
def test_each_chunk_is_handed_on(offset: int, count: int, chunks: list[tuple[int, int]]) -> None:
    """In order, once its last page is encoded, and cut where the chunks are; together they are the extent."""
    body = pages.mixed(count)
    handed_on: list[EncodedPages] = []
    encoded = asyncio.run(Slices(pages.PAGE_SIZE).encode(ENCODER, b"".join(body), 7, offset, handed_on.append))
    assert [(part.offsets[0], len(part)) for part in handed_on] == chunks
    assert [blob for part in handed_on for blob in part.blobs] == encoded.blobs
    assert b"".join(part.kinds for part in handed_on) == encoded.kinds
    assert encoded.offsets == range(offset, offset + count)
    one_by_one = [ENCODER.encode(page, 7, offset + place) for place, page in enumerate(body)]
    assert encoded.blobs == [page.blob or b"" for page in one_by_one]
    assert list(encoded.kinds) == [page.kind for page in one_by_one]


def test_one_extent_after_another() -> None:
    """The second begins when the first is encoded; a page alone waits for neither."""
    order: list[str] = []
    slices = Slices(pages.PAGE_SIZE)
    body = b"".join(pages.mixed(256))

    async def encode(name: str, part: bytes, offset: int) -> None:
        await slices.encode(ENCODER, part, 7, offset, lambda _: order.append(name))

    async def all_at_once() -> None:
        small = (encode("page", body[: pages.PAGE_SIZE], 9000),)
        await asyncio.gather(encode("first", body, 0), encode("second", body, 1000), *small)

    asyncio.run(all_at_once())
    assert [name for name in order if name != "page"] == ["first"] * 4 + ["second"] * 5
    assert order.index("page") < order.index("second")


def test_short_frames_in_slices() -> None:
    """Frames of a page each are encoded as the whole body is, and the loop has its turns in between."""
    body = b"".join(encode_pages(page, 10 + place, pages.PAGE_SIZE).body for place, page in enumerate(pages.mixed(300)))
    frames = scan(body, 10, 512, pages.PAGE_SIZE)
    assert len(frames) == 300

    async def encode_beside_others() -> tuple[EncodedPages, int]:
        turns = 0
        encoding = asyncio.create_task(Slices(pages.PAGE_SIZE).encode_frames(ENCODER, body, frames, 7))
        while not encoding.done():
            turns += 1
            await asyncio.sleep(0)
        return await encoding, turns

    encoded, turns = asyncio.run(encode_beside_others())
    assert encoded == encode_frames(body, frames, pages.PAGE_SIZE, 7, ENCODER)
    assert turns >= 300 // SLICE_PAGES
