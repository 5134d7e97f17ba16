"""Random clients under every fault: no load finds what it must not, no answer is late, every counter is right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import injections
from tests.faults.world import Fault, World

SHORT = {
    injections.pause_long,
    injections.kill_redis,
    injections.hold_some_requests,
    injections.cut_in_a_reply,
    injections.no_memory,
    injections.flush,
}
"""Faults of the short form; the others are marked `soak`."""

NOBODY_ANSWERS_SECONDS = 12.0
"""The bound on answers where the process that should answer is killed: it has to be started again."""


def faults(*groups: tuple[Fault, ...], short: bool = True) -> list[object]:
    """Test parameters by the faults' names."""
    return [
        pytest.param(fault, id=fault.__name__, marks=() if short and fault in SHORT else pytest.mark.soak)
        for group in groups
        for fault in group
    ]


@pytest.fixture(scope="module")
def durable() -> Iterator[World]:
    """A Redis that keeps all that it acknowledged, behind a proxy; the protocol door, one worker."""
    options = {"appendonly": "yes", "appendfsync": "always"}
    with World(proxied=True, redis_options=options) as world:
        yield world


@pytest.fixture(scope="module")
def through_asgi() -> Iterator[World]:
    """As above, through stock uvicorn's door, two workers."""
    options = {"appendonly": "yes", "appendfsync": "always"}
    with World(proxied=True, redis_options=options, door="asgi", workers="2", seed=2) as world:
        yield world


@pytest.mark.parametrize("fault", faults(injections.BACKEND, injections.SETTINGS, injections.LINE, injections.POOL))
def test_one_worker(durable: World, fault: Fault) -> None:
    """Through the protocol door, whatever happens to Redis or on the way to it."""
    with durable.under_fire():
        fault(durable)


@pytest.mark.soak
@pytest.mark.parametrize(
    "fault", faults(injections.BACKEND, injections.SETTINGS, injections.LINE, injections.POOL, short=False)
)
def test_two_workers_through_asgi(through_asgi: World, fault: Fault) -> None:
    """Through the ASGI door and two workers, the same."""
    with through_asgi.under_fire():
        fault(through_asgi)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(injections.kill_worker, id="kill_worker"),
        pytest.param(injections.flush_and_kill_worker, id="flush_and_kill_worker", marks=pytest.mark.soak),
    ],
)
def test_workers_killed(durable: World, fault: Fault) -> None:
    """A worker killed in the middle of stores: what it had sent was done whole or not at all."""
    with durable.under_fire(answer_seconds=NOBODY_ANSWERS_SECONDS):
        fault(durable)


def test_the_embedded_redis_killed() -> None:
    """The embedded Redis is killed and started again by its watcher: the last moments may be gone, nothing else."""
    with World(embedded="everysec", seed=3) as world, world.under_fire(answer_seconds=NOBODY_ANSWERS_SECONDS):
        injections.kill_redis(world)


@pytest.mark.soak
@pytest.mark.parametrize("persistence", ["none", "everysec", "always"])
def test_embedded(persistence: str) -> None:
    """The embedded Redis killed, the service killed, and ended in good order: what its mode promises is kept."""
    with World(embedded=persistence, workers="2", seed=4) as world:
        for fault in (injections.kill_redis, injections.kill_service, injections.restart_service):
            with world.under_fire(answer_seconds=NOBODY_ANSWERS_SECONDS):
                fault(world)
