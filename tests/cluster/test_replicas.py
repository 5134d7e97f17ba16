"""PAGEPOOL_STORE_REPLICAS: a store is acknowledged once so many replicas have it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.redis_server import RedisServer, until
from tests.harness.service import DidNotStart, Service

OWN_SERVICE = True
TIMEOUT_SECONDS = 1.0


@pytest.fixture(scope="module")
def replicated() -> Iterator[tuple[RedisServer, RedisServer]]:
    """A master and its replica."""
    with RedisServer() as master, RedisServer(replicaof=f"127.0.0.1 {master.port}") as replica:
        with replica.client() as client:
            until(lambda: client.info("replication")["master_link_status"] == "up", 10, "the replica follows")
        yield master, replica


@pytest.fixture(scope="module")
def service(replicated: tuple[RedisServer, RedisServer], on: Callable[..., Service]) -> Service:
    """A service that needs the replica."""
    return on(replicated[0].tcp_url, store_replicas="1", redis_timeout=str(TIMEOUT_SECONDS))


def waits(master: RedisServer) -> int:
    """How often WAIT was asked for."""
    with master.client() as client:
        return client.info("commandstats").get("cmdstat_wait", {"calls": 0})["calls"]


def test_an_acknowledged_store_is_on_the_replica(replicated: tuple[RedisServer, RedisServer], service: Service) -> None:
    """Whatever was acknowledged, an invalidate as well, is on the replica when the answer comes."""
    _, replica = replicated
    area = Area(service, 5)
    with replica.client() as client:
        for offset in range(0, 50 * 64, 64):
            area.store(offset, pages.incompressible(offset))
            assert len(client.keys(f"{service.settings['namespace']}:p:*")) == 1
            assert area.delete(offset).status_code == 204
            assert not client.keys(f"{service.settings['namespace']}:p:*")


def test_one_wait_for_a_batch(replicated: tuple[RedisServer, RedisServer], service: Service) -> None:
    """The changes of one request leave together, and one WAIT decides for all of them."""
    master, _ = replicated
    area = Area(service, 5)
    before = waits(master)
    area.store(0, *map(pages.compressible, range(512)))
    assert waits(master) == before + 1


def test_the_replica_hangs(replicated: tuple[RedisServer, RedisServer], service: Service) -> None:
    """Without its replica a store is 503 `not_replicated` in time, loads go on, and stores do when it is back."""
    _, replica = replicated
    area = Area(service, 6)
    area.store(0, pages.incompressible(1))
    replica.pause()
    try:
        began = time.monotonic()
        response = area.put(0, pages.incompressible(2))
        assert time.monotonic() - began < TIMEOUT_SECONDS
        assert check_problem(response, 503, "not_replicated")["previous"] == "unknown"
        assert "Retry-After" in response.headers
        assert area.load(0) in {pages.incompressible(1), pages.incompressible(2)}
        assert service.client.get("/readyz").status_code == 200
    finally:
        replica.resume()
    until(lambda: area.put(0, pages.incompressible(3)).status_code == 204, 10, "the replica confirms again")
    assert area.load(0) == pages.incompressible(3)


def test_the_embedded_redis_has_no_replica(start_service: Callable[..., Service]) -> None:
    """A service that could never acknowledge a store refuses to start, and says why."""
    with pytest.raises(DidNotStart, match="PAGEPOOL_STORE_REPLICAS"):
        start_service(store_replicas="1")
