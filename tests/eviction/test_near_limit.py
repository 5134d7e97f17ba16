"""Stores near the limit: exact, and without a look at all stripes for each."""

from __future__ import annotations

from collections.abc import Callable

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.redis_server import RedisServer
from tests.harness.service import Service

STRIPES = 64
RAW = [pages.incompressible(n) for n in range(100)]
LENGTH = 4096 + 9


def test_stores_near_the_limit_do_not_look_each_time(
    start_redis: Callable[..., RedisServer], start_service: Callable[..., Service]
) -> None:
    """Between threshold and limit a worker goes by what it knows, and yet closes the pool exact to one page."""
    redis = start_redis()
    service = start_service(redis_url=redis.url, stripes=str(STRIPES))
    area = Area(service, 1)
    area.store(0, *RAW[:95])
    service.tune(max_pool_bytes=100 * LENGTH)
    with redis.client() as client:

        def asked() -> int:
            return int(client.info("commandstats")["cmdstat_hmget"]["calls"])

        before = asked()
        for n in range(200):
            area.store(n % 95, RAW[n % 100])
        assert asked() - before < 200 * STRIPES / 4
    for n in range(5):
        area.store(100 + n, RAW[n])
    check_problem(area.put(200, RAW[0]), 507, "pool_full", "invalidated")
    assert area.numbers()["stored_pages"] == 100
