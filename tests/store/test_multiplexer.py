"""The shared connection: replies reach their commands, whatever is cancelled, late, cut or paused."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from app.errors import BackendUnavailable, Overloaded
from app.store.endpoint import Endpoint
from app.store.multiplexer import Multiplexer, pack_command
from tests.faults.proxy import Proxy, drop_one_reply
from tests.harness.redis_server import RedisServer

TIMEOUT_SECONDS = 0.5
SLACK_SECONDS = 1.0
"""The contract's second on top of the timeout."""
WRITE = b"""
local now = redis.call('TIME')
if now[1] * 1000000 + now[2] > tonumber(ARGV[2]) then return 'late' end
redis.call('SET', KEYS[1], ARGV[1])
return 'done'
"""


@asynccontextmanager
async def connected(port: int, *, max_unwritten_bytes: int = 1 << 24) -> AsyncIterator[Multiplexer]:
    """A multiplexer on a port of this machine, connected."""
    multiplexer = Multiplexer(
        Endpoint(port=port),
        name="test",
        timeout_seconds=TIMEOUT_SECONDS,
        max_unwritten_bytes=max_unwritten_bytes,
        scripts=[],
    )
    await multiplexer.start()
    try:
        await until(lambda: multiplexer.is_connected)
        yield multiplexer
    finally:
        await multiplexer.close()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Poll until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  conditions of all kinds
            await asyncio.sleep(0.005)


def echo(number: int) -> bytes:
    return pack_command((b"ECHO", number))


def write(multiplexer: Multiplexer, key: str, value: str) -> asyncio.Future[bytes]:
    """A write that does nothing past its deadline."""
    deadline = multiplexer.deadline(time.monotonic())
    return multiplexer.send_write(pack_command((b"EVAL", WRITE, 1, key, value, repr(deadline))))


async def outcome(future: Awaitable[object]) -> object:
    """What a future gives, an error as a value."""
    try:
        return await future
    except (BackendUnavailable, Overloaded) as error:
        return error


@pytest.fixture
def proxy(server: RedisServer) -> Proxy:
    """A proxy before the Redis of each version."""
    with server.client() as client:
        client.flushall()
    with Proxy(server.port) as running:
        yield running


def run(test: Awaitable[None]) -> None:
    """Run a test's coroutine; nothing may be left unawaited or unhandled."""
    unhandled: list[dict[str, object]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
        await test

    asyncio.run(watched())
    assert not unhandled


def test_every_reply_answers_its_command(server: RedisServer) -> None:
    """Thousands of commands in flight, a third of them given up by whoever asked: each gets its own reply or none."""

    async def test() -> None:
        chance = random.Random(1)
        async with connected(server.port) as multiplexer:
            for start in range(0, 6000, 500):
                futures = {number: multiplexer.send(echo(number)) for number in range(start, start + 500)}
                for number, future in futures.items():
                    if chance.random() < 0.33:
                        future.cancel()
                    elif number % 50 == 0:
                        await asyncio.sleep(0)
                for number, future in futures.items():
                    if not future.cancelled():
                        assert await future == b"%d" % number

    run(test())


def test_a_late_reply_reaches_nobody_else(proxy: Proxy) -> None:
    """Commands that got no reply in time fail, and what comes for them later is given to no other command."""

    async def test() -> None:
        async with connected(proxy.port) as multiplexer:
            for attempt in range(3):
                proxy.pause(requests=False)
                futures = [multiplexer.send(echo(attempt * 100 + number)) for number in range(20)]
                started = time.monotonic()
                for future in futures:
                    assert isinstance(await outcome(future), BackendUnavailable)
                assert time.monotonic() - started < TIMEOUT_SECONDS + SLACK_SECONDS
                proxy.resume()
                await until(lambda: multiplexer.is_connected)
                assert [await multiplexer.send(echo(number)) for number in range(900, 920)] == [
                    b"%d" % number for number in range(900, 920)
                ]

    run(test())


@pytest.mark.parametrize("reply_bytes", [1, 7, 100, 5000])
def test_a_connection_cut_in_a_reply(proxy: Proxy, reply_bytes: int) -> None:
    """A connection cut in the middle of a reply: each command has its own reply or fails, and work goes on."""

    async def test() -> None:
        async with connected(proxy.port) as multiplexer:
            proxy.cut_after(reply_bytes)
            futures = [multiplexer.send(echo(1000 + number)) for number in range(2000)]
            found = [await outcome(future) for future in futures]
            for number, reply in enumerate(found):
                assert isinstance(reply, BackendUnavailable) or reply == b"%d" % (1000 + number)
            assert any(isinstance(reply, BackendUnavailable) for reply in found)
            await until(lambda: multiplexer.is_connected)
            assert await multiplexer.send(echo(5)) == b"5"

    run(test())


def test_replies_out_of_step_are_noticed(proxy: Proxy) -> None:
    """A Redis that leaves out a reply: the connection is given up by itself, and made anew."""

    async def test() -> None:
        async with connected(proxy.port) as multiplexer:
            drop_one_reply(proxy)
            pending: list[asyncio.Future[bytes]] = []
            async with asyncio.timeout(10):
                # There is always a next reply, so no command is ever without one for long.
                while multiplexer.is_connected:
                    pending.append(multiplexer.send(echo(len(pending))))
                    await asyncio.sleep(0.01)
            await until(lambda: multiplexer.is_connected)
            for future in pending:
                await outcome(future)
            assert await multiplexer.send(echo(7)) == b"7"

    run(test())


def test_a_failed_write_is_reported_when_it_can_do_no_harm(proxy: Proxy, server: RedisServer) -> None:
    """With Redis out of reach a cut-off write fails only past its deadline, and delivered later it does nothing."""

    async def test() -> None:
        async with connected(proxy.port) as multiplexer:
            proxy.pause()
            future = write(multiplexer, "page", "stale")
            sent = time.monotonic()
            await asyncio.sleep(0.05)
            multiplexer.reconnect()
            assert isinstance(await outcome(future), BackendUnavailable)
            waited = time.monotonic() - sent
            assert TIMEOUT_SECONDS * 0.99 <= waited < TIMEOUT_SECONDS + SLACK_SECONDS
            with server.client() as client:
                client.set("page", "newer")
                proxy.resume()
                await until(lambda: multiplexer.is_connected)
                await asyncio.sleep(0.1)
                assert client.get("page") == b"newer"

    run(test())


def test_a_new_connection_kills_its_predecessor(proxy: Proxy, server: RedisServer) -> None:
    """Once Redis has killed the old connection a cut-off write fails at once: it can do no harm any more."""

    async def test() -> None:
        async with connected(proxy.port) as multiplexer:
            with server.client() as client:
                [old] = [each["id"] for each in client.client_list() if each["name"].startswith("pagepool-")]
                proxy.pause(requests=False)  # the write is done, its reply is held
                future = write(multiplexer, "page", "kept")
                await until(lambda: client.get("page") == b"kept")
                sent = time.monotonic()
                multiplexer.reconnect()
                proxy.resume()
                assert isinstance(await outcome(future), BackendUnavailable)
                assert time.monotonic() - sent < TIMEOUT_SECONDS
                await until(lambda: multiplexer.is_connected)
                assert old not in {each["id"] for each in client.client_list()}

    run(test())


def test_stores_during_a_stop_of_redis(start_server: Callable[..., RedisServer]) -> None:
    """Redis stopped, a write left in its socket, another client's write acknowledged after: the late one never wins."""

    async def test(server: RedisServer) -> None:
        async with connected(server.port) as first, connected(server.port) as second:
            for attempt in range(3):
                server.pause()
                late = write(first, f"page {attempt}", "late")
                failed = await outcome(late)
                assert isinstance(failed, BackendUnavailable)
                server.resume()
                await until(lambda: second.is_connected and first.is_connected)
                assert await write(second, f"page {attempt}", "newer") == b"done"
                await first.send(echo(1))
                with server.client() as client:
                    assert client.get(f"page {attempt}") == b"newer"

    run(test(start_server()))


def test_it_connects_again(start_server: Callable[..., RedisServer]) -> None:
    """Killed by an administrator, or Redis killed and started: commands go again without anybody's doing."""

    async def test(server: RedisServer) -> None:
        async with connected(server.port) as multiplexer:
            with server.client() as client:
                client.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: not multiplexer.is_connected)
            await until(lambda: multiplexer.is_connected)
            assert await multiplexer.send(echo(1)) == b"1"
            server.kill()
            await until(lambda: not multiplexer.is_connected)
            with pytest.raises(BackendUnavailable):
                multiplexer.send(echo(2))
            await asyncio.to_thread(server.start)
            await until(lambda: multiplexer.is_connected)
            assert await multiplexer.send(echo(3)) == b"3"

    run(test(start_server()))


def test_a_redis_with_clients_enough(start_server: Callable[..., RedisServer]) -> None:
    """A Redis that takes no more clients says so in the error, and is connected to once it takes some."""

    async def test(server: RedisServer) -> None:
        async with connected(server.port) as multiplexer:
            with server.client() as client:
                client.config_set("maxclients", 1)
                client.client_kill_filter(_type="normal", skipme=True)
                await until(lambda: "max number of clients" in multiplexer.last_error)
                with pytest.raises(BackendUnavailable, match="max number of clients"):
                    multiplexer.send(echo(1))
                client.config_set("maxclients", 1000)
            await until(lambda: multiplexer.is_connected)

    run(test(start_server()))


def test_back_pressure(proxy: Proxy) -> None:
    """A Redis that does not read is sent so many bytes and no more: Overloaded, at once."""

    async def test() -> None:
        bound = 1 << 20
        async with connected(proxy.port, max_unwritten_bytes=bound) as multiplexer:
            proxy.pause()
            command = pack_command((b"ECHO", bytes(1 << 18)))
            sent: list[asyncio.Future[bytes]] = []
            refusal: Overloaded | None = None
            while refusal is None and len(sent) < 200:
                try:
                    sent.append(multiplexer.send(command))
                except Overloaded as error:
                    refusal = error
                await asyncio.sleep(0)
            assert refusal is not None
            proxy.resume()
            for future in sent:
                assert await outcome(future) == bytes(1 << 18) or isinstance(await outcome(future), BackendUnavailable)
            await until(lambda: multiplexer.is_connected)
            assert await multiplexer.send(echo(1)) == b"1"

    run(test())


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_step_of_the_clock(proxy: Proxy, server: RedisServer, step: int) -> None:
    """After Redis's clock was set, writes are done again within seconds, and late ones are late again."""

    def stepped(data: bytes) -> bytes:
        parts = data.split(b"\r\n")
        for place, part in enumerate(parts):
            if part.isdigit() and len(part) == 10:
                parts[place] = b"%d" % (int(part) + step)
        return b"\r\n".join(parts)

    async def test() -> None:
        proxy.rewrite_reply = stepped  # Redis's clock as it was before
        async with connected(proxy.port) as multiplexer:
            if step < 0:
                assert await write(multiplexer, "page", "any") == b"late"
            proxy.rewrite_reply = None
            right = time.time() - time.monotonic() + TIMEOUT_SECONDS
            await until(lambda: abs(multiplexer.deadline(0.0) / 1e6 - right) < 1)
            assert await write(multiplexer, "page", "new") == b"done"
            with server.client() as client:
                assert client.get("page") == b"new"

    run(test())


def test_closing_fails_what_waits(proxy: Proxy) -> None:
    """What still waits when the process ends fails; nothing hangs."""

    async def test() -> None:
        async with connected(proxy.port) as multiplexer:
            proxy.pause()
            read, change = multiplexer.send(echo(1)), write(multiplexer, "page", "x")
            await asyncio.sleep(0)
        for future in (read, change):
            async with asyncio.timeout(1):
                assert isinstance(await outcome(future), BackendUnavailable)

    run(test())
