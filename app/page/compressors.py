"""The compressors that a page can be stored under, each with the identifier that its envelope bears.

An identifier is never reused: a page that was stored under another compressor stays readable (contract 2.5).
"""

from __future__ import annotations

import threading
from typing import Protocol

import lz4.block
import zstandard

from app.page.classify import Octets
from app.settings import CompressorName

ZSTD_LEVEL = 3
ZSTD_MAX_WINDOW_BYTES = 1 << 17
LZ4HC_LEVEL = 9

_lz4_compress = lz4.block.compress


class DecodeError(Exception):
    """A payload that does not decode to exactly one page."""


class Compress(Protocol):
    """Compresses one page; the result may be longer than the page."""

    def __call__(self, page: Octets | memoryview, /) -> bytes: ...


class Decompress(Protocol):
    """Decodes a payload to at most `page_size` bytes; raises one of DECODE_ERRORS, and allocates no more than that."""

    def __call__(self, payload: Octets | memoryview, page_size: int, /) -> bytes: ...


def _compress_lz4(page: Octets | memoryview) -> bytes:
    return _lz4_compress(page, "default", False)  # type: ignore[no-any-return]


def _compress_lz4hc(page: Octets | memoryview) -> bytes:
    return _lz4_compress(page, mode="high_compression", compression=LZ4HC_LEVEL, store_size=False)  # type: ignore[no-any-return]


class _ZstdContexts(threading.local):
    """A zstd context serves one thread at a time, and is dear to make."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False, write_content_size=False)
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_MAX_WINDOW_BYTES)


_zstd = _ZstdContexts()


def _compress_zstd(page: Octets | memoryview) -> bytes:
    return _zstd.compressor.compress(page)


def _decompress_zstd(payload: Octets | memoryview, page_size: int) -> bytes:
    # A frame may claim its content's size, and the binding would allocate that much; ours never claim it.
    if zstandard.frame_content_size(payload) > page_size:
        raise DecodeError("The zstd frame claims more than a page.")
    return _zstd.decompressor.decompress(payload, max_output_size=page_size, allow_extra_data=False)


LZ4_ID = 1
ZSTD_ID = 2

COMPRESSORS: dict[CompressorName, tuple[int, Compress | None]] = {
    CompressorName.LZ4: (LZ4_ID, _compress_lz4),
    CompressorName.LZ4HC: (LZ4_ID, _compress_lz4hc),  # the same block format: one decoder
    CompressorName.ZSTD: (ZSTD_ID, _compress_zstd),
    CompressorName.NONE: (0, None),
}

compress_lz4: Compress = _compress_lz4
decompress_lz4: Decompress = lz4.block.decompress
"""The library's own function: a wrapper would cost a twentieth of a decompression."""

DECOMPRESSORS: dict[int, Decompress] = {LZ4_ID: decompress_lz4, ZSTD_ID: _decompress_zstd}
DECODE_ERRORS: tuple[type[Exception], ...] = (DecodeError, lz4.block.LZ4BlockError, zstandard.ZstdError)
"""What the decompressors raise for a payload that does not decode."""
