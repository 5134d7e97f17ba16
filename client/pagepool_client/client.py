"""The sync client."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar

from pagepool_client import calls
from pagepool_client.answers import Allocation, Cell, Layout, LoadedFrames, PageHead, Run, Stored
from pagepool_client.calls import Call, Missing
from pagepool_client.errors import PagepoolError
from pagepool_client.exchange import Address, read_answer
from pagepool_client.exporting import ExportSummary, export_pages
from pagepool_client.frames import Buffer, Extent, encode_pages
from pagepool_client.importing import ImportSummary, import_pages
from pagepool_client.retries import Retries
from pagepool_client.transport import SocketTransport

if TYPE_CHECKING:
    import httpx

    from pagepool_client.httpx_way import HttpxTransport

T = TypeVar("T")
Progress = Callable[[int, int | None], None]
"""Called with the pages done and the pages in all, or None where that is not known."""


class Client:
    """A Pagepool service, from ordinary code. Threads may share one; close it, or use it in a `with`.

    Args:
        url: `http://host:port`, `https://…`, or `unix:/path/of.sock`.
        token: sent as `Authorization: Bearer`.
        timeout: seconds without progress after which a call fails.
        max_connections: connections at once; further calls wait for one.
        retries: how often and how patiently calls are repeated.
        ssl_context: which authorities to trust; the system's by default.
        transport: an httpx transport to use instead of the client's own.
        sleep: how to wait between attempts.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout: float = 10.0,
        max_connections: int = 16,
        retries: Retries | None = None,
        ssl_context: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.address = Address.parse(url)
        self.retries = retries or Retries()
        self._sleep = sleep
        self._layout: Layout | None = None
        self._headers = self.address.headers(token)
        self._transport: SocketTransport | HttpxTransport
        if transport is None:
            self._transport = SocketTransport(
                self.address, timeout=timeout, ssl_context=ssl_context, max_connections=max_connections
            )
        else:
            from pagepool_client.httpx_way import HttpxTransport  # noqa: PLC0415 - see there

            self._transport = HttpxTransport(transport, self.address, timeout)

    def __repr__(self) -> str:
        return f"Client({str(self.address)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def send(self, call: Call[T]) -> T:
        """Send a call, repeat it where that is allowed, and read its answer."""
        attempt = 1
        while True:
            try:
                answer = self._transport.exchange(
                    call.method, call.target, {**self._headers, **call.headers}, call.content
                )
                return read_answer(call, answer)
            except PagepoolError as problem:
                error = problem
            wait = self.retries.wait_after(error, attempt, call.repeat)
            if wait is None:
                raise error
            self._sleep(wait)
            attempt += 1

    @property
    def layout(self) -> Layout:
        """What is fixed in the pool; asked for once."""
        if self._layout is None:
            self._layout = self.send(calls.layout())
        return self._layout

    @property
    def page_size(self) -> int:
        """Bytes in a page."""
        return self.layout.page_size

    @property
    def max_extent_pages(self) -> int:
        """Pages in one extent at most."""
        return self.layout.max_extent_pages

    # Pages

    def load(self, type_: int, offset: int) -> bytes:
        """A page; PageMissing if it is absent. Its digest was verified."""
        return self.send(calls.load(type_, offset))

    def load_if_changed(self, type_: int, offset: int, etag: str) -> bytes | None:
        """A page, or None while its ETag still is `etag`."""
        return self.send(calls.load_if_changed(type_, offset, etag))

    def head(self, type_: int, offset: int) -> PageHead:
        """A page's kind, ETag and stored length."""
        return self.send(calls.head(type_, offset))

    def store(
        self, type_: int, offset: int, page: Buffer, *, if_match: str | None = None, if_none_match: str | None = None
    ) -> Stored:
        """Store a page. Under a precondition: PreconditionFailed where it does not hold, and no second attempt."""
        return self.send(calls.store(type_, offset, page, if_match, if_none_match))

    def take(self, type_: int, offset: int) -> bytes:
        """Load a page and remove it. If the answer is lost, so is the page: it is never asked for twice.

        The safe form is `load`, then `invalidate` with `if_match=etag_of(page)`.
        """
        return self.send(calls.take(type_, offset))

    def invalidate(self, type_: int, offset: int, count: int = 1, *, if_match: str | None = None) -> int:
        """Remove pages; how many of them were there."""
        return self.send(calls.invalidate(type_, offset, count, if_match))

    # Extents

    def load_extent(self, type_: int, offset: int, count: int, *, missing: Missing = "error") -> bytes:
        """The bytes of `count` pages; absent ones are an error, or read as zeros."""
        return self.send(calls.load_extent(type_, offset, count, missing))

    def store_extent(self, type_: int, offset: int, data: Buffer) -> Stored:
        """Store the pages in `data`; each is atomic by itself."""
        return self.send(calls.store(type_, offset, data, None, None))

    def invalidate_many(self, type_: int, extents: Iterable[Extent]) -> int:
        """Remove the pages of any ranges; how many of them were there."""
        return self.send(calls.invalidate_many(type_, extents))

    def zero_many(self, type_: int, extents: Iterable[Extent]) -> int:
        """Store zero pages without sending them."""
        return self.send(calls.zero_many(type_, extents))

    # Frames

    def store_frames(self, type_: int, offset: int, data: Buffer, *, lz4: bool = True) -> Stored:
        """As `store_extent`, compressed here: the service verifies, and need not compress."""
        return self.send(calls.store_frames(type_, offset, encode_pages(data, offset, self.page_size, lz4=lz4).body))

    def load_frames(self, type_: int, offset: int, count: int, *, lz4: bool = True) -> LoadedFrames:
        """As `load_extent`, decompressed here; absent and corrupt pages are told apart, not errors."""
        return self.send(calls.load_frames(type_, offset, count, self.page_size, lz4=lz4))

    def load_many(self, type_: int, extents: Iterable[Extent], *, lz4: bool = True) -> LoadedFrames:
        """Scattered pages in one answer: for prefetch, and for the replay of a working set."""
        return self.send(calls.load_many(type_, extents, self.page_size, lz4=lz4))

    # Whole files

    def import_pages(
        self,
        file: BinaryIO | str | PathLike[str],
        type_: int,
        offset: int = 0,
        *,
        pad: bool = False,
        lz4: bool = True,
        in_flight: int = 3,
        progress: Progress | None = None,
    ) -> ImportSummary:
        """Store a file's pages from `offset` on. With `pad`, zeros make up a last page that is not whole."""
        return import_pages(self, file, type_, offset, pad=pad, lz4=lz4, in_flight=in_flight, progress=progress)

    def export_pages(
        self,
        type_: int,
        file: BinaryIO | str | PathLike[str],
        offset: int | None = None,
        count: int | None = None,
        *,
        missing: Missing = "error",
        lz4: bool = True,
        in_flight: int = 3,
        progress: Progress | None = None,
    ) -> ExportSummary:
        """Write pages to a file; without `offset` and `count`, from the first page held to the last."""
        return export_pages(
            self, type_, file, offset, count, missing=missing, lz4=lz4, in_flight=in_flight, progress=progress
        )

    # Types

    def types(self) -> Iterator[dict[str, Any]]:
        """Every type that holds pages or has a configuration, ascending."""
        after: int | None = None
        while True:
            listing = self.send(calls.list_types(after))
            yield from listing["types"]
            after = listing["next"]
            if after is None:
                return

    def type(self, type_: int) -> dict[str, Any]:
        """A type's counts, bytes, ratio and configuration."""
        return self.send(calls.get_object(f"/v1/types/{type_}"))

    def configure_type(self, type_: int, **configuration: Any) -> dict[str, Any]:
        """Set a type's configuration: `image_bytes`, or `max_pool_bytes`, `eviction`, `ttl_seconds`, `priority`."""
        return self.send(calls.configure_type(type_, configuration))

    def shrink(self, bytes_: int, type_: int | None = None) -> dict[str, Any]:
        """Free so many bytes of the pool, or of a type, by taking expired and cold pages; what was taken."""
        return self.send(calls.shrink(type_, bytes_))

    def delete_type(self, type_: int) -> None:
        """Remove a type: all its pages and its configuration."""
        self.send(calls.delete_type(type_))

    def allocation(self, type_: int, from_: int = 0, count: int | None = None) -> Allocation:
        """A piece of the allocation map; it may tell of less than was asked for, and says up to where."""
        return self.send(calls.allocation(type_, from_, self._rest(from_) if count is None else count))

    def allocation_runs(self, type_: int, from_: int = 0, count: int | None = None) -> Iterator[Run]:
        """The allocation map, piece by piece."""
        end = from_ + (self._rest(from_) if count is None else count)
        while from_ < end:
            runs, from_ = self.allocation(type_, from_, end - from_)
            yield from runs

    def cell_map(self, type_: int, from_: int, count: int, cells: int) -> list[Cell]:
        """The range cut into cells, each with its pages by kind and its bytes."""
        return self.send(calls.cell_map(type_, from_, count, cells))

    # The pool

    def pool(self) -> dict[str, Any]:
        """The pool in human terms."""
        return self.send(calls.get_object("/v1/pool"))

    def parameters(self) -> dict[str, Any]:
        """The run-time tunables."""
        return self.send(calls.get_object("/v1/parameters"))

    def change_parameters(self, **changes: Any) -> dict[str, Any]:
        """Change run-time tunables; all of them are answered."""
        return self.send(calls.change_parameters(changes))

    def readiness(self) -> dict[str, Any]:
        """Whether the service can reach Redis; BackendUnavailable if not."""
        return self.send(calls.get_object("/readyz"))

    def metrics(self) -> str:
        """The metrics as Prometheus text."""
        return self.send(calls.metrics())

    def _rest(self, from_: int) -> int:
        """Pages from an offset to the end of every type."""
        return (1 << 63) // self.page_size - from_
