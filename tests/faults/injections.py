"""The faults, by name: each breaks something, and mends it again; what that does to pages goes into the history."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator

import redis

from tests.faults.history import What
from tests.faults.proxy import Proxy
from tests.faults.world import TIMEOUT_SECONDS, World
from tests.harness.redis_server import until

CHANCE = random.Random(7)


def _backend_pid(world: World) -> int:
    if world.backend is not None:
        assert world.backend.process is not None
        return world.backend.process.pid
    return world.embedded_pid()


def pause_short(world: World) -> None:
    """Redis is stopped for less than the timeout."""
    _pause(world, TIMEOUT_SECONDS * 0.5)


def pause_long(world: World) -> None:
    """Redis is stopped for longer than the timeout, and continued."""
    _pause(world, TIMEOUT_SECONDS * (2 + CHANCE.random()))


def pause_about_the_timeout(world: World) -> None:
    """Redis is stopped again and again for about the timeout: writes come just before and after their deadline."""
    for _ in range(4):
        _pause(world, TIMEOUT_SECONDS * (0.8 + 0.4 * CHANCE.random()))
        time.sleep(0.1)


def _pause(world: World, seconds: float) -> None:
    pid = _backend_pid(world)
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


def kill_redis(world: World) -> None:
    """Redis is killed and started again; the embedded one by its watcher."""
    with world.crash_of_redis():
        if world.backend is not None:
            world.backend.kill()
            world.backend.start()
            return
        pid = world.embedded_pid()
        os.kill(pid, signal.SIGKILL)
        until(lambda: _embedded_pid_or_none(world) not in {None, pid}, 10, "the embedded Redis is back")


def _embedded_pid_or_none(world: World) -> int | None:
    try:
        return world.embedded_pid()
    except (redis.RedisError, ValueError, OSError):
        return None


def cut_connections(world: World) -> None:
    """Every connection to Redis is reset."""
    assert world.proxy is not None
    for _ in range(3):
        world.proxy.cut()
        time.sleep(0.05)


def cut_in_a_reply(world: World) -> None:
    """A connection is reset in the middle of a reply."""
    assert world.proxy is not None
    for _ in range(3):
        world.proxy.cut_after(CHANCE.randrange(1, 6000))
        time.sleep(0.1)


def slow_replies(world: World) -> None:
    """The line to Redis is slow."""
    assert world.proxy is not None
    world.proxy.delay_seconds = TIMEOUT_SECONDS * 0.15
    time.sleep(TIMEOUT_SECONDS * 3)
    world.proxy.delay_seconds = 0.0


def hold_requests(world: World) -> None:
    """What is sent to Redis is held until the service has long given up, and delivered then."""
    assert world.proxy is not None
    world.proxy.pause(replies=False)
    time.sleep(TIMEOUT_SECONDS * 2.5)
    world.proxy.resume()


def hold_some_requests(world: World) -> None:
    """Some connections to Redis are stuck and none can be made anew, while others work; what stuck is delivered later.

    A store that was left there is late beside those that went another way: its deadline alone keeps it from overtaking.
    """
    assert world.proxy is not None
    with _refusing(world.proxy):
        world.proxy.hold_some(CHANCE)
        time.sleep(TIMEOUT_SECONDS * 2.5)
        world.proxy.resume()
        time.sleep(TIMEOUT_SECONDS * 0.5)


def hold_replies(world: World) -> None:
    """Redis does what it is told, but its replies are held."""
    assert world.proxy is not None
    world.proxy.pause(requests=False)
    time.sleep(TIMEOUT_SECONDS * 2)
    world.proxy.resume()


def refuse_connections(world: World) -> None:
    """Redis's port takes no connection for a while."""
    assert world.proxy is not None
    with _refusing(world.proxy):
        world.proxy.cut()
        time.sleep(TIMEOUT_SECONDS)


@contextlib.contextmanager
def _refusing(proxy: Proxy) -> Iterator[None]:
    proxy.is_refusing = True
    try:
        yield
    finally:
        proxy.is_refusing = False


def no_memory(world: World) -> None:
    """Redis has reached its maxmemory and evicts nothing."""
    with _configured(world, "maxmemory", 1, 0):
        time.sleep(0.5)


def no_room_for_clients(world: World) -> None:
    """Redis takes no more clients, and the service has lost its connections."""
    with _configured(world, "maxclients", 1, 10_000) as client:
        client.client_kill_filter(_type="normal", skipme=True)
        time.sleep(TIMEOUT_SECONDS)


@contextlib.contextmanager
def _configured(world: World, name: str, value: int, usual: int) -> Iterator[redis.Redis]:
    with world.redis() as client:
        client.config_set(name, value)
        try:
            yield client
        finally:
            client.config_set(name, usual)


def read_only(world: World) -> None:
    """Redis is a replica for a while, so that it takes no write."""
    with world.redis() as client:
        client.replicaof("127.0.0.1", 1)
        try:
            time.sleep(0.5)
        finally:
            client.replicaof("NO", "ONE")


def forget_scripts(world: World) -> None:
    """Redis forgets every script."""
    with world.redis() as client:
        client.script_flush()


def kill_clients(world: World) -> None:
    """An administrator ends the service's connections."""
    with world.redis() as client:
        for _ in range(3):
            client.client_kill_filter(_type="normal", skipme=True)
            time.sleep(0.05)


def flush(world: World) -> None:
    """Redis is emptied behind the service's back."""
    with world.redis() as client, world.befalling(What.LOSS, "FLUSHALL"):
        client.flushall()


def kill_worker(world: World) -> None:
    """A worker is killed in the middle of its work, and started again by its supervisor."""
    before = set(world.worker_pids())
    os.kill(CHANCE.choice(sorted(before)), signal.SIGKILL)
    until(lambda: len(set(world.worker_pids()) - before) == 1, 10, "there is another worker")
    world.wait_ready()


def flush_and_kill_worker(world: World) -> None:
    """Redis is emptied and a worker killed at once: the old workers and the new one agree on one pool."""
    flush(world)
    kill_worker(world)


def kill_service(world: World) -> None:
    """The whole service is killed, and started again."""
    embedded = world.backend is None
    with world.crash_of_redis() if embedded else contextlib.nullcontext():
        world.service.kill()
        until(world.service.group_is_gone, 10, "nothing of the service is left")
        world.service.start()


def restart_service(world: World) -> None:
    """The service is ended by SIGTERM and started again; an embedded Redis writes out what it has."""
    lost = world.backend is None and world.persistence == "none"
    with world.befalling(What.LOSS, "restart without persistence") if lost else contextlib.nullcontext():
        world.service.stop()
        world.service.start()


def _tune(world: World, **tunables: object) -> None:
    """Change tunables; while the worker is still finding its feet after an earlier fault that is a 503."""
    until(lambda: world.service.client.patch("/v1/parameters", json=tunables).status_code == 200, 10, "it is changed")


def fill_up(world: World) -> None:
    """The pool's limit is lowered below what it holds, and raised again."""
    _tune(world, max_pool_bytes=1)
    time.sleep(0.3)
    _tune(world, max_pool_bytes=20_000, accept_threshold_percent=50)
    time.sleep(0.5)
    _tune(world, max_pool_bytes=0)


def disable(world: World) -> None:
    """Stores are disabled for a while."""
    _tune(world, enabled=False)
    time.sleep(0.2)
    _tune(world, enabled=True)


BACKEND = (pause_short, pause_long, pause_about_the_timeout, kill_redis, flush, forget_scripts, kill_clients)
"""Faults of any Redis."""

SETTINGS = (no_memory, no_room_for_clients, read_only)
"""Faults that are settings of Redis, and are undone by it."""

LINE = (
    cut_connections,
    cut_in_a_reply,
    slow_replies,
    hold_requests,
    hold_some_requests,
    hold_replies,
    refuse_connections,
)
"""Faults of the line to Redis; they need a proxy."""

PROCESSES = (kill_worker, flush_and_kill_worker, kill_service, restart_service)
"""Faults of the service itself."""

POOL = (fill_up, disable)
"""No faults, but states in which stores are refused."""
