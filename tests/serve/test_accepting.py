"""Workers beside each other take connections in turn, and nobody waits for one that cannot."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
import uvloop

from app.serve.accepting import Acceptor, Connections
from app.telemetry import Telemetry, shared_bytes
from tests.harness.redis_server import until
from tests.serve.supervised import SECONDS, Supervised


class Kept(asyncio.Protocol):
    """A connection, for as long as it lasts."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections

    def connection_made(self, _transport: asyncio.BaseTransport) -> None:
        self.connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.connections.discard(self)


def served(directory: Path, workers: int, scene: Callable[[ExitStack, list[Connections]], Awaitable[None]]) -> None:
    """Run a scene with what so many workers hold, in memory that they share."""

    async def run(connections: list[Connections]) -> None:
        with ExitStack() as stack:
            await scene(stack, connections)

    with (directory / "cells").open("w+b") as cells, ExitStack() as stack:
        cells.truncate(shared_bytes(workers))
        telemetry = [Telemetry(cells.fileno(), index, workers) for index in range(workers)]
        for each in telemetry:
            stack.callback(each.close)
        uvloop.run(run(list(map(Connections, telemetry))))


@contextmanager
def accepted_by(listener: socket.socket, workers: list[Connections]) -> Iterator[None]:
    """Each with a copy of the listener, as an inherited one is."""
    with ExitStack() as stack:
        for each in workers:
            copy = stack.enter_context(listener.dup())
            stack.callback(Acceptor(copy, lambda each=each: Kept(each), each).close)
        yield


@pytest.fixture(params=["tcp", "unix"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that listens, and leaves what comes to whoever accepts."""
    is_unix = request.param == "unix"
    with socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET) as listener:
        listener.bind(str(tmp_path / "s") if is_unix else ("127.0.0.1", 0))
        listener.listen(100)
        yield listener


def clients(listener: socket.socket, count: int, stack: ExitStack) -> list[socket.socket]:
    """So many connections that wait to be accepted."""
    connected = [stack.enter_context(socket.socket(listener.family)) for _ in range(count)]
    for client in connected:
        client.connect(listener.getsockname())
    return connected


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  what is waited for is no event
            await asyncio.sleep(0.001)


def test_connections_that_come_together_are_dealt_out(listener, tmp_path):
    """Of 32 clients each of two workers gets half, give or take what one accepts while the other looks away."""

    async def scene(stack: ExitStack, workers: list[Connections]) -> None:
        one, other = workers
        clients(listener, 32, stack)
        with accepted_by(listener, [one, other]):
            await soon(lambda: len(one) + len(other) == 32)
        assert abs(len(one) - len(other)) <= 4

    served(tmp_path, 2, scene)


def test_connections_that_end_make_room(listener, tmp_path):
    """A worker whose clients went away takes those that come next."""

    async def scene(stack: ExitStack, workers: list[Connections]) -> None:
        one, other = workers
        with accepted_by(listener, [one]):
            gone = clients(listener, 8, stack)
            await soon(lambda: len(one) == 8)
        with accepted_by(listener, [one, other]):
            clients(listener, 7, stack)
            await soon(lambda: len(one) + len(other) == 15)
            assert len(other) >= 5
            for client in gone:
                client.close()
            await soon(lambda: len(one) + len(other) == 7)
            clients(listener, 7, stack)
            await soon(lambda: len(one) + len(other) == 14)
            assert abs(len(one) - len(other)) <= 4

    served(tmp_path, 2, scene)


def test_nobody_waits_for_a_worker_that_takes_none(listener, tmp_path):
    """Where the one that holds fewest accepts nothing (it is stopped, say), the other takes them all."""

    async def scene(stack: ExitStack, workers: list[Connections]) -> None:
        one, other = workers
        clients(listener, 40, stack)
        with accepted_by(listener, [one]):
            await soon(lambda: len(one) == 40)
        assert not other

    served(tmp_path, 2, scene)


def test_after_its_end_nothing_is_accepted(listener, tmp_path):
    """What comes later is left to others; what was accepted at the last moment is closed, for nobody would end it."""

    async def scene(stack: ExitStack, workers: list[Connections]) -> None:
        (one,) = workers
        loop = asyncio.get_running_loop()
        (client,) = clients(listener, 1, stack)
        acceptor = Acceptor(listener, lambda: Kept(one), one)
        loop.call_soon(acceptor.close)
        acceptor._accept()  # as when the client came in the very tick in which uvicorn ends
        await acceptor.wait_closed()
        await soon(lambda: not one)
        client.settimeout(SECONDS)
        assert client.recv(1) == b""
        clients(listener, 1, stack)
        await asyncio.sleep(0.05)
        assert not one
        listener.accept()[0].close()  # it still waits

    served(tmp_path, 1, scene)


def test_too_many_open_files_are_waited_out(listener, tmp_path, caplog, monkeypatch):
    """Where no connection can be had the worker says so, and tries again."""
    monkeypatch.setattr("app.serve.accepting.RETRY_SECONDS", 0.01)

    async def scene(stack: ExitStack, workers: list[Connections]) -> None:
        (one,) = workers
        clients(listener, 1, stack)
        with accepted_by(listener, [one]):
            with no_more_files():
                await soon(lambda: "cannot be accepted" in caplog.text)
                assert not one
            await soon(lambda: len(one) == 1)

    served(tmp_path, 1, scene)


@contextmanager
def no_more_files() -> Iterator[None]:
    """As many files are open as may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        with suppress(OSError):
            while True:
                taken.append(os.dup(2))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_stopped_worker_holds_up_no_new_client(tmp_path):
    """With one of two workers stopped, every client that comes is answered by the other."""
    with Supervised(tmp_path, workers="2") as service:
        service.wait_until_up()
        stopped = service.get()["pid"]
        os.kill(stopped, signal.SIGSTOP)
        try:
            with ExitStack() as stack:
                kept = [stack.enter_context(closing(service.connect())) for _ in range(8)]
                for client in kept:
                    client.request("GET", "/")
                assert all(str(stopped).encode() not in client.getresponse().read().split(b",")[0] for client in kept)
        finally:
            os.kill(stopped, signal.SIGCONT)
        until(lambda: service.get()["pid"] == stopped, SECONDS, "the worker that goes on answers, too")
