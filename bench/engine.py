"""The page engine alone: the table of the zero-page patch (time to store and to load, with and without the check).

'Without the check' is the same work (digest, compressor, envelope, and in extents the cutting of the body) as the
engine would do if it did not look for zero and same-filled pages; a load 'without the check' decodes the blob that such
a store would have left. A round's figure is its fastest pass over the pages: what is slower is the machine's doing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from struct import Struct

from app.page.classify import Kind
from app.page.codec import (
    ZERO_BLOB,
    EncodedPage,
    EncodedPages,
    Encoder,
    address_mix,
    address_mixes,
    decode_extent,
    digest_of,
)
from app.page.compressors import compress_lz4
from app.settings import CompressorName
from bench.context import Context
from bench.measurement import Section, interleave
from bench.sample_pages import PAGE_SIZE, ZERO_PAGE, compressible

WITH, WITHOUT = "with the check", "without the check"
STORE_ZERO, LOAD_ZERO = "store zero pages", "load zero pages"
CHECK, COMPRESSION = "the check", "LZ4 of the same pages"
CHECK_COST = "zero check on other pages"
_TYPE = 1
_PAGES = 1024
_HEAD = Struct("<BQ")
_LZ4_LEAD = 0x11


def store_one_by_one(pages: Sequence[bytes]) -> list[EncodedPage]:
    """Without the check, a page a call."""
    encoded = []
    for offset, page in enumerate(pages):
        digest = digest_of(page)
        blob = _HEAD.pack(_LZ4_LEAD, digest ^ address_mix(_TYPE, offset)) + compress_lz4(page)
        encoded.append(EncodedPage(Kind.COMPRESSED, digest, blob))
    return encoded


def store_extent(body: bytes) -> EncodedPages:
    """Without the check, as Encoder.encode_extent is otherwise written."""
    kinds = bytearray()
    blobs: list[bytes] = []
    for start, mix in zip(range(0, len(body), PAGE_SIZE), address_mixes(_TYPE, 0), strict=False):
        page = body[start : start + PAGE_SIZE]
        kinds.append(Kind.COMPRESSED)
        blobs.append(_HEAD.pack(_LZ4_LEAD, digest_of(page) ^ mix) + compress_lz4(page))
    return EncodedPages(range(len(blobs)), kinds, blobs)


def microseconds(work: Callable[[], object], seconds: float) -> float:
    """Time a page takes in the fastest of the passes that fit into `seconds`, in µs."""
    clock = time.perf_counter
    fastest = float("inf")
    end = clock() + seconds
    while True:
        started = clock()
        work()
        fastest = min(fastest, clock() - started)
        if clock() > end:
            return fastest / _PAGES * 1e6


def run(context: Context) -> Section:
    """µs a page, by kind."""
    section = Section("engine", "The page engine alone: no HTTP, no Redis", reference=WITHOUT)
    seconds = context.seconds / 10
    encoder = Encoder(PAGE_SIZE, CompressorName.LZ4)

    def measure(task: str, works: Mapping[str, Callable[[], object]]) -> None:
        timed = {peer: partial(microseconds, work, seconds) for peer, work in works.items()}
        section.add(task, "µs/page", interleave(context.rounds, timed), lower_is_better=True)

    for kind, pages in {
        "zero": [bytes(bytearray(ZERO_PAGE)) for _ in range(_PAGES)],
        "same-filled": [index.to_bytes(8, "little") * (PAGE_SIZE // 8) for index in range(1, _PAGES + 1)],
        "other": compressible(_PAGES),
    }.items():
        body = b"".join(pages)
        plain = store_extent(body).blobs
        blobs = encoder.encode_extent(body, _TYPE, 0).blobs
        if kind == "zero" and set(blobs) != {ZERO_BLOB}:
            raise AssertionError("a zero page got a blob")
        name = f"{kind} pages"
        one_by_one: dict[str, Callable[[], object]] = {
            WITH: partial(_encode_all, encoder, pages),
            WITHOUT: partial(store_one_by_one, pages),
        }
        in_extents = {
            WITH: partial(encoder.encode_extent, body, _TYPE, 0),
            WITHOUT: partial(store_extent, body),
        }
        measure(f"store {name}", one_by_one)
        measure(f"store {name} in extents", in_extents)
        extent = (PAGE_SIZE, _TYPE, 0)
        measure(
            f"load {name}",
            {WITH: partial(decode_extent, blobs, *extent), WITHOUT: partial(decode_extent, plain, *extent)},
        )
    timed = {
        CHECK: partial(_check_microseconds, pages, seconds),
        COMPRESSION: partial(microseconds, partial(_compress_all, pages), seconds),
    }
    section.add(CHECK_COST, "µs/page", interleave(context.rounds, timed), lower_is_better=True)
    return section


def _encode_all(encoder: Encoder, pages: Sequence[bytes]) -> None:
    for offset, page in enumerate(pages):
        encoder.encode(page, _TYPE, offset)


def _compress_all(pages: Sequence[bytes]) -> None:
    for page in pages:
        compress_lz4(page)


def _compare_all(pages: Sequence[bytes], zero: bytes) -> None:
    for page in pages:
        if page == zero:
            raise AssertionError


def _walk_all(pages: Sequence[bytes]) -> None:
    for _page in pages:
        pass


def _check_microseconds(pages: Sequence[bytes], seconds: float) -> float:
    """The comparison as the engine makes it, less the loop around it."""
    compared = microseconds(partial(_compare_all, pages, ZERO_PAGE), seconds)
    return max(compared - microseconds(partial(_walk_all, pages), seconds), 1e-6)
