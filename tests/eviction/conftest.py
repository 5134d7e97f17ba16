"""Services on Redis servers that the test can look into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis

from tests.harness.area import Area
from tests.harness.redis_server import RedisCluster, RedisServer
from tests.harness.service import Service


@pytest.fixture(scope="module", params=["single", "two workers", "cluster"])
def kept(request: pytest.FixtureRequest) -> Iterator[tuple[Service, redis.Redis | redis.RedisCluster]]:
    """A service, and a client of its Redis: one worker, two, and one on a cluster."""
    with ExitStack() as stack:
        if request.param == "cluster":
            cluster = stack.enter_context(RedisCluster())
            client: redis.Redis | redis.RedisCluster = redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port)
            url = cluster.url
        else:
            server = stack.enter_context(RedisServer())
            client = stack.enter_context(server.client())
            url = server.url
        workers = "2" if request.param == "two workers" else "1"
        yield stack.enter_context(Service(redis_url=url, max_pool_bytes="0", workers=workers)), client
        client.close()


@pytest.fixture
def service_of(kept: tuple[Service, redis.Redis]) -> Service:
    """The service."""
    return kept[0]


@pytest.fixture
def redis_of(kept: tuple[Service, redis.Redis]) -> redis.Redis:
    """A client of its Redis."""
    return kept[1]


@pytest.fixture
def make_area(service_of: Service) -> Iterator[Callable[[], Area]]:
    """Makes types that no other test uses; they are dropped, and the limit lifted, at the end."""
    made: list[Area] = []

    def make() -> Area:
        made.append(Area(service_of, 3000 + len(made)))
        return made[-1]

    yield make
    service_of.tune(max_pool_bytes=0, accept_threshold_percent=90)
    for area in made:
        area.drop()
    assert service_of.pool()["stored_pages"] == 0


@pytest.fixture
def area(make_area: Callable[[], Area]) -> Area:
    """One such type."""
    return make_area()
