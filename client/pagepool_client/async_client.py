"""The async client: the sync client's calls, awaited."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from os import PathLike
from typing import Any, Self, TypeVar

import httpx

from pagepool_client import calls
from pagepool_client.answers import Allocation, Cell, Layout, LoadedFrames, PageHead, Run, Stored
from pagepool_client.calls import Call, Missing
from pagepool_client.client import Client, Progress
from pagepool_client.errors import PagepoolError
from pagepool_client.exchange import Address, read_answer
from pagepool_client.exporting import ExportSummary
from pagepool_client.frames import Buffer, Extent, encode_pages
from pagepool_client.httpx_way import answer_of, no_answer, request_arguments
from pagepool_client.importing import ImportSummary
from pagepool_client.retries import Retries

T = TypeVar("T")


class AsyncClient:
    """A Pagepool service, from asyncio (or trio, but for the transfer of whole files).

    Arguments and methods are those of `Client`, whose docstrings say what they do; `layout()` is a call here.
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
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._address = Address.parse(url)
        self._retries = retries or Retries()
        self._sleep = sleep
        self._layout: Layout | None = None
        self._sync_arguments: dict[str, Any] = {
            "url": url,
            "token": token,
            "timeout": timeout,
            "max_connections": max_connections,
            "retries": retries,
            "ssl_context": ssl_context,
        }
        self._headers = self._address.headers(token)
        self._http = httpx.AsyncClient(
            transport=transport
            or httpx.AsyncHTTPTransport(
                uds=self._address.uds,
                verify=ssl_context or True,
                limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
            ),
            timeout=timeout,
            trust_env=False,  # no proxies: a page cache stands near its clients
        )

    def __repr__(self) -> str:
        return f"AsyncClient({str(self._address)!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Send a call, repeat it where that is allowed, and read its answer."""
        attempt = 1
        while True:
            try:
                answer = await self._http.request(**request_arguments(call, self._address, self._headers))
                return read_answer(call, answer_of(answer))
            except httpx.TransportError as cause:
                error: PagepoolError = no_answer(cause, self._address)
                error.__cause__ = cause
            except PagepoolError as problem:
                error = problem
            wait = self._retries.wait_after(error, attempt, call.repeat)
            if wait is None:
                raise error
            await self._sleep(wait)
            attempt += 1

    async def layout(self) -> Layout:
        """What is fixed in the pool; asked for once."""
        if self._layout is None:
            self._layout = await self.send(calls.layout())
        return self._layout

    # Pages

    async def load(self, type_: int, offset: int) -> bytes:
        return await self.send(calls.load(type_, offset))

    async def load_if_changed(self, type_: int, offset: int, etag: str) -> bytes | None:
        return await self.send(calls.load_if_changed(type_, offset, etag))

    async def head(self, type_: int, offset: int) -> PageHead:
        return await self.send(calls.head(type_, offset))

    async def store(
        self, type_: int, offset: int, page: Buffer, *, if_match: str | None = None, if_none_match: str | None = None
    ) -> Stored:
        return await self.send(calls.store(type_, offset, page, if_match, if_none_match))

    async def take(self, type_: int, offset: int) -> bytes:
        return await self.send(calls.take(type_, offset))

    async def invalidate(self, type_: int, offset: int, count: int = 1, *, if_match: str | None = None) -> int:
        return await self.send(calls.invalidate(type_, offset, count, if_match))

    # Extents

    async def load_extent(self, type_: int, offset: int, count: int, *, missing: Missing = "error") -> bytes:
        return await self.send(calls.load_extent(type_, offset, count, missing))

    async def store_extent(self, type_: int, offset: int, data: Buffer) -> Stored:
        return await self.send(calls.store(type_, offset, data, None, None))

    async def invalidate_many(self, type_: int, extents: Iterable[Extent]) -> int:
        return await self.send(calls.invalidate_many(type_, extents))

    async def zero_many(self, type_: int, extents: Iterable[Extent]) -> int:
        return await self.send(calls.zero_many(type_, extents))

    # Frames

    async def store_frames(self, type_: int, offset: int, data: Buffer, *, lz4: bool = True) -> Stored:
        page_size = (await self.layout()).page_size
        return await self.send(calls.store_frames(type_, offset, encode_pages(data, offset, page_size, lz4=lz4).body))

    async def load_frames(self, type_: int, offset: int, count: int, *, lz4: bool = True) -> LoadedFrames:
        return await self.send(calls.load_frames(type_, offset, count, (await self.layout()).page_size, lz4=lz4))

    async def load_many(self, type_: int, extents: Iterable[Extent], *, lz4: bool = True) -> LoadedFrames:
        return await self.send(calls.load_many(type_, extents, (await self.layout()).page_size, lz4=lz4))

    # Whole files: done by the sync client in a thread, which is faster than the event loop (README, Speed)

    async def import_pages(
        self,
        file: str | PathLike[str],
        type_: int,
        offset: int = 0,
        *,
        pad: bool = False,
        lz4: bool = True,
        in_flight: int = 3,
        progress: Progress | None = None,
    ) -> ImportSummary:
        """As `Client.import_pages`; `progress` is called in the event loop, and a cancellation ends the import."""
        return await self._in_thread(
            lambda client, report: client.import_pages(
                file, type_, offset, pad=pad, lz4=lz4, in_flight=in_flight, progress=report
            ),
            progress,
        )

    async def export_pages(
        self,
        type_: int,
        file: str | PathLike[str],
        offset: int | None = None,
        count: int | None = None,
        *,
        missing: Missing = "error",
        lz4: bool = True,
        in_flight: int = 3,
        progress: Progress | None = None,
    ) -> ExportSummary:
        """As `Client.export_pages`; `progress` is called in the event loop, and a cancellation ends the export."""
        return await self._in_thread(
            lambda client, report: client.export_pages(
                type_, file, offset, count, missing=missing, lz4=lz4, in_flight=in_flight, progress=report
            ),
            progress,
        )

    async def _in_thread(self, transfer: Callable[[Client, Progress], T], progress: Progress | None) -> T:
        loop = asyncio.get_running_loop()
        cancelled = False

        def report(done: int, total: int | None) -> None:
            if cancelled:
                raise InterruptedError("The transfer was cancelled.")
            if progress is not None:
                loop.call_soon_threadsafe(progress, done, total)

        def run() -> T:
            with Client(**self._sync_arguments) as client:
                return transfer(client, report)

        thread = asyncio.create_task(asyncio.to_thread(run))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            cancelled = True
            await asyncio.gather(thread, return_exceptions=True)
            raise

    # Types

    async def types(self) -> AsyncIterator[dict[str, Any]]:
        after: int | None = None
        while True:
            listing = await self.send(calls.list_types(after))
            for type_ in listing["types"]:
                yield type_
            after = listing["next"]
            if after is None:
                return

    async def type(self, type_: int) -> dict[str, Any]:
        return await self.send(calls.get_object(f"/v1/types/{type_}"))

    async def configure_type(self, type_: int, **configuration: Any) -> dict[str, Any]:
        return await self.send(calls.configure_type(type_, configuration))

    async def shrink(self, bytes_: int, type_: int | None = None) -> dict[str, Any]:
        return await self.send(calls.shrink(type_, bytes_))

    async def delete_type(self, type_: int) -> None:
        await self.send(calls.delete_type(type_))

    async def allocation(self, type_: int, from_: int = 0, count: int | None = None) -> Allocation:
        if count is None:
            count = (1 << 63) // (await self.layout()).page_size - from_
        return await self.send(calls.allocation(type_, from_, count))

    async def allocation_runs(self, type_: int, from_: int = 0, count: int | None = None) -> AsyncIterator[Run]:
        end = (1 << 63) // (await self.layout()).page_size if count is None else from_ + count
        while from_ < end:
            runs, from_ = await self.allocation(type_, from_, end - from_)
            for run in runs:
                yield run

    async def cell_map(self, type_: int, from_: int, count: int, cells: int) -> list[Cell]:
        return await self.send(calls.cell_map(type_, from_, count, cells))

    # The pool

    async def pool(self) -> dict[str, Any]:
        return await self.send(calls.get_object("/v1/pool"))

    async def parameters(self) -> dict[str, Any]:
        return await self.send(calls.get_object("/v1/parameters"))

    async def change_parameters(self, **changes: Any) -> dict[str, Any]:
        return await self.send(calls.change_parameters(changes))

    async def readiness(self) -> dict[str, Any]:
        return await self.send(calls.get_object("/readyz"))

    async def metrics(self) -> str:
        return await self.send(calls.metrics())
