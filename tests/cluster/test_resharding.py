"""Slots that move to another node: nobody gets a wrong answer, and counters stay exact."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from app.store.keys import slot_of_key
from tests.cluster.load import Load
from tests.cluster.topology import SlotMove, TestedCluster, stripe_key
from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.service import Service

OWN_SERVICE = True
TIMEOUT_SECONDS = 1.5
FAR = 64 * 4096
"""An offset in another run, hence another stripe."""


@pytest.fixture(scope="module")
def service(whole_cluster: TestedCluster, on: Callable[..., Service]) -> Service:
    """Two workers on the cluster."""
    return on(whole_cluster.url, redis_timeout=str(TIMEOUT_SECONDS), workers="2")


def test_a_slot_on_its_way(cluster: TestedCluster, service: Service) -> None:
    """ASK and then MOVED are followed: pages are loaded, stored and invalidated where they are now."""
    area = Area(service, 7)
    area.store(0, pages.incompressible(1), pages.zero(), pages.same())
    move = SlotMove.of(cluster, stripe_key(service.settings["namespace"], 7, 0))
    move.begin()
    for _ in move.move_all():
        pass
    assert area.load_pages(0, 3) == [pages.incompressible(1), pages.zero(), pages.same()]
    assert area.is_absent(3)
    assert area.is_absent(64)
    area.store(0, pages.compressible(2))
    assert area.delete(1).status_code == 204
    assert area.load(0) == pages.compressible(2)
    move.end()
    area.store(3, pages.incompressible(3))
    assert area.load(3) == pages.incompressible(3)
    assert area.load(0) == pages.compressible(2)
    assert area.numbers()["stored_pages"] == 3


def test_a_slot_that_is_on_both_sides(cluster: TestedCluster, service: Service) -> None:
    """A store whose keys lie on two nodes waits; past the deadline it is a 503 that may be retried, and did nothing."""
    area = Area(service, 8)
    area.store(0, pages.incompressible(1))
    area.store(FAR, pages.incompressible(2))
    key = stripe_key(service.settings["namespace"], 8, 0)
    move = SlotMove.of(cluster, key)
    move.begin()
    move.move(key)
    began = time.monotonic()
    response = area.put(0, pages.incompressible(9))
    assert TIMEOUT_SECONDS / 2 < time.monotonic() - began < TIMEOUT_SECONDS + 1
    document = check_problem(response, 503, "backend_unavailable")
    assert document["previous"] == "unknown"
    assert "Retry-After" in response.headers
    assert area.load(0) == pages.incompressible(1)
    area.store(FAR, pages.incompressible(3))
    mover = threading.Timer(TIMEOUT_SECONDS / 4, lambda: [*move.move_all(), move.end()])
    mover.start()
    area.store(0, pages.incompressible(4))
    mover.join()
    assert area.load(0) == pages.incompressible(4)


def test_a_chunk_that_loses_its_last_blob_in_a_slot_on_its_way(cluster: TestedCluster, service: Service) -> None:
    """Where slots move, Redis refuses a script the key that it has just removed: nothing is lost by that."""
    area = Area(service, 9)
    area.store(0, pages.incompressible(1), pages.zero())
    evicted = Area(service, 10)
    evicted.configure(eviction="second-chance")
    whole_run = [pages.zero()] * 63
    for chunk in range(64):
        evicted.store(chunk * 64, pages.compressible(chunk), *whole_run)
    moves = [SlotMove.of(cluster, stripe_key(service.settings["namespace"], type_, 0)) for type_ in (9, 10)]
    for move in moves:
        move.begin()
    area.store(0, pages.zero())
    assert area.load_pages(0, 2) == [pages.zero()] * 2
    for _ in range(2):  # the second chance, and then
        response = service.client.post("/v1/types/10/shrink", json={"bytes": 1 << 20})
        assert response.status_code == 200, response.text
    assert evicted.is_absent(0)
    assert evicted.load_pages(1, 63) == whole_run
    for move in moves:
        for _ in move.move_all():
            pass
        move.end()
    assert area.load_pages(0, 2) == [pages.zero()] * 2
    assert evicted.load_pages(64 * 63 + 1, 63) == whole_run
    audit = service.audit()
    assert audit.returncode == 0, audit.stdout


def test_slots_move_under_load(
    cluster: TestedCluster, service: Service, measured: Callable[[str], None], rounds: int
) -> None:
    """While slots move, every answer is right and none is a 503: no slot takes as long as a store may wait."""
    with Load(service) as load:
        time.sleep(0.3)
        namespace = service.settings["namespace"]
        slots = sorted({slot_of_key(stripe_key(namespace, *address)) for address in load.addresses})
        moved, began = 0, time.monotonic()
        for slot in slots[:: max(1, len(slots) // (8 * rounds))]:
            move = SlotMove(cluster, slot)
            move.begin()
            for _ in move.move_all(at_once=2):
                time.sleep(0.01)
            move.end()
            moved += 1
        seconds = time.monotonic() - began
        time.sleep(0.3)
    load.look_at_all()
    measured(
        f"{moved} slots moved in {seconds:.1f} s under load: {load.done()} requests, {len(load.refused_at)} refused, "
        f"the slowest took {load.slowest:.2f} s"
    )
    assert not load.wrong
    assert not load.refusals
    audit = service.audit()
    assert audit.returncode == 0, audit.stdout
