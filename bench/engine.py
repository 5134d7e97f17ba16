"""The page engine alone: the table of the zero-page patch (time to store and to load, with and without the check).

'Without the check' is the same envelope, digest and compressor, as the engine would be if it did not look for zero
and same-filled pages. A load 'without the check' decodes the blob that such a store would have left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from app.page.classify import is_zero
from app.page.codec import ENVELOPE_BYTES, ZERO_BLOB, Encoder, address_mix, decode_extent, digest_of
from app.page.compressors import compress_lz4
from app.settings import CompressorName
from bench.context import Context
from bench.measurement import Section, interleave
from bench.sample_pages import PAGE_SIZE, ZERO_PAGE, compressible

WITH, WITHOUT = "with the check", "without the check"
STORE_ZERO, LOAD_ZERO = "store zero pages", "load zero pages"
STORE_SAME, LOAD_SAME = "store same-filled pages", "load same-filled pages"
STORE_OTHER, LOAD_OTHER = "store other pages", "load other pages"
CHECK, COMPRESSION = "the zero check on pages that are not zero", "LZ4 of the same pages"
CHECK_COST = "cost of the check"
_TYPE = 1
_LEAD = b"\x11"


def _encode_without_check(pages: Sequence[bytes]) -> list[bytes]:
    return [
        _LEAD + (digest_of(page) ^ address_mix(_TYPE, offset)).to_bytes(8, "little") + compress_lz4(page)
        for offset, page in enumerate(pages)
    ]


def _microseconds(work: Callable[[], object], pages: int, seconds: float) -> float:
    """Time a page takes, in µs."""
    work()
    started = time.perf_counter()
    done = 0
    while (elapsed := time.perf_counter() - started) < seconds:
        work()
        done += pages
    return elapsed / done * 1e6


def run(context: Context) -> Section:
    """µs a page, by kind."""
    section = Section("engine", "The page engine alone: no HTTP, no Redis", reference=WITHOUT)
    count = 1024
    seconds = context.seconds / 10
    kinds = {
        (STORE_ZERO, LOAD_ZERO): [bytes(bytearray(ZERO_PAGE)) for _ in range(count)],
        (STORE_SAME, LOAD_SAME): [index.to_bytes(8, "little") * (PAGE_SIZE // 8) for index in range(1, count + 1)],
        (STORE_OTHER, LOAD_OTHER): compressible(count),
    }
    encoder = Encoder(PAGE_SIZE, CompressorName.LZ4)
    for (store, load), pages in kinds.items():
        body = b"".join(pages)
        plain_blobs = _encode_without_check(pages)
        blobs = encoder.encode_extent(body, _TYPE, 0).blobs
        assert all(len(blob) > ENVELOPE_BYTES or blob == ZERO_BLOB for blob in blobs)
        # Both sides start from the whole body, as an extent comes in.
        stores: dict[str, Callable[[], object]] = {
            WITH: partial(encoder.encode_extent, body, _TYPE, 0),
            WITHOUT: partial(_encode_body_without_check, body),
        }
        loads: dict[str, Callable[[], object]] = {
            WITH: partial(decode_extent, blobs, PAGE_SIZE, _TYPE, 0),
            WITHOUT: partial(decode_extent, plain_blobs, PAGE_SIZE, _TYPE, 0),
        }
        for task, works in ((store, stores), (load, loads)):
            timed = {peer: partial(_microseconds, work, count, seconds) for peer, work in works.items()}
            section.add(task, "µs/page", interleave(context.rounds, timed), lower_is_better=True)
    pages = kinds[STORE_OTHER, LOAD_OTHER]
    timed = {
        CHECK: partial(_check_microseconds, pages, seconds),
        COMPRESSION: partial(_microseconds, partial(_compress_all, pages), count, seconds),
    }
    section.add(CHECK_COST, "µs/page", interleave(context.rounds, timed), lower_is_better=True)
    return section


def _encode_body_without_check(body: bytes) -> list[bytes]:
    """As Encoder.encode_extent, down to the way that it cuts the body, without a look at the kind."""
    return _encode_without_check([body[start : start + PAGE_SIZE] for start in range(0, len(body), PAGE_SIZE)])


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
    assert not any(map(is_zero, pages))
    with_check = _microseconds(partial(_compare_all, pages, ZERO_PAGE), len(pages), seconds)
    return max(with_check - _microseconds(partial(_walk_all, pages), len(pages), seconds), 1e-6)
