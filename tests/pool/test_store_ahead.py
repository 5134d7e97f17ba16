"""A large store whose first chunks are on their way before the last are encoded, and what may come in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from app.errors import StoresDisabled
from app.page.codec import ABSENT, EncodedPages, Encoder
from app.pool.pool import Pool
from app.settings import Settings
from app.store.keys import CHUNK_PAGES
from app.wiring import ProcessContext
from tests.harness import pages
from tests.harness.redis_server import RedisServer

COUNT = 512
BODY = b"".join(pages.mixed(COUNT))
AT_PAGE = 3 * CHUNK_PAGES
TYPE = 1


@asynccontextmanager
async def opened() -> AsyncIterator[Pool]:
    """A pool in a Redis of its own."""
    with RedisServer() as redis:
        async with ProcessContext.open(Settings(_env_file=None, redis_url=redis.url)) as context:
            yield context.pool


@pytest.fixture
def at_page(monkeypatch) -> Callable[[Callable[[], object]], None]:
    """Does something when the encoder has come to AT_PAGE."""

    def set_to(act: Callable[[], object]) -> None:
        encode = Encoder.encode_extent

        def encode_and_act(self: Encoder, body: bytes, type_: int, offset: int, *part: int) -> EncodedPages:
            if offset == AT_PAGE:
                act()
            return encode(self, body, type_, offset, *part)

        monkeypatch.setattr(Encoder, "encode_extent", encode_and_act)

    return set_to


async def held(pool: Pool) -> int:
    extent = await pool.load_extent(TYPE, 0, COUNT, is_counted=False)
    return COUNT - extent.states.count(ABSENT)


def in_flight(pool: Pool) -> tuple[int, int]:
    return pool._state.pool.bytes_in_flight, pool._state._pages_in_flight


def enable(pool: Pool, *, is_enabled: bool) -> None:
    values = pool.parameters.model_dump(mode="json") | {"enabled": is_enabled}
    pool._state.take_over(pool._state.version, values)


def test_it_is_sent_ahead(at_page) -> None:
    """The first chunks have left when the fourth is encoded, and in the end every page is there."""
    seen: list[int] = []

    async def store() -> None:
        async with opened() as pool:
            # What Redis has answered already counts as on its way until the store ends.
            at_page(lambda: seen.append(in_flight(pool)[1]))
            await pool.store(TYPE, 0, BODY)
            extent = await pool.load_extent(TYPE, 0, COUNT, is_counted=False)
            assert b"".join(extent.pages) == BODY
            assert in_flight(pool) == (0, 0)

    asyncio.run(store())
    assert seen == [AT_PAGE]


def test_stores_are_disabled_meanwhile(at_page) -> None:
    """It is refused as a whole, and no page of it is left: not those that were on their way either."""

    async def store() -> None:
        async with opened() as pool:
            at_page(lambda: enable(pool, is_enabled=False))
            with pytest.raises(StoresDisabled):
                await pool.store(TYPE, 0, BODY)
            assert await held(pool) == 0
            assert in_flight(pool) == (0, 0)

    asyncio.run(store())


def test_stores_are_disabled_while_it_waits_for_its_turn() -> None:
    """A PATCH that was answered before the first page was encoded counts."""

    async def store() -> None:
        async with opened() as pool:
            async with pool._slices._turn:
                storing = asyncio.create_task(pool.store(TYPE, 0, BODY))
                await asyncio.sleep(0.01)
                enable(pool, is_enabled=False)
            with pytest.raises(StoresDisabled):
                await storing
            assert await held(pool) == 0

    asyncio.run(store())


def test_the_encoder_fails(at_page) -> None:
    """The error is told as it is, what was sent has ended by then, and nothing counts as on its way."""

    def fail() -> None:
        raise MemoryError

    async def store() -> None:
        async with opened() as pool:
            at_page(fail)
            with pytest.raises(MemoryError):
                await pool.store(TYPE, 0, BODY)
            assert in_flight(pool) == (0, 0)
            assert await held(pool) == AT_PAGE

    asyncio.run(store())


def test_it_is_cancelled(at_page) -> None:
    """So it is when whoever waits for it is cancelled."""

    async def store() -> None:
        async with opened() as pool:
            storing = asyncio.create_task(pool.store(TYPE, 0, BODY))
            at_page(storing.cancel)
            with pytest.raises(asyncio.CancelledError):
                await storing
            assert in_flight(pool) == (0, 0)

    asyncio.run(store())
