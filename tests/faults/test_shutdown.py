"""SIGTERM: what was begun is finished, nothing new is taken, all ends in bounded time, what was acknowledged stays."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.faults.world import children_of, is_alive
from tests.harness import pages
from tests.harness.area import Area
from tests.harness.raw_http import BrokenAnswer, request
from tests.harness.redis_server import until
from tests.harness.service import Service

SHUTDOWN_SECONDS = 2.0
RAW = [pages.incompressible(n) for n in range(512)]
DOORS = ["protocol", pytest.param("asgi", marks=pytest.mark.soak)]


@pytest.fixture(params=DOORS)
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service that keeps what it acknowledged, two workers."""
    settings = {"persistence": "always", "workers": "2", "shutdown_timeout": str(SHUTDOWN_SECONDS)}
    with Service(door=request.param, max_pool_bytes="0", **settings) as running:
        yield running


OWN_SERVICE = True


def takes_connections(service: Service) -> bool:
    """Whether anybody listens."""
    try:
        socket.create_connection(("127.0.0.1", service.port), 1).close()
    except OSError:
        return False
    return True


def test_sigterm(service: Service) -> None:
    """A store whose body is half there and a load whose answer is half out are finished; no new connection is taken."""
    area = Area(service, 1)
    area.store(0, *RAW)
    whole = request("PUT", area.url(600), b"".join(RAW[:8]))
    with service.raw() as storing, service.raw(30) as loading:
        storing.send(whole[:10_000])
        loading.send(request("GET", area.url(0) + "?count=512"))
        status, headers = loading.read_head()
        assert status == 200
        service.signal(signal.SIGTERM)
        until(lambda: not takes_connections(service), 5, "new connections are refused")
        storing.send(whole[10_000:])
        answer = storing.read("PUT")
        assert answer.status == 204
        assert storing.is_closed()
        body = loading._exactly(int(dict(headers)["content-length"]))
        assert body == b"".join(RAW)
        assert loading.is_closed()
    assert service.process is not None
    assert service.process.wait(10) == 0
    until(service.group_is_gone, 10, "nothing of it is left")
    service.start()
    assert Area(service, 1).load(600, 8) == b"".join(RAW[:8])


@pytest.mark.soak
def test_sigterm_with_a_client_that_never_ends(service: Service) -> None:
    """A request that does not go on ends with the shutdown's time, no worker has to be killed; nothing is stored."""
    area = Area(service, 1)
    with service.raw() as storing:
        storing.send(request("PUT", area.url(0), RAW[0])[:3000])
        began = time.monotonic()
        service.stop()
        assert time.monotonic() - began < SHUTDOWN_SECONDS + 2 + 5
        with suppress(BrokenAnswer):
            assert storing.read("PUT").status >= 400
    assert "killing them" not in service.log_text()
    service.start()
    assert Area(service, 1).is_absent(0)


def test_the_supervisor_killed(service: Service) -> None:
    """The supervisor is killed: its workers and its Redis end by themselves, and it starts again on its data."""
    area = Area(service, 1)
    area.store(0, *RAW[:20])
    family = _descendants(service.pid)
    assert len(family) >= 4, "workers, watcher and Redis"
    service.kill()
    until(lambda: not any(is_alive(pid) for pid in family), 10, "all have ended")
    service.start()
    assert Area(service, 1).load(0, 20) == b"".join(RAW[:20])


@pytest.mark.soak
def test_workers_killed_one_after_another(service: Service, wait: Callable[[], None]) -> None:
    """Killed workers are started again as often as it takes."""
    area = Area(service, 1)
    area.store(0, RAW[0])
    for _ in range(4):
        workers = [pid for pid in children_of(service.pid) if is_alive(pid)][-2:]
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        wait()
        assert area.load(0) == RAW[0]


@pytest.fixture
def wait(service: Service) -> Callable[[], None]:
    """Waits until the service answers."""

    def answers() -> bool:
        try:
            return service.client.get("/readyz").status_code == 200
        except Exception:  # noqa: BLE001  whatever a dead worker's connection gives
            return False

    return lambda: until(answers, 30, "the service answers")


def _descendants(pid: int) -> list[int]:
    found = []
    for child in children_of(pid):
        found += [child, *_descendants(child)]
    return found
