"""A master that dies: what was acknowledged with a replica survives, and the service finds the new master by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from app.store.keys import slot_of_key
from tests.cluster.load import Load
from tests.cluster.topology import STRIPES, TestedCluster, stripe_key
from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.redis_server import RedisServer, until
from tests.harness.service import Service

RECOVERY_SECONDS = 20.0
"""Far more than the node timeout of 1 s and an election take."""


def is_served(area: Area, offset: int) -> bool:
    """Whether a load of the page is answered."""
    return area.get(offset).status_code in {200, 404}


@pytest.mark.parametrize("trouble", ["killed", pytest.param("hung", marks=pytest.mark.soak)])
def test_a_master_lost_under_load(
    cluster: TestedCluster, on: Callable[..., Service], measured: Callable[[str], None], rounds: int, trouble: str
) -> None:
    """Stores that a replica had survive kill -9 of their master, or its hanging; all resumes by itself."""
    service = on(cluster.url, store_replicas="1")
    area = Area(service, 900)
    area.store(0, pages.incompressible(1))
    for number in range(rounds):
        with Load(service, first_type=1 + 10 * number) as load:
            time.sleep(1)
            victim = cluster.master_of(slot_of_key(stripe_key(service.settings["namespace"], 900, 0)))
            lost_at = time.monotonic()
            victim.kill() if trouble == "killed" else victim.pause()
            until(lambda: is_served(area, 0), RECOVERY_SECONDS, "the promoted replica answers")
            loads_after = time.monotonic() - lost_at
            victim.start() if trouble == "killed" else victim.resume()
            started_at = time.monotonic()

            def is_stored() -> bool:
                return area.put(0, pages.incompressible(1)).status_code == 204

            until(is_stored, RECOVERY_SECONDS, "the old master is a replica now, and stores are acknowledged")
            stores_after = time.monotonic() - started_at
            until(lambda: not load.outage(time.monotonic() - 0.5), RECOVERY_SECONDS, "nobody is refused")
        load.look_at_all()
        measured(
            f"a master {trouble} under load: its loads were answered again after {loads_after:.1f} s, and its stores "
            f"{stores_after:.1f} s after it came back as a replica; {load.done()} requests went well, "
            f"{len(load.refused_at)} got a 503, none a wrong answer; the slowest took {load.slowest:.1f} s"
        )
        assert not load.wrong
        audit = service.audit()
        assert audit.returncode == 0, audit.stdout
        cluster.mend()


@pytest.fixture
def broken() -> Iterator[TestedCluster]:
    """Three masters without replicas that serve what they have when one is lost."""
    options = {"cluster_require_full_coverage": "no", "appendonly": "yes", "appendfsync": "always"}
    with TestedCluster(**options) as cluster:
        yield cluster


@pytest.mark.parametrize("trouble", ["killed", pytest.param("hung", marks=pytest.mark.soak)])
def test_a_master_without_a_replica(broken: TestedCluster, on: Callable[..., Service], trouble: str) -> None:
    """Pages on the masters that are left are stored and loaded; the others are 503, and all is well when it is back.

    The limit is near enough to be looked at. The pool's numbers are 503 as well, and readiness names the lost master.
    """
    service = on(broken.url, max_pool_bytes=str(64 << 20), redis_timeout="1")
    area = Area(service, 901)
    namespace = service.settings["namespace"]
    offsets = [run * 4096 for run in range(0, STRIPES, 16)]  # neighbouring runs are one node's
    for offset in offsets:
        area.store(offset, pages.incompressible(offset))
    by_master: dict[RedisServer, list[int]] = {}
    for offset in offsets:
        by_master.setdefault(broken.master_of(slot_of_key(stripe_key(namespace, 901, offset))), []).append(offset)
    lost, *left = by_master
    assert len(left) == 2
    lost.kill() if trouble == "killed" else lost.pause()
    name = f"127.0.0.1:{lost.port}"
    client = service.client
    until(lambda: client.get("/readyz").json()["lost_nodes"] == [name], RECOVERY_SECONDS, "readiness names it")
    assert client.get("/readyz").status_code == 200
    extent = [pages.incompressible(seed) for seed in range(64)]
    living = [offset for node in left for offset in by_master[node]]

    def is_admitted() -> bool:
        # 8 MiB: more than a worker admits between two looks.
        addresses = [offset + 64 * place for place in range(4) for offset in living[:8]]
        return all(area.put(offset, *extent).status_code == 204 for offset in addresses)

    until(is_admitted, RECOVERY_SECONDS, "what is left serves alone")
    for offset in living[8:]:
        assert area.load(offset) == pages.incompressible(offset)
    check_problem(area.get(by_master[lost][0]), 503, "backend_unavailable")
    check_problem(area.put(by_master[lost][0], pages.zero()), 503, "backend_unavailable")
    check_problem(client.get("/v1/pool"), 503, "backend_unavailable")
    assert client.get("/metrics").status_code == 200
    lost.start() if trouble == "killed" else lost.resume()
    until(lambda: is_served(area, by_master[lost][0]), RECOVERY_SECONDS, "it is back")
    until(lambda: client.get("/readyz").json()["lost_nodes"] == [], RECOVERY_SECONDS, "nothing is lost")
    until(lambda: client.get("/v1/pool").status_code == 200, RECOVERY_SECONDS, "the numbers are back")
    for offset in by_master[lost]:
        assert area.load(offset) == pages.incompressible(offset)
    assert service.audit().returncode == 0
