"""Redis out of reach (contract 2.5, 3.5): answers in bounded time, no crash, and work resumes by itself."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.harness import frames, metrics, pages
from tests.harness.area import Area
from tests.harness.metrics import Metrics
from tests.harness.problems import check_problem
from tests.harness.redis_server import RedisServer, until
from tests.harness.service import Service

OWN_SERVICE = True
TIMEOUT_SECONDS = 1.0
RAW = pages.incompressible(1)


@pytest.fixture(scope="module")
def backend() -> Iterator[RedisServer]:
    """A Redis that the tests stop and start; it keeps what it acknowledged."""
    with RedisServer(appendonly="yes", appendfsync="always") as server:
        yield server


@pytest.fixture(scope="module", params=["protocol", "asgi"])
def service(request: pytest.FixtureRequest, backend: RedisServer) -> Iterator[Service]:
    """A service on it, through either door."""
    settings = {"redis_timeout": str(TIMEOUT_SECONDS), "max_pool_bytes": "0", "namespace": request.param}
    with Service(redis_url=backend.url, door=request.param, **settings) as running:
        yield running


@pytest.fixture(params=["gone", "paused"])
def away(request: pytest.FixtureRequest, backend: RedisServer, area: Area) -> Iterator[Area]:
    """Redis is gone, or takes everything and answers nothing; it is back when the test ends."""
    area.store(0, RAW, pages.zero())
    if request.param == "gone":
        backend.kill()
    else:
        backend.pause()
    yield area
    if request.param == "gone":
        backend.start()
    else:
        backend.resume()
    until(lambda: area.put(0, RAW).status_code == 204, 10, "stores go in again")
    until(lambda: area.service.client.get("/readyz").status_code == 200, 10, "the service is ready again")


def timed(call) -> httpx.Response:
    """The call's answer, which must come within the Redis timeout and a second."""
    started = time.monotonic()
    response = call()
    assert time.monotonic() - started < TIMEOUT_SECONDS + 1 + 0.5, "answered too late"
    return response


def test_pages_while_redis_is_away(away: Area) -> None:
    """Loads, stores and invalidates are 503 `backend_unavailable` within the timeout and a second."""
    check_problem(timed(lambda: away.put(0, RAW)), 503, "backend_unavailable", "unknown")
    check_problem(timed(lambda: away.put(0, pages.zero(), RAW)), 503, "backend_unavailable", "unknown")
    check_problem(timed(lambda: away.put_frames(0, frames.zero(0))), 503, "backend_unavailable", "unknown")
    check_problem(timed(lambda: away.get(0)), 503, "backend_unavailable")
    check_problem(timed(lambda: away.get(0, missing="zero")), 503, "backend_unavailable")
    check_problem(timed(lambda: away.get_frames(0)), 503, "backend_unavailable")
    check_problem(timed(lambda: away.delete(0)), 503, "backend_unavailable")
    check_problem(timed(lambda: away.take(0)), 503, "backend_unavailable")
    check_problem(timed(lambda: away.over_ranges("invalidate", (0, 10))), 503, "backend_unavailable")


def test_malformed_stores_while_redis_is_away(away: Area) -> None:
    """What needs no Redis to be refused is refused as ever, and says that the old page is kept."""
    check_problem(away.put(0, b"short"), 400, "bad_page_length", "kept")
    check_problem(away.get(0, count=0), 422, "bad_address")


def test_health_while_redis_is_away(away: Area) -> None:
    """/livez never touches Redis; /readyz is 503 with the reason."""
    assert timed(lambda: away.client.get("/livez")).status_code == 200
    check_problem(timed(lambda: away.client.get("/readyz")), 503, "backend_unavailable")


def test_metrics_while_redis_is_away(away: Area) -> None:
    """/metrics is always 200; with Redis away the gauges that come from it are left out."""
    response = timed(lambda: away.client.get("/metrics"))
    assert response.status_code == 200
    scrape = Metrics.parse(response.text)
    assert scrape.value("pagepool_redis_up") == 0
    for name in metrics.REDIS_GAUGES:
        assert not scrape.has(name)
    assert scrape.counters()["stores.raw"] >= 1


def test_types_and_pool_while_redis_is_away(away: Area) -> None:
    """What comes from Redis is 503 while it is away."""
    for path in ("/v1/pool", "/v1/types", away.base, f"{away.base}/extents"):
        check_problem(timed(lambda path=path: away.client.get(path)), 503, "backend_unavailable")


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_work_resumes(area: Area, backend: RedisServer, how: str) -> None:
    """Work resumes within 5 s of Redis by itself, with the pages that it acknowledged."""
    area.store(0, RAW)
    if how == "killed":
        backend.kill()
    else:
        backend.pause()
    check_problem(area.put(1, RAW), 503, "backend_unavailable")
    if how == "killed":
        backend.start()
    else:
        backend.resume()
    until(lambda: area.put(2, RAW).status_code == 204, 5, "stores go in again")
    assert area.load(0) == RAW
    assert area.service.client.get("/readyz").status_code == 200


def test_a_flushed_redis_is_a_miss(area: Area, backend: RedisServer) -> None:
    """Page loads of a Redis that was flushed behind the service's back are 404, as for any cache."""
    area.store(0, RAW)
    with backend.client() as client:
        client.flushall()
    until(lambda: area.get(0).status_code == 404, 5, "loads are misses")
    until(lambda: area.put(0, RAW).status_code == 204, 5, "stores go in")
    assert area.load(0) == RAW
    area.drop()


def test_a_flushed_script_cache(area: Area, backend: RedisServer) -> None:
    """A Redis that has forgotten every script is served as before."""
    area.store(0, RAW)
    with backend.client() as client:
        client.script_flush()
    area.store(1, RAW)
    assert area.take(0).content == RAW
    assert area.delete(1).status_code == 204
