"""The protocol door on a listening socket, in this process: a pool that can be held up, a small application behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from app.api.authorization import Authorization
from app.api.limits import InFlight
from app.errors import PageCorrupt, PageMissing
from app.page.classify import Kind
from app.page.codec import DecodedExtent, EncodedPage, EncodedPages, digest_of
from app.pool.base import Page
from app.pool.short_way import Answer, Found
from app.serve.door_context import DoorContext
from app.serve.page_door import PageDoor
from app.serve.passing_on import NO_KEEP_ALIVE_LIMIT_SECONDS
from app.settings import Settings
from app.store.single_pages import Ask
from app.telemetry import Telemetry
from app.telemetry_cells import CONNECTIONS, REQUESTS_IN_FLIGHT
from app.wiring import ProcessContext
from tests.harness.raw_http import request

SECONDS = 10.0
"""What a machine under load may take; nothing waits that long when all is well."""
PAGE = bytes(range(256)) * 16


class HeldPool:
    """Pages in a dictionary; while `is_held`, each call waits until `let_go`."""

    page_size = 4096
    max_extent_pages = 512

    def __init__(self) -> None:
        self.pages: dict[tuple[int, int], bytes] = {}
        self.is_held = False
        self.waiting: list[asyncio.Future[None]] = []
        self.defect: BaseException | None = None
        self.damaged: set[tuple[int, int]] = set()
        self.short_way = HeldWay(self)

    async def come_through(self) -> None:
        if self.is_held:
            future = asyncio.get_running_loop().create_future()
            self.waiting.append(future)
            await future
        if self.defect is not None:
            raise self.defect

    def let_go(self) -> None:
        """Let the calls that wait, and all that come, run on."""
        self.is_held = False
        for future in self.waiting:
            future.set_result(None)
        self.waiting.clear()

    async def load(self, type_: int, offset: int, *, is_counted: bool) -> Page:  # noqa: ARG002 - the pool's signature
        await self.come_through()
        data = self.pages.get((type_, offset))
        if data is None:
            raise PageMissing("The page is absent.", missing=[[offset, 1]])
        return Page(data, digest_of(data), Kind.RAW, len(data))

    async def load_extent(self, *of_extent: int, is_counted: bool) -> DecodedExtent:  # noqa: ARG002 - as above
        await self.come_through()
        count = of_extent[-1]
        return DecodedExtent(bytearray([Kind.RAW] * count), [PAGE] * count)

    async def store_page(self, type_: int, offset: int, page: bytes) -> EncodedPage:
        await self.come_through()
        self.pages[type_, offset] = page
        return EncodedPage(Kind.RAW, digest_of(page), page)

    async def store(self, type_: int, offset: int, body: bytes) -> EncodedPages:
        await self.come_through()
        pages = [body[at : at + 4096] for at in range(0, len(body), 4096)]
        self.pages.update(((type_, place), page) for place, page in enumerate(pages, offset))
        return EncodedPages(range(offset, offset + len(pages)), bytearray([Kind.RAW] * len(pages)), [bytes(10)])


class HeldWay:
    """The short way to the same pages, held up with them."""

    def __init__(self, pool: HeldPool) -> None:
        self._pool = pool
        self.requests = 0
        """How many have been asked of it."""
        self.expiring: set[int] = set()
        self._replies: set[asyncio.Task[None]] = set()

    def _answer(self, answer: Answer, ask: Ask, act: Callable[[], Found]) -> None:
        async def reply() -> None:
            try:
                await self._pool.come_through()
                found = act()
            except Exception as error:  # noqa: BLE001  the door is to tell what it thinks of it
                found = error
            answer([ask], [found])

        task = asyncio.get_running_loop().create_task(reply())
        self._replies.add(task)
        task.add_done_callback(self._replies.discard)

    def load(self, asked: Sequence[Ask], answer: Answer, _now: float) -> None:
        self.requests += len(asked)
        for ask in asked:
            self._answer(answer, ask, partial(self._load, ask))

    def _load(self, ask: Ask) -> Found:
        if ask[:2] in self._pool.damaged:
            raise PageCorrupt("The page is damaged.")
        page = self._pool.pages.get(ask[:2])
        return None if page is None else (page, digest_of(page), Kind.RAW)

    def store(self, asked: Sequence[Ask], answer: Answer, _now: float) -> None:
        self.requests += len(asked)
        for ask in asked:
            self._answer(answer, ask, partial(self._store, ask))

    def _store(self, ask: Ask) -> Found:
        type_, offset, page, _ = ask
        self._pool.pages[type_, offset] = page
        return b"", digest_of(page), Kind.RAW


class BehindTheDoor:
    """The ASGI application: pages as the door answers them, else what the path's first word says."""

    def __init__(self, pool: HeldPool) -> None:
        self.pool = pool
        self.seen: list[str] = []
        self.bodies: list[bytes] = []
        self.under_way = 0
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        self.seen.append(scope["path"])
        self.under_way += 1
        try:
            word, *place = scope["path"].split("/")[1:]
            if word == "v1":
                await self._page(scope["method"], int(place[1]), int(place[2]), receive, send)
            else:
                await self._answer(word, receive, send)
        finally:
            self.under_way -= 1

    async def _page(self, method: str, type_: int, offset: int, receive: Any, send: Any) -> None:
        status, data = 200, b""
        if method == "PUT":
            message = await receive()
            data = message["body"]
            while message.get("more_body"):
                message = await receive()
                data += message["body"]
            await self.pool.store(type_, offset, data)
            status, data = 204, b""
        else:
            try:
                data = (await self.pool.load(type_, offset, is_counted=True)).data
            except PageMissing:
                status = 404
        headers = [(b"content-length", b"%d" % len(data))] if status != 204 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    async def _answer(self, word: str, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
        if word == "hold":
            await self.go_on.wait()
        if word == "echo":
            body = b""
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message["body"]
                if not message["more_body"]:
                    break
            self.bodies.append(body)
        length = 64 << 20 if word == "flood" else 2
        headers = [(b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(length >> 16):
            await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
        await send({"type": "http.response.body", "body": b"" if length > 2 else b"ok"})


class Client:
    """One connection to the door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        async with asyncio.timeout(SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            status = int(status_line.split()[1])
            length = 0 if method == "HEAD" or status in {100, 204, 304} else int(headers["content-length"])
            return status, headers, await self.reader.readexactly(length)

    async def ask(self, *of_request: Any) -> tuple[int, dict[str, str], bytes]:
        """Send a plain request; its answer."""
        await self.send(request(*of_request))
        return await self.answer(of_request[0])

    async def rest(self) -> bytes:
        """All that comes until the door closes."""
        async with asyncio.timeout(SECONDS):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def is_quiet(self, seconds: float = 0.05) -> bool:
        """Whether nothing comes for a moment."""
        try:
            async with asyncio.timeout(seconds):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False

    def vanish(self) -> None:
        """Be gone, without a word."""
        self.writer.transport.abort()


class OpenDoor:
    """A listening door and what is behind it."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(_env_file=None, **settings)
        self.telemetry = Telemetry()
        self.pool = HeldPool()
        self.in_flight = InFlight(self.settings, self.telemetry)
        self.behind = BehindTheDoor(self.pool)
        self.state = ServerState()
        self.doors: list[PageDoor] = []
        process = ProcessContext(self.settings, self.telemetry, self.pool, self.in_flight)  # type: ignore[arg-type]
        self._app_state = {"door": DoorContext(process, Authorization(self.settings, []))}
        self._config = uvicorn.Config(
            self.behind, log_config=None, access_log=False, timeout_keep_alive=NO_KEEP_ALIVE_LIMIT_SECONDS, ws="none"
        )
        self._config.load()
        self._clients: list[Client] = []

    async def listen(self) -> None:
        def door() -> PageDoor:
            self.doors.append(PageDoor(self._config, self.state, self._app_state))
            return self.doors[-1]

        self._server = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def client(self, receive_buffer: int | None = None) -> Client:
        """A new connection; a small `receive_buffer` makes a client that cannot take much at once."""
        import socket  # noqa: PLC0415

        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        # The reader stops reading from the socket when its own small buffer is full.
        client = Client(*await asyncio.open_connection(sock=sock, limit=1 << 16))
        self._clients.append(client)
        return client

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)
        assert condition(), what

    @property
    def counted(self) -> tuple[str, float]:
        """What is counted as in flight."""
        return repr(self.in_flight), self.telemetry.cells[REQUESTS_IN_FLIGHT]

    @property
    def holds_nothing(self) -> bool:
        """Whether nothing is counted as in flight."""
        return self.counted == ("InFlight(0 requests, 0 bytes)", 0)

    async def close(self) -> None:
        """Close all; nothing may be counted as in flight, or as connected, any more."""
        self.pool.let_go()
        self.behind.go_on.set()
        for client in self._clients:
            client.vanish()
        self._server.close()
        await self.until(lambda: not self.state.connections, "every connection is gone")
        await self.until(lambda: self.holds_nothing, "nothing is in flight")
        await self.until(lambda: not self.behind.under_way, "no application is left")
        assert self.telemetry.cells[CONNECTIONS] == 0
        await asyncio.sleep(0)


@asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[OpenDoor]:
    """An open door; when the block ends, nothing may be left of its requests."""
    door = OpenDoor(**settings)
    await door.listen()
    try:
        yield door
    finally:
        await door.close()


def run(story: Callable[[], Any]) -> None:
    """Run a test's coroutine on uvloop, as the service does."""
    failures: list[dict[str, Any]] = []

    async def told() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        await story()

    uvloop.run(told())
    assert not failures, failures
