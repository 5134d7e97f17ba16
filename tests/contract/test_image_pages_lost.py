"""Images whose backend lost pages (contract 2.4): 503 `pages_lost`, not zeros, until an operator accepts the loss."""

from collections.abc import Iterator

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.deployments import needs_image_view
from tests.harness.problems import check_problem
from tests.harness.redis_server import RedisServer, until
from tests.harness.service import Service, pagepool

OWN_SERVICE = True
pytestmark = needs_image_view
PAGE = 4096
COUNT = 4096


@pytest.fixture
def backend() -> Iterator[RedisServer]:
    """A Redis that loses what it held."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def service(backend: RedisServer) -> Iterator[Service]:
    """A service on it."""
    with Service(redis_url=backend.url, max_pool_bytes="0") as running:
        yield running


def answer(area: Area, page: int) -> tuple[int, str | None]:
    """Status and code of a read of one page of the image; its bytes, if there are any, are not zeros."""
    at = page * PAGE
    response = area.client.get(area.image, headers={"Range": f"bytes={at}-{at + PAGE - 1}"})
    if response.status_code == 206:
        return 206, None
    return response.status_code, response.json()["code"]


def test_flushed_behind_our_back(service: Service, backend: RedisServer) -> None:
    """Redis flushed: image reads are 503 `pages_lost`, page loads 404, until the loss is accepted."""
    area = Area(service, 3)
    assert area.client.put(area.image, content=pages.incompressible() * 200).status_code == 204
    with backend.client() as client:
        client.flushall()
    until(lambda: answer(area, 5) == (503, "pages_lost"), 5, "reads of the image say that its pages are lost")
    check_problem(area.client.get(area.image), 503, "pages_lost")
    until(lambda: area.get(5).status_code == 404, 5, "page loads are misses")
    done = pagepool("repair", "--accept-loss", home=service.directory, **service.settings_in_use)
    assert done.returncode == 0, done.stderr
    until(lambda: answer(area, 5)[0] != 503, 5, "the loss is accepted")


def test_a_stripe_lost(service: Service, backend: RedisServer) -> None:
    """A part of the pool lost: reads that touch that part are 503 `pages_lost`, others go on."""
    area = Area(service, 3)
    body = pages.compressible() * COUNT
    assert area.client.put(area.image, content=body * 2).status_code == 204
    with backend.client() as client:
        key = next(key for key in client.scan_iter("*:p:*"))
        tag = key[key.index(b"{") : key.index(b"}") + 1]
        lost = [each for each in client.scan_iter() if tag in each]
        client.delete(*lost)
    found = [answer(area, page) for page in range(0, 2 * COUNT, 64)]
    until(
        lambda: (503, "pages_lost") in {answer(area, page) for page in range(0, 2 * COUNT, 64)},
        5,
        "reads that touch the lost part say so",
    )
    found = [answer(area, page) for page in range(0, 2 * COUNT, 64)]
    assert set(found) == {(206, None), (503, "pages_lost")}
    done = pagepool("repair", "--accept-loss", home=service.directory, **service.settings_in_use)
    assert done.returncode == 0, done.stderr
    until(lambda: {answer(area, page) for page in range(0, 2 * COUNT, 64)} == {(206, None)}, 5, "the loss is accepted")
    audit = service.audit()
    assert audit.returncode == 0, audit.stdout
