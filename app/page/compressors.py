"""The compressors that a page can be stored under, each with the identifier that its envelope bears.

An identifier is never reused: a page that was stored under another compressor stays readable (contract 2.5).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import lz4.block
import zstandard

from app.settings import CompressorName

ZSTD_LEVEL = 3
LZ4HC_LEVEL = 9

_lz4_compress = lz4.block.compress
_lz4_decompress = lz4.block.decompress


class DecodeError(Exception):
    """A payload that does not decode to exactly one page."""


class Compress(Protocol):
    """Compresses one page; the result may be longer than the page."""

    def __call__(self, page: bytes | memoryview, /) -> bytes: ...


class Decompress(Protocol):
    """Decodes a payload to at most `page_size` bytes; raises DecodeError."""

    def __call__(self, payload: bytes | memoryview, page_size: int, /) -> bytes: ...


def _compress_lz4(page: bytes | memoryview) -> bytes:
    return _lz4_compress(page, store_size=False)  # type: ignore[no-any-return]


def _compress_lz4hc(page: bytes | memoryview) -> bytes:
    return _lz4_compress(page, mode="high_compression", compression=LZ4HC_LEVEL, store_size=False)  # type: ignore[no-any-return]


def _decompress_lz4(payload: bytes | memoryview, page_size: int) -> bytes:
    try:
        return _lz4_decompress(payload, uncompressed_size=page_size)  # type: ignore[no-any-return]
    except lz4.block.LZ4BlockError as error:
        raise DecodeError(str(error)) from error


class _ZstdContexts(threading.local):
    """A zstd context serves one thread at a time, and is dear to make."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False, write_content_size=False)
        self.decompressor = zstandard.ZstdDecompressor()


_zstd = _ZstdContexts()


def _compress_zstd(page: bytes | memoryview) -> bytes:
    return _zstd.compressor.compress(page)


def _decompress_zstd(payload: bytes | memoryview, page_size: int) -> bytes:
    try:
        return _zstd.decompressor.decompress(payload, max_output_size=page_size)
    except zstandard.ZstdError as error:
        raise DecodeError(str(error)) from error


LZ4_ID = 1
ZSTD_ID = 2

COMPRESSORS: dict[CompressorName, tuple[int, Compress | None]] = {
    CompressorName.LZ4: (LZ4_ID, _compress_lz4),
    CompressorName.LZ4HC: (LZ4_ID, _compress_lz4hc),  # the same block format: one decoder
    CompressorName.ZSTD: (ZSTD_ID, _compress_zstd),
    CompressorName.NONE: (0, None),
}

DECOMPRESSORS: dict[int, Decompress] = {LZ4_ID: _decompress_lz4, ZSTD_ID: _decompress_zstd}

compress_lz4: Callable[[bytes | memoryview], bytes] = _compress_lz4
decompress_lz4: Callable[[bytes | memoryview, int], bytes] = _decompress_lz4
