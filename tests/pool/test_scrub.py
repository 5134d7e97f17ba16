"""The scrub finds every page that a load would call corrupt, and no other; at the rate that it is given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
import redis

from app.pool.scrub import ScrubReport, scrub
from app.serve.startup_refused import StartupRefused
from app.settings import Settings
from app.wiring import open_store
from tests.faults.recount import recount
from tests.harness import pages
from tests.harness.area import Area
from tests.harness.redis_server import RedisServer
from tests.harness.service import Service

OWN_SERVICE = True


@pytest.fixture(scope="module")
def backend() -> Iterator[RedisServer]:
    """The Redis of this module's service."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def service(backend: RedisServer) -> Iterator[Service]:
    """A service on it."""
    with Service(redis_url=backend.url, max_pool_bytes="0") as running:
        yield running


@pytest.fixture
def area(service: Service) -> Iterator[Area]:
    """A type of its own."""
    area = Area(service, 77)
    yield area
    area.drop()


async def scrub_pool(settings: Settings, rate: float) -> ScrubReport:
    """As `pagepool scrub` does it."""
    async with open_store(settings) as store:
        return await scrub(store, rate)


def scrubbed(backend: RedisServer, rate: float = 1e9) -> ScrubReport:
    """What a scrub of the pool finds."""
    return asyncio.run(scrub_pool(Settings(_env_file=None, redis_url=backend.url), rate))


def chunk_key(client: redis.Redis, area: Area, chunk: int) -> bytes:
    """The key of a chunk of the area."""
    [key] = client.scan_iter(match=f"pagepool:p:*:{area.type}:{chunk}", count=1000)
    return key


def test_a_sound_pool(area: Area, backend: RedisServer) -> None:
    """Every page of every kind is counted, in whatever type, run and chunk it lies; none is called corrupt."""
    area.store(60, *pages.mixed(10))
    area.store(64 * 64 * 1000, *pages.mixed(3, seed=1))
    area.store((1 << 63) // 4096 - 1, pages.incompressible(1))
    other = Area(area.service, 2**31 - 1)
    other.store(0, pages.zero())
    report = scrubbed(backend)
    told = area.service.pool()
    assert report.corrupt == []
    assert (report.pages, report.zero_pages, report.bytes) == (
        told["stored_pages"],
        told["zero_pages"],
        told["pool_bytes"],
    )
    assert report.chunks == 5
    other.drop()


def test_corrupt_pages(area: Area, backend: RedisServer) -> None:
    """Flipped bits, a blob of another address, one that is gone, an unreadable map: each with its reason, and kept."""
    raw = [pages.incompressible(n) for n in range(8)]
    for offset in (0, 64, 128, 192):
        area.store(offset, *raw)
    with backend.client() as client:
        first, gone, broken = (chunk_key(client, area, chunk) for chunk in (0, 1, 2))
        blob = bytearray(client.hget(first, "3"))
        sound_blobs = client.hgetall(first)
        blob[100] ^= 1
        client.hset(first, "3", bytes(blob))
        client.hset(first, "5", client.hget(first, "6"))
        lost = client.hget(gone, "2")
        client.hdel(gone, "2")
        sound_map = client.hget(broken, "m")
        client.hset(broken, "m", b"nonsense")
        report = scrubbed(backend)
        assert [(page.type, page.offset) for page in report.corrupt] == [(77, 3), (77, 5), (77, 66), (77, 128)]
        reasons = [page.reason for page in report.corrupt]
        assert "digest" in reasons[0]
        assert "digest" in reasons[1]
        assert "gone" in reasons[2]
        assert "map" in reasons[3]
        for offset in (3, 5, 66, 128):
            assert area.get(offset).status_code == 500
        assert client.hget(first, "3") == bytes(blob)
        client.hset(broken, "m", sound_map)
        client.hset(gone, "2", lost)
        client.hset(first, mapping=sound_blobs)


def test_the_rate(area: Area, backend: RedisServer) -> None:
    """A scrub takes no more pages a second than it is told."""
    area.store(0, *[pages.zero()] * 300)
    began = time.monotonic()
    assert scrubbed(backend, rate=600).pages == 300
    assert time.monotonic() - began >= 0.5


def test_beside_a_working_service(area: Area, backend: RedisServer) -> None:
    """Stores and invalidates beside it are no corruption."""
    bodies = [pages.mixed(128, seed=seed) for seed in range(6)]
    area.store(0, *bodies[0])

    async def both() -> ScrubReport:
        settings = Settings(_env_file=None, redis_url=backend.url)
        work = asyncio.create_task(scrub_pool(settings, 400))
        for body in bodies:
            await asyncio.to_thread(area.store, 0, *body)
            await asyncio.to_thread(area.delete, 3, count=70)
        return await work

    assert asyncio.run(both()).corrupt == []
    with backend.client() as client:
        assert not recount(client).differences


def test_no_pool(tmp_path: object) -> None:
    """Without a running service it says so, and makes no pool."""
    with pytest.raises(StartupRefused):
        asyncio.run(scrub_pool(Settings(_env_file=None, data_dir=str(tmp_path)), 1))
