"""What pages would cost in the pool: the page engine's own kinds and envelope, and compressors beside the default."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lz4.block
import zstandard

from app.page.classify import WORD_BYTES, is_zero, same_word
from app.page.codec import ENVELOPE_BYTES
from app.page.compressors import LZ4HC_LEVEL, ZSTD_LEVEL

MIB = 1 << 20
HEADROOM_PERCENT = 110
"""Over what the pages need now, so that they may change."""

Compress = Callable[[bytes], bytes]
Decompress = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Cost:
    """One compressor on the pages tried: bytes, raw pages, seconds in all.

    `setting` chooses it; a level that no setting chooses is there to compare with.
    """

    name: str
    setting: str | None
    pool_bytes: int
    raw: int
    store_seconds: float
    load_seconds: float


@dataclass(frozen=True, slots=True)
class Survey:
    """A file's pages, those of them that were tried, and what they would cost.

    `sizes` are the lengths of the blobs under lz4.
    """

    page_size: int
    pages: int
    tried: int
    zero: int
    same: int
    costs: list[Cost]
    sizes: list[int]

    @property
    def logical_bytes(self) -> int:
        """Bytes of the whole file's pages."""
        return self.pages * self.page_size

    def scaled(self, number: int) -> int:
        """A number of the pages tried, for the whole file."""
        return number * self.pages // self.tried


def recommended_limit(pool_bytes: int) -> int:
    """The limit, in whole MiB, that holds so many bytes with headroom."""
    return -(-pool_bytes * HEADROOM_PERCENT // (100 * MIB)) * MIB


def survey(file: Path, page_size: int, sample: int) -> Survey:
    """Try a file's pages, at most `sample` of them (0: all), spread evenly."""
    total = file.stat().st_size // page_size
    others: list[bytes] = []
    zero = same = tried = 0
    for page in _pages(file, page_size, total, sample):
        tried += 1
        if is_zero(page):
            zero += 1
        elif same_word(page) is not None:
            same += 1
        else:
            others.append(page)
    same_lengths = [ENVELOPE_BYTES + WORD_BYTES] * same
    tries = [_try(*compressor, others, sum(same_lengths)) for compressor in _compressors(page_size)]
    sizes = tries[0][1] + same_lengths
    return Survey(page_size, total, tried, zero, same, [cost for cost, _ in tries], sizes)


def _pages(file: Path, page_size: int, total: int, sample: int) -> Iterator[bytes]:
    """One page out of each of `sample` equal parts, by a fixed chance: a fixed step could fall in with a pattern."""
    chance = random.Random(total)  # noqa: S311 - no secret
    parts = min(sample, total) if sample else total
    with file.open("rb") as opened:
        for part in range(parts):
            at = chance.randrange(part * total // parts, (part + 1) * total // parts)
            opened.seek(at * page_size)
            yield opened.read(page_size)


def _compressors(page_size: int) -> Iterator[tuple[str, str | None, Compress, Decompress]]:
    def unpack_lz4(block: bytes) -> bytes:
        return lz4.block.decompress(block, uncompressed_size=page_size)  # type: ignore[no-any-return]

    def unpack_zstd(block: bytes) -> bytes:
        return context.decompress(block, max_output_size=page_size)

    yield "lz4", "lz4", lambda page: lz4.block.compress(page, store_size=False), unpack_lz4
    for level in (4, LZ4HC_LEVEL, 12):
        yield f"lz4hc {level}", "lz4hc" if level == LZ4HC_LEVEL else None, _lz4hc(level), unpack_lz4
    context = zstandard.ZstdDecompressor()
    for level in (1, ZSTD_LEVEL, 9):
        yield f"zstd {level}", "zstd" if level == ZSTD_LEVEL else None, _zstd(level), unpack_zstd


def _lz4hc(level: int) -> Compress:
    return lambda page: lz4.block.compress(page, mode="high_compression", compression=level, store_size=False)


def _zstd(level: int) -> Compress:
    context = zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=False)
    return context.compress


def _try(
    name: str, setting: str | None, compress: Compress, decompress: Decompress, pages: list[bytes], same_bytes: int
) -> tuple[Cost, list[int]]:
    """What pages cost under one compressor, `same_bytes` of other pages added, and the lengths of their blobs."""
    began = time.perf_counter()
    blocks = [compress(page) for page in pages]
    stored = time.perf_counter()
    kept = [block for block, page in zip(blocks, pages, strict=True) if len(block) < len(page)]
    ready = time.perf_counter()
    for block in kept:
        decompress(block)
    loaded = time.perf_counter()
    lengths = [ENVELOPE_BYTES + min(len(block), len(page)) for block, page in zip(blocks, pages, strict=True)]
    raw = len(pages) - len(kept)
    return Cost(name, setting, sum(lengths) + same_bytes, raw, stored - began, loaded - ready), lengths
