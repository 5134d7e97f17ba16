"""Single faults of Redis, and exactly what they look like from outside (contract 3.5)."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.faults.proxy import Proxy, drop_one_reply
from tests.faults.recount import recount
from tests.faults.world import BOUND_SECONDS, MACHINE_SECONDS, TIMEOUT_SECONDS, children_of, command_of
from tests.harness import pages
from tests.harness.area import OCTETS, Area
from tests.harness.problems import check_problem
from tests.harness.redis_server import RedisServer, until
from tests.harness.service import DidNotStart, Service

SETTINGS = {"redis_timeout": str(TIMEOUT_SECONDS), "max_pool_bytes": "0"}
RAW = [pages.incompressible(n) for n in range(70)]
BY_KIND = list(pages.of_each_kind().values())

Starter = Callable[..., Service]
RedisStarter = Callable[..., RedisServer]


def works(area: Area) -> bool:
    """Whether a store and a load succeed now: each has a connection to Redis of its own."""
    return area.put(9, RAW[9]).status_code == 204 and area.get(9).status_code == 200


def test_a_reply_left_out(start_service: Starter, start_redis: RedisStarter) -> None:
    """A reply that never came shifts all later ones: loads find the envelope of another page out, and never give it."""
    backend = start_redis()
    with Proxy(backend.port) as proxy:
        area = Area(start_service(redis_url=proxy.url, **SETTINGS), 1)
        bodies = [*BY_KIND, *RAW[:8], pages.zero(), pages.same(b"abcdefgh"), pages.zero()]
        for place, page in enumerate(bodies):
            area.store(place * 64, page)
        for _ in range(3):
            drop_one_reply(proxy)
            deadline = time.monotonic() + 5
            found: set[int] = set()
            while proxy.rewrite_reply is not None or 500 in found or not found:
                found = set()
                for place, page in enumerate(bodies):
                    answer = area.get(place * 64)
                    found.add(answer.status_code)
                    assert answer.status_code in {200, 500, 503}, answer.text
                    assert answer.status_code != 200 or answer.content == page
                assert time.monotonic() < deadline, "the service does not find out that its replies are out of step"
        for place, page in enumerate(bodies):
            until(lambda place=place: area.get(place * 64).status_code == 200, 5, "loads are answered")
            assert area.load(place * 64) == page


@pytest.mark.soak
def test_loading(start_service: Starter, start_redis: RedisStarter) -> None:
    """A Redis that loads its data is 503 in bounded time, and every page is there when it has loaded."""
    backend = start_redis(appendonly="yes", appendfsync="always", key_load_delay="0")
    area = Area(start_service(redis_url=backend.url, **SETTINGS), 1)
    for place in range(40):
        area.store(place * 64, RAW[place])
    with backend.client() as client:
        client.bgrewriteaof()
        until(lambda: not client.info("persistence")["aof_rewrite_in_progress"], 10, "the file is rewritten")
        client.config_set("key-load-delay", "20000")
        client.config_set("loading-process-events-interval-bytes", "1024")
    backend.stop()
    backend.options |= {"key_load_delay": "20000", "loading_process_events_interval_bytes": "1024"}
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(backend.start)
        seen = 0
        while not started.done():
            began = time.monotonic()
            answer = area.get(0)
            assert time.monotonic() - began < BOUND_SECONDS + MACHINE_SECONDS
            assert answer.status_code in {200, 503}
            seen += answer.status_code == 503
        started.result()
    assert seen
    until(lambda: works(area), 5, "work resumes")
    for place in range(40):
        assert area.load(place * 64) == RAW[place]


@pytest.mark.soak
def test_a_wrong_password_at_the_start(start_service: Starter, start_redis: RedisStarter) -> None:
    """With a wrong password the service refuses to start, says why, and does not tell the password."""
    backend = start_redis(requirepass="right")
    with pytest.raises(DidNotStart) as refusal:
        start_service(redis_url=backend.tcp_url.replace("//", "//:s3cr3t@"), **SETTINGS)
    assert "WRONGPASS" in str(refusal.value)
    assert "s3cr3t" not in str(refusal.value)


@pytest.mark.soak
def test_a_password_that_was_changed(start_service: Starter, start_redis: RedisStarter) -> None:
    """Where Redis no longer takes the service's password, calls are 503 until it does again."""
    backend = start_redis(requirepass="right")
    area = Area(start_service(redis_url=backend.tcp_url.replace("//", "//:right@"), **SETTINGS), 1)
    area.store(0, RAW[0])
    with backend.client() as client:
        client.config_set("requirepass", "another")
        client.client_kill_filter(_type="normal", skipme=True)
        check_problem(until_status(area, 503), 503, "backend_unavailable")
        client.config_set("requirepass", "right")
    until(lambda: works(area), 5, "work resumes")
    assert area.load(0) == RAW[0]


def until_status(area: Area, status: int) -> httpx.Response:
    """A load's answer with this status, soon."""
    until(lambda: area.get(0).status_code == status, 5, f"loads are {status}")
    return area.get(0)


def test_tunables_without_memory(start_service: Starter, start_redis: RedisStarter) -> None:
    """A Redis without memory takes changes of tunables, and the pool can close and open."""
    backend = start_redis()
    area = Area(start_service(redis_url=backend.url, **SETTINGS), 1)
    area.store(0, *RAW[:10])
    service = area.service
    with backend.client() as client:
        client.config_set("maxmemory", 1)
        assert service.tune(enabled=False)["enabled"] is False
        assert service.tune(enabled=True)["enabled"] is True
        service.tune(max_pool_bytes=20_000)
        check_problem(area.put(20, RAW[20]), 507, previous="invalidated")
        assert service.pool()["state"] == "closed"
        area.delete(0, count=10)
        check_problem(area.put(20, RAW[20]), 507, "backend_full", "invalidated")
        assert service.pool()["state"] == "open"
        answer = area.configure(image_bytes=4096)
        assert answer.status_code in {200, 507}, answer.text
        client.config_set("maxmemory", 0)
        until(lambda: works(area), 5, "work resumes")
        assert not recount(client).differences


@pytest.mark.soak
def test_flushed_without_memory(start_service: Starter, start_redis: RedisStarter) -> None:
    """A Redis that was emptied and has no memory serves again by itself once it has some."""
    backend = start_redis()
    area = Area(start_service(redis_url=backend.url, **SETTINGS), 1)
    area.store(0, *RAW[:10])
    with backend.client() as client:
        client.config_set("maxmemory", 1)
        client.flushall()
        for _ in range(20):
            assert area.put(0, RAW[0]).status_code in {507, 503}
            assert area.get(0).status_code in {404, 503}
        client.config_set("maxmemory", 0)
        until(lambda: works(area), 5, "work resumes")
        assert area.service.tune(accept_threshold_percent=80)["accept_threshold_percent"] == 80
        assert not recount(client).differences


@pytest.mark.parametrize("door", ["protocol", pytest.param("asgi", marks=pytest.mark.soak)])
def test_a_pause_in_the_middle_of_an_extent(start_service: Starter, start_redis: RedisStarter, door: str) -> None:
    """A large extent whose store meets a stopped Redis half-way ends in bounded time, and nothing of it comes later."""
    backend = start_redis()
    # With a limit admission looks at the total every 4 MiB: in the middle of an extent, too.
    settings = {**SETTINGS, "max_pool_bytes": str(1 << 34), "workers": "2", "door": door}
    service = start_service(redis_url=backend.url, **settings)
    body = b"".join(RAW[n % 70] for n in range(512))
    other = b"".join(RAW[(n + 1) % 70] for n in range(512))
    with ThreadPoolExecutor(6) as pool:
        for attempt in range(1 if door == "protocol" else 3):
            stop = pool.submit(_stop_and_continue, backend, TIMEOUT_SECONDS * 1.6)
            sent = [pool.submit(_put, service, type_, body) for type_ in range(1, 6)]
            answers = [future.result() for future in sent]
            stop.result()
            for status, seconds in answers:
                assert status in {204, 503}
                assert seconds < BOUND_SECONDS + MACHINE_SECONDS
            for type_ in range(1, 6):
                area = Area(service, type_)
                until(lambda area=area: area.put(0, other).status_code == 204, 5, "work resumes")
            for type_ in range(1, 6):
                assert Area(service, type_).load(0, 512) == other, attempt
    with backend.client() as client:
        assert not recount(client).differences


def _stop_and_continue(backend: RedisServer, seconds: float) -> None:
    backend.pause()
    time.sleep(seconds)
    backend.resume()


def _put(service: Service, type_: int, body: bytes) -> tuple[int, float]:
    began = time.monotonic()
    with service.new_client() as client:
        answer = client.put(f"/v1/pages/{type_}/0", content=body, headers=OCTETS)
    return answer.status_code, time.monotonic() - began


def _only_worker(service: Service) -> int:
    [worker] = [pid for pid in children_of(service.pid) if "app.serve.worker" in command_of(pid)]
    return worker


@pytest.mark.parametrize("how", ["hangs", "is gone"])
def test_the_only_worker_dies_while_redis_is_away(start_service: Starter, start_redis: RedisStarter, how: str) -> None:
    """A worker that is started again while Redis is away answers that it is, and works again once Redis does."""
    backend = start_redis(appendonly="yes", appendfsync="always")
    area = Area(start_service(redis_url=backend.url, **SETTINGS), 1)
    area.store(0, RAW[0])
    if how == "hangs":
        backend.pause()
    else:
        backend.kill()
    try:
        for _ in range(2):  # also one that stands in for a worker is started again
            os.kill(_only_worker(area.service), signal.SIGKILL)
            with area.service.new_client() as client:
                assert client.get("/livez").status_code == 200  # it waits until the new worker accepts
                metrics = client.get("/metrics")
                assert metrics.status_code == 200
                assert "pagepool_redis_up 0.0" in metrics.text
                for path in ("/readyz", "/v1/pool", area.url(0), area.image):
                    check_problem(client.get(path), 503, "backend_unavailable")
                stored = client.put(area.url(0), content=RAW[1], headers=OCTETS)
                check_problem(stored, 503, "backend_unavailable", "unknown")
                check_problem(client.get("/v1/pages/x/0"), 422, "bad_address")
        assert area.service.process is not None
        assert area.service.process.poll() is None, area.service.log_text()[-1000:]
    finally:
        if how == "hangs":
            backend.resume()
        else:
            backend.start()

    def is_back() -> bool:
        try:
            return area.put(1, RAW[1]).status_code == 204
        except httpx.TransportError:
            return False

    until(is_back, 15, "work resumes")
    assert area.load(0) == RAW[0]


def test_the_service_ends_while_a_worker_stands_in(start_service: Starter, start_redis: RedisStarter) -> None:
    """SIGTERM ends a service in order whose only worker waits for Redis."""
    backend = start_redis()
    service = start_service(redis_url=backend.url, **SETTINGS)
    backend.kill()
    os.kill(_only_worker(service), signal.SIGKILL)
    with service.new_client() as client:
        assert client.get("/livez").status_code == 200
    assert service.process is not None
    service.process.terminate()
    assert service.process.wait(30) == 0


def test_a_body_that_never_ends_does_not_hold_up_the_way_back(
    start_service: Starter, start_redis: RedisStarter
) -> None:
    """What stands in for a worker does not wait for its clients once Redis is back: they are told."""
    backend = start_redis(appendonly="yes", appendfsync="always")
    area = Area(start_service(redis_url=backend.url, shutdown_timeout="600", **SETTINGS), 1)
    backend.kill()
    os.kill(_only_worker(area.service), signal.SIGKILL)
    with area.service.new_client() as client:
        assert client.get("/livez").status_code == 200
    with socket.create_connection(("127.0.0.1", area.service.port)) as slow:
        slow.sendall(
            f"PUT {area.url(0)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
            "Content-Length: 4096\r\n\r\nbegun".encode()
        )
        with area.service.new_client() as client:
            assert client.get("/livez").status_code == 200
        backend.start()
        received = slow.makefile("rb").read()
    assert received.startswith(b"HTTP/1.1 503 ")
    assert b"application/problem+json" in received
    assert b"backend_unavailable" in received

    def is_back() -> bool:
        try:
            return area.put(1, RAW[1]).status_code == 204
        except httpx.TransportError:
            return False

    until(is_back, 30, "work resumes")


@pytest.mark.soak
def test_near_the_limit_on_a_slow_line(start_service: Starter, start_redis: RedisStarter) -> None:
    """Stores that are admitted one at a time do not queue for ever behind a slow Redis."""
    backend = start_redis()
    with Proxy(backend.port) as proxy:
        service = start_service(redis_url=proxy.url, **{**SETTINGS, "max_pool_bytes": "1000000"})
        proxy.delay_seconds = TIMEOUT_SECONDS * 0.3
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda type_: _put(service, type_, RAW[0]), range(1, 17)))
        for status, seconds in answers:
            assert status in {204, 503}
            assert seconds < BOUND_SECONDS + MACHINE_SECONDS, answers
