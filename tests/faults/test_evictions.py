"""Random clients on types that evict, while workers are killed: a miss is allowed, other bytes never."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.faults import injections
from tests.faults.checker import Rules
from tests.faults.clients import ADDRESSES
from tests.faults.world import World

ROUNDS = 40


def shrink_again_and_again(world: World) -> int:
    """Ask for everything, over and over; how many pages went in answers that came."""
    gone = 0
    for _ in range(ROUNDS):
        try:
            with world.service.new_client() as client:
                response = client.post("/v1/pool/shrink", json={"bytes": 1 << 40})
        except httpx.TransportError:
            continue
        if response.status_code == 200:
            gone += response.json()["evicted_pages"]
    return gone


def test_evictions_beside_clients_and_kills() -> None:
    """Loads find the last store or nothing, counters equal a recount, while the shrinker works and is killed."""
    with World(workers="2", seed=11) as world:
        world.rules = Rules(may_miss=True)
        for type_ in sorted({type_ for type_, _ in ADDRESSES}):
            with world.service.new_client() as client:
                answer = client.put(f"/v1/types/{type_}", json={"eviction": "second-chance", "ttl_seconds": 1})
                assert answer.status_code == 200
        with world.under_fire(), ThreadPoolExecutor(1) as beside:
            gone = beside.submit(shrink_again_and_again, world)
            assert gone.result() > 0
        with world.under_fire(answer_seconds=12.0), ThreadPoolExecutor(1) as beside:
            gone = beside.submit(shrink_again_and_again, world)
            injections.kill_worker(world)
            gone.result()
