"""Rounds: what comes to many connections at once is served together, and each answer reaches who asked."""

from __future__ import annotations

import asyncio

from tests.harness.raw_http import request
from tests.serve.open_door import PAGE, SECONDS, Client, OpenDoor, opened, run

CLIENTS = 150
"""More than a round takes."""


def page_of(number: int) -> bytes:
    return number.to_bytes(8, "little") * 512


async def clients_of(door: OpenDoor, count: int) -> list[Client]:
    """Connections whose header fields the door has read before, so that what they ask goes the short way."""
    clients = [await door.client() for _ in range(count)]
    await clients[0].ask("PUT", "/v1/pages/9/0", PAGE)
    await clients[0].ask("GET", "/v1/pages/9/0")
    return clients


def test_each_has_its_own_answer() -> None:
    """Stores and loads of many connections, in one tick, again and again."""

    async def story() -> None:
        async with opened() as door:
            clients = await clients_of(door, CLIENTS)
            for turn in range(3):
                for number, client in enumerate(clients):
                    client.writer.write(request("PUT", f"/v1/pages/1/{number}", page_of(number + turn)))
                for client in clients:
                    assert (await client.answer("PUT"))[0] == 204
                for number, client in enumerate(clients):
                    client.writer.write(request("GET", f"/v1/pages/1/{number}"))
                for number, client in enumerate(clients):
                    assert (await client.answer())[2] == page_of(number + turn)
            assert door.pool.short_way.requests >= CLIENTS * 6, "they went the short way"

    run(story)


def test_no_more_than_may_be_in_flight() -> None:
    """Of a round only so many are taken as there is room for; the others are refused, and all is counted."""

    async def story() -> None:
        async with opened(max_requests_in_flight=5) as door:
            clients = await clients_of(door, 20)
            door.pool.is_held = True
            for client in clients:
                client.writer.write(request("GET", "/v1/pages/9/0"))
            await door.until(lambda: len(door.pool.waiting) == 5, "five are under way")
            assert door.counted == ("InFlight(5 requests, 20480 bytes)", 5)
            door.pool.let_go()
            statuses = [(await client.answer())[0] for client in clients]
            assert (statuses.count(200), statuses.count(503)) == (5, 15)
            assert door.holds_nothing

    run(story)


def test_who_left_before_the_round() -> None:
    """A client that is gone before its request is looked at, or answered, leaves nothing behind."""

    async def story() -> None:
        async with opened() as door:
            clients = await clients_of(door, 40)
            door.pool.is_held = True
            for client in clients[1:]:
                client.writer.write(request("PUT", "/v1/pages/1/1", PAGE))
            for client in clients[1:20]:
                await asyncio.sleep(0)
                client.vanish()
            await door.until(lambda: len(door.pool.waiting) >= 20, "the others are under way")
            door.pool.let_go()
            for client in clients[20:]:
                assert (await client.answer("PUT"))[0] == 204
            assert (await clients[0].ask("GET", "/v1/pages/1/1"))[2] == PAGE

    run(story)


def test_one_that_fails_is_alone() -> None:
    """Of a round, what is absent, what is damaged and what is there are each answered as they are."""

    async def story() -> None:
        async with opened() as door:
            clients = await clients_of(door, 30)
            door.pool.damaged.add((9, 1))
            for number, client in enumerate(clients):
                client.writer.write(request("GET", f"/v1/pages/9/{number % 3}"))
            for number, client in enumerate(clients):
                assert (await client.answer())[0] == (200, 500, 404)[number % 3]

    run(story)


def test_a_defect_while_a_round_is_read() -> None:
    """What nobody foresaw ends the connections of its round, which would wait for ever; the others go on."""

    async def story() -> None:
        async with opened() as door:
            clients = await clients_of(door, 4)
            load, door.pool.short_way.load = door.pool.short_way.load, None  # type: ignore[method-assign,assignment]
            clients[0].writer.write(request("GET", "/v1/pages/9/0"))
            assert await clients[0].rest() == b""
            door.pool.short_way.load = load  # type: ignore[method-assign]
            assert (await clients[1].ask("GET", "/v1/pages/9/0"))[2] == PAGE

    run(story)


def test_a_body_behind_its_head() -> None:
    """Bodies that come in a segment of their own join a round as well, beside those that come whole."""

    async def story() -> None:
        async with opened() as door:
            clients = await clients_of(door, 30)
            stores = [request("PUT", f"/v1/pages/3/{number}", page_of(number)) for number in range(30)]
            for client, store in zip(clients[:15], stores[:15], strict=True):
                await client.send(store[:-4096])
            await asyncio.sleep(0.02)
            before = door.pool.short_way.requests
            for client, store in zip(clients, stores[:15], strict=False):
                client.writer.write(store[-4096:])
            for client, store in zip(clients[15:], stores[15:], strict=True):
                client.writer.write(store)
            for client in clients:
                assert (await client.answer("PUT"))[0] == 204
            assert door.pool.short_way.requests == before + 30
            for number, client in enumerate(clients):
                assert (await client.ask("GET", f"/v1/pages/3/{number}"))[2] == page_of(number)

    run(story)


def test_a_client_that_does_not_take_its_pages() -> None:
    """Its last answer counts as in flight until it is cut off, in the time for progress and not that of an idle one."""

    async def story() -> None:
        async with opened(progress_timeout=0.5, keep_alive_timeout=600) as door:
            await clients_of(door, 1)
            client = await door.client(receive_buffer=4096)
            client.writer.transport.pause_reading()
            before = door.pool.short_way.requests
            most = ""
            async with asyncio.timeout(SECONDS):
                while len(door.state.connections) > 1:
                    client.writer.write(request("GET", "/v1/pages/9/0"))
                    await asyncio.sleep(0)
                    most = max(most, door.counted[0])
            assert door.pool.short_way.requests > before + 10
            assert most == "InFlight(1 requests, 4096 bytes)"

    run(story)
