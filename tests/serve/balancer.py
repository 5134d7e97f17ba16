"""A small HTTP balancer, as an operator would put before two replicas: health checks on /readyz, requests by turns.

A replica that refuses a connection, or ends one without an answer, is left out until its next good health check; that
one request gets a 502. Nothing is sent twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections import Counter
from types import TracebackType
from typing import Self

CHECK_SECONDS = 0.1
ANSWER_SECONDS = 10.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Balancer:
    """Listens on a loopback port of its own, in a thread with an event loop of its own."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.port = 0
        self.answered_by: Counter[int] = Counter()
        """Requests that each replica answered."""
        self._well: set[int] = set()
        self._turn = 0
        self._idle: dict[int, list[Streams]] = {port: [] for port in ports}
        self._writers: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True)

    async def _run(self) -> None:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        checks = [asyncio.create_task(self._check(port)) for port in self.ports]
        self._started.set()
        await self._over.wait()
        server.close()
        others = [*checks, *(asyncio.all_tasks() - {asyncio.current_task()})]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in list(self._writers):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _check(self, port: int) -> None:
        while True:
            answer = b""
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout(1):
                    reader, writer = await self._connect(port)
                    try:
                        writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                        answer = await reader.readline()
                    finally:
                        writer.close()
            if b" 200 " in answer:
                self._well.add(port)
            else:
                self._well.discard(port)
            await asyncio.sleep(CHECK_SECONDS)

    async def _connect(self, port: int) -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self._writers.add(writer)
        return reader, writer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                while (request := await _message(reader)) is not None:
                    writer.write(await self._answer(request))
                    await writer.drain()
        finally:
            writer.close()

    async def _answer(self, request: bytes) -> bytes:
        well = [port for port in self.ports if port in self._well]
        if well:
            self._turn += 1
            port = well[self._turn % len(well)]
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    response = await self._ask(port, request)
                self.answered_by[port] += 1
                return response
            self._well.discard(port)
        return b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"

    async def _ask(self, port: int, request: bytes) -> bytes:
        streams = self._idle[port].pop() if self._idle[port] else await self._connect(port)
        reader, writer = streams
        try:
            writer.write(request)
            response = await _message(reader) or _ended()
        except BaseException:
            writer.close()
            raise
        if b"\r\nconnection: close" in response.partition(b"\r\n\r\n")[0].lower():
            writer.close()
        else:
            self._idle[port].append(streams)
        return response

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        self._loop.close()


def _ended() -> bytes:
    raise EOFError


async def _message(reader: asyncio.StreamReader) -> bytes | None:
    """One request or response, its body told by Content-Length; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return head + await reader.readexactly(int(value))
    return head
