"""A Redis without memory (contract 2.1, 3.5): 507 `backend_full`, no stale copy, zero pages still in."""

from collections.abc import Iterator

import pytest
import redis

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.deployments import needs_image_view
from tests.harness.problems import check_problem
from tests.harness.redis_server import RedisServer
from tests.harness.service import Service

OWN_SERVICE = True
RAW = [pages.incompressible(n) for n in range(20)]


@pytest.fixture(scope="module")
def backend() -> Iterator[RedisServer]:
    """A Redis that can be told to have no memory."""
    with RedisServer(maxmemory_policy="noeviction") as server:
        yield server


@pytest.fixture(scope="module", params=["protocol", "asgi"])
def service(request: pytest.FixtureRequest, backend: RedisServer) -> Iterator[Service]:
    """A service on it, through either door."""
    with Service(redis_url=backend.url, door=request.param, max_pool_bytes="0", namespace=request.param) as running:
        yield running


@pytest.fixture
def starve(backend: RedisServer) -> Iterator[redis.Redis]:
    """Takes Redis's memory away with `config_set("maxmemory", 1)`; gives it back at the end."""
    with backend.client() as client:
        yield client
        client.config_set("maxmemory", 0)


def test_backend_full(area: Area, starve: redis.Redis) -> None:
    """A store that Redis refuses for lack of memory is 507 `backend_full`, and no older copy is left."""
    area.store(0, *RAW[:10])
    starve.config_set("maxmemory", 1)
    before = area.service.metrics()
    check_problem(area.put(3, RAW[11]), 507, "backend_full", "invalidated")
    check_problem(area.put(100, RAW[12]), 507, "backend_full", "invalidated")
    assert area.is_absent(3)
    assert area.service.metrics().since(before)["rejects.redis_oom"] == 2
    for offset in (0, 1, 2, 4, 9):
        assert area.load(offset) == RAW[offset]
    assert area.numbers()["stored_pages"] == 9


def test_an_extent_when_redis_is_full(area: Area, starve: redis.Redis) -> None:
    """Of an extent the zero pages go in, and every page that was refused is gone."""
    area.store(0, *RAW[:10])
    starve.config_set("maxmemory", 1)
    body = [pages.zero() if n % 2 else RAW[n + 1] for n in range(10)]
    document = check_problem(area.put(0, *body), 507, "backend_full", "invalidated")
    assert (document["stored"], document["rejected"]) == (5, [[n, 1] for n in range(0, 10, 2)])
    assert [area.is_absent(n) for n in range(10)] == [True, False] * 5
    assert area.numbers() == {
        "stored_pages": 5,
        "zero_pages": 5,
        "same_filled_pages": 0,
        "incompressible_pages": 0,
        "pool_bytes": 0,
    }


def test_zero_pages_when_redis_is_full(area: Area, starve: redis.Redis) -> None:
    """A zero page over a page that is held goes in though Redis has no memory."""
    area.store(0, *RAW[:4])
    starve.config_set("maxmemory", 1)
    area.store(0, pages.zero())
    area.store(64, pages.zero())
    assert area.over_ranges("zero", (1, 2)).json() == {"zeroed": 2}
    assert area.load_pages(0, 4) == [pages.zero()] * 3 + [RAW[3]]


def test_invalidates_when_redis_is_full(area: Area, starve: redis.Redis) -> None:
    """Loads, takes and invalidates go on, so that room can be made."""
    area.store(0, *RAW[:10])
    starve.config_set("maxmemory", 1)
    assert area.load(0) == RAW[0]
    assert area.take(0).content == RAW[0]
    assert area.delete(1).status_code == 204
    assert area.delete(2, count=2).json() == {"invalidated": 2}
    assert area.over_ranges("invalidate", (4, 2)).json() == {"invalidated": 2}
    area.drop()
    assert area.numbers()["stored_pages"] == 0


def test_work_resumes(area: Area, starve: redis.Redis) -> None:
    """Once Redis has memory again, stores go in again."""
    starve.config_set("maxmemory", 1)
    check_problem(area.put(0, RAW[0]), 507, "backend_full")
    starve.config_set("maxmemory", 0)
    area.store(0, RAW[0])
    assert area.load(0) == RAW[0]


@needs_image_view
def test_an_image_when_redis_is_full(area: Area, starve: redis.Redis) -> None:
    """The stale-copy rule does not apply to images: a refused write leaves the page as it was."""
    area.configure(image_bytes=10 * 4096)
    area.store(0, *RAW[:10])
    starve.config_set("maxmemory", 1)
    response = area.client.put(area.image, content=b"x" * 100, headers={"Content-Range": "bytes 5000-5099/*"})
    check_problem(response, 507, "backend_full", "kept")
    starve.config_set("maxmemory", 0)
    assert area.load(0, 10) == b"".join(RAW[:10])
