"""A file's pages into the pool: read, put into frames, stored, several requests in flight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, BinaryIO

from pagepool_client import calls
from pagepool_client.errors import BadAddress, PagepoolError
from pagepool_client.flights import in_order
from pagepool_client.frames import PageCounts, encode_pages
from pagepool_client.sources import Piece, count_pages, pieces

if TYPE_CHECKING:
    from pagepool_client.client import Client

ZERO_REQUEST_PAGES = 1 << 20
"""Pages that one request may make zero (the contract's bound)."""


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import did: pages by kind as the service counted them, bytes of bodies sent, seconds."""

    offset: int
    counts: PageCounts
    sent_bytes: int
    seconds: float

    @property
    def pages(self) -> int:
        """Pages stored."""
        return self.counts.pages


@dataclass(frozen=True, slots=True)
class _Landed:
    end: int
    counts: PageCounts
    sent_bytes: int


def import_pages(
    client: Client,
    file: BinaryIO | str | PathLike[str],
    type_: int,
    offset: int,
    *,
    pad: bool,
    lz4: bool,
    in_flight: int,
    progress: Callable[[int, int | None], None] | None,
) -> ImportSummary:
    """Store a file's pages from `offset` on; `Client.import_pages` says what the arguments are.

    When a request fails, its error bears a note that says which pages were acknowledged.

    Raises:
        BadAddress: the file is longer than what is left of the type; nothing was stored, unless it came from a pipe.
    """
    began = time.perf_counter()
    page_size, length = client.page_size, client.max_extent_pages
    # Extents end where the service's own runs of pages do.
    first_length = length - offset % length
    counts, sent_bytes, end = PageCounts(), 0, offset
    with open(file, "rb", buffering=0) if isinstance(file, str | PathLike) else nullcontext(file) as opened:  # noqa: PTH123
        total = count_pages(opened, page_size, pad=pad)
        if total is not None and offset + total > (limit := (1 << 63) // page_size):
            detail = f"{total} pages from {offset} on end past the last offset, {limit - 1}."
            raise BadAddress(422, {"code": "bad_address", "title": "Bad address", "detail": detail})
        work = _work(
            client, type_, offset, pieces(opened, page_size, first_length, length, pad=pad), page_size, lz4=lz4
        )
        try:
            with in_order(work, in_flight) as all_landed:
                for landed in all_landed:
                    counts += landed.counts
                    sent_bytes += landed.sent_bytes
                    end = landed.end
                    if progress is not None:
                        progress(counts.pages, total)
        except PagepoolError as error:
            error.add_note(f"The {end - offset} pages from {offset} on were stored; of those after them, some may be.")
            raise
    return ImportSummary(offset, counts, sent_bytes, time.perf_counter() - began)


def _work(
    client: Client, type_: int, offset: int, from_file: Iterator[Piece], page_size: int, *, lz4: bool
) -> Iterator[Callable[[], _Landed]]:
    for piece in from_file:
        at, count = offset + piece.first, piece.count
        if piece.data is not None:
            encoded = encode_pages(piece.data, at, page_size, lz4=lz4)
            yield partial(_store, client, type_, at, count, encoded.body)
        else:
            for start in range(at, at + count, ZERO_REQUEST_PAGES):
                yield partial(_zero, client, type_, start, min(ZERO_REQUEST_PAGES, at + count - start))


def _store(client: Client, type_: int, offset: int, count: int, body: bytes) -> _Landed:
    stored = client.send(calls.store_frames(type_, offset, body))
    return _Landed(offset + count, stored.counts, len(body))


def _zero(client: Client, type_: int, offset: int, count: int) -> _Landed:
    return _Landed(offset + count, PageCounts(zero=client.zero_many(type_, [(offset, count)])), 0)
