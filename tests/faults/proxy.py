"""A TCP proxy between the service and Redis that breaks what passes through it, on command."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import weakref
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

CHUNK_BYTES = 1 << 16


class Proxy:
    """Forwards connections from `port` to a port of this machine; everything it does to them can be changed any time.

    The calls are for the thread of a test; the proxy has a thread and an event loop of its own.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()
        self.delay_seconds = 0.0
        """How long every piece of data is held, both ways."""
        self.is_refusing = False
        """New connections are closed at once."""
        self.rewrite_reply: Callable[[bytes], bytes] | None = None
        """What becomes of a piece of replies; it may be shorter, or nothing."""
        self.connections = 0
        """How many have come."""
        self._reply_budget: int | None = None
        self._thread.start()
        self._on_loop(self._start())

    def _on_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> None:
        self._requests_go = asyncio.Event()
        self._replies_go = asyncio.Event()
        self._requests_go.set()
        self._replies_go.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """As a PAGEPOOL_REDIS_URL."""
        return f"redis://127.0.0.1:{self.port}"

    # Faults

    def pause(self, *, requests: bool = True, replies: bool = True) -> None:
        """Hold what comes; a client that closes meanwhile has its requests delivered all the same, at `resume`."""

        async def clear() -> None:
            if requests:
                self._requests_go.clear()
            if replies:
                self._replies_go.clear()

        self._on_loop(clear())

    def hold_some(self, chance: random.Random) -> None:
        """Hold what is sent on one connection in two, at least one if there is any; the others go on."""

        async def clear() -> None:
            links = sorted(self._links, key=lambda link: link.number)
            for link in chance.sample(links, (len(links) + 1) // 2):
                link.goes.clear()

        self._on_loop(clear())

    def resume(self) -> None:
        """Let go of what was held, and hold nothing more."""

        async def set_both() -> None:
            self._requests_go.set()
            self._replies_go.set()
            for link in self._links:
                link.goes.set()

        self._on_loop(set_both())

    def cut(self) -> None:
        """Reset every connection."""

        async def reset() -> None:
            for link in list(self._links):
                link.reset()

        self._on_loop(reset())

    def cut_after(self, reply_bytes: int) -> None:
        """Reset a connection as soon as so many bytes of replies have passed: in the middle of a reply."""
        self._reply_budget = reply_bytes

    # Forwarding

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        if self.is_refusing:
            writer.transport.abort()
            return
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(upstream[1])
        link = _Link((reader, writer), upstream, self.connections)
        self._links.add(link)
        for work in (self._forward_requests(link), self._forward_replies(link)):
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward_requests(self, link: _Link) -> None:
        with contextlib.suppress(OSError):
            while data := await link.client[0].read(CHUNK_BYTES):
                await self._hold(self._requests_go)
                await link.goes.wait()
                link.upstream[1].write(data)
                await link.upstream[1].drain()
        await self._requests_go.wait()
        await link.goes.wait()
        link.upstream[1].close()

    async def _forward_replies(self, link: _Link) -> None:
        with contextlib.suppress(OSError):
            while data := await link.upstream[0].read(CHUNK_BYTES):
                await self._hold(self._replies_go)
                if self.rewrite_reply is not None:
                    data = self.rewrite_reply(data)
                if self._reply_budget is not None:
                    data, self._reply_budget = data[: self._reply_budget], self._reply_budget - len(data)
                link.client[1].write(data)
                if self._reply_budget is not None and self._reply_budget <= 0:
                    self._reply_budget = None
                    await link.client[1].drain()
                    break
                with contextlib.suppress(OSError):  # the client has gone; the rest is read and lost
                    await link.client[1].drain()
        link.reset()
        self._links.discard(link)

    async def _hold(self, goes: asyncio.Event) -> None:
        await goes.wait()
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)

    # Life

    def close(self) -> None:
        """End it and every connection."""
        self.resume()
        self.cut()

        async def stop() -> None:
            self._server.close()
            await asyncio.sleep(0)  # who was accepted just now is a task by then
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for writer in list(self._writers):
                writer.transport.abort()
            await asyncio.sleep(0)

        self._on_loop(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Link:
    """One connection, both halves."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        number: int,
    ) -> None:
        self.client = client
        self.upstream = upstream
        self.number = number
        self.goes = asyncio.Event()
        self.goes.set()

    def reset(self) -> None:
        self.client[1].transport.abort()
        self.upstream[1].transport.abort()


def drop_one_reply(proxy: Proxy) -> None:
    """Swallow the next whole reply that passes, so that all later ones of its connection come one too early."""

    def drop(data: bytes) -> bytes:
        end = end_of_reply(data)
        if end is None:
            return data
        proxy.rewrite_reply = None
        return data[end:]

    proxy.rewrite_reply = drop


def end_of_reply(data: bytes, start: int = 0) -> int | None:
    """Where the first reply in `data` ends; None if it is not whole."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return None
    mark, count = data[start : start + 1], data[start + 1 : line]
    end = line + 2
    if mark == b"$":
        length = int(count)
        end += length + 2 if length >= 0 else 0
        return end if end <= len(data) else None
    if mark == b"*":
        for _ in range(max(int(count), 0)):
            inner = end_of_reply(data, end)
            if inner is None:
                return None
            end = inner
    return end
