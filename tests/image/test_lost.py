"""Pages that the backend lost are never read as zeros (contract 2.4)."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.problems import check_problem
from tests.harness.raw_http import request
from tests.harness.redis_server import RedisServer, until
from tests.harness.service import Service, pagepool

OWN_SERVICE = True
PAGE = pages.PAGE_SIZE
RUN = 4096 * PAGE


@pytest.fixture
def backend() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def service(backend: RedisServer) -> Iterator[Service]:
    with Service(redis_url=backend.url, max_pool_bytes="0", workers="2") as running:
        yield running


def answer(area: Area, range_: str = "bytes=0-4095") -> tuple[int, str | None]:
    response = area.client.get(area.image, headers={"Range": range_})
    return response.status_code, response.json()["code"] if response.status_code >= 400 else None


def accept_loss(service: Service) -> None:
    done = pagepool("repair", "--accept-loss", home=service.directory, **service.settings_in_use)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_flush_is_seen_at_once(service: Service, backend: RedisServer) -> None:
    """The first call after a flush is 503, whatever it is: a read, HEAD, a write of a part of a page."""
    area = Area(service, 3)
    half = {"Content-Range": "bytes 100-/*"}
    calls = [
        lambda: area.client.get(area.image, headers={"Range": "bytes=0-99"}),
        lambda: area.client.get(area.image),
        lambda: area.client.put(area.image, content=b"x", headers=half),
    ]
    for call in calls:
        assert area.client.put(area.image, content=pages.incompressible() * 400).status_code == 204
        assert call().status_code < 300
        with backend.client() as client:
            client.flushall()
        document = check_problem(call(), 503, "pages_lost")
        assert document.get("previous", "unknown") == "unknown"
        assert area.client.head(area.image).status_code == 503
        until(lambda: backend.client().exists("pagepool:pool"), 5, "the record is restored")
        accept_loss(service)
        check_problem(area.client.get(area.image), 404, "no_image")


def test_not_undone_by_later_stores(service: Service, backend: RedisServer) -> None:
    """Pages stored after the loss, and a configuration set again, do not make up for what is gone."""
    area = Area(service, 3)
    assert area.client.put(area.image, content=pages.incompressible() * 40).status_code == 204
    with backend.client() as client:
        client.flushall()
    area.store(39, pages.compressible())
    area.configure(image_bytes=40 * PAGE)
    assert answer(area) == (503, "pages_lost")
    check_problem(area.client.put(area.image, content=b"x", headers={"Content-Range": "bytes 9-/*"}), 503, "pages_lost")
    assert area.client.put(area.image, content=pages.compressible() * 4).status_code == 204
    assert answer(area) == (503, "pages_lost")
    accept_loss(service)
    assert area.client.get(area.image).content == pages.compressible() * 4
    audit = service.audit()
    assert audit.returncode == 0, audit.stdout


def test_a_stripe_is_seen_at_once(service: Service, backend: RedisServer) -> None:
    """Of an image that lost a part, that part is 503, also to a write of half a page; the rest goes on."""
    area = Area(service, 3)
    area.configure(image_bytes=3 * RUN)
    for run in range(3):
        headers = {"Content-Range": f"bytes {run * RUN}-/*"}
        assert area.client.put(area.image, content=pages.incompressible(run) * 3, headers=headers).status_code == 204
    with backend.client() as client:
        [key] = client.keys("pagepool:p:*:3:64")  # the second run's first chunk
        tag = key[key.index(b"{") : key.index(b"}") + 1]
        client.delete(*client.keys(b"*" + tag + b"*"))
    assert answer(area, f"bytes={RUN}-{RUN + 9}") == (503, "pages_lost")
    assert answer(area, f"bytes={RUN + PAGE * 999}-{RUN + PAGE * 999 + 9}") == (503, "pages_lost")
    half = {"Content-Range": f"bytes {RUN + 5}-/*"}
    check_problem(area.client.put(area.image, content=b"x", headers=half), 503, "pages_lost", "unknown")
    for run in (0, 2):
        response = area.client.get(area.image, headers={"Range": f"bytes={run * RUN}-{run * RUN + PAGE - 1}"})
        assert response.content == pages.incompressible(run)
    accept_loss(service)
    assert area.client.get(area.image, headers={"Range": f"bytes={RUN}-{RUN + 9}"}).content == bytes(10)


@pytest.mark.parametrize("accident", ["flush", "kill"])
def test_an_answer_that_has_begun(service: Service, backend: RedisServer, accident: str) -> None:
    """Where pages or Redis are lost in mid-stream the connection is cut; what came before are the image's bytes."""
    area = Area(service, 3)
    page = pages.incompressible()
    assert area.client.put(area.image, content=page * 8192).status_code == 204
    with service.raw() as raw:
        raw.send(request("GET", area.image))
        status, _ = raw.read_head()
        assert status == 200
        if accident == "kill":
            backend.kill()
        else:
            with backend.client() as client:
                client.flushall()
        received = raw.received_before_close()
    assert len(received) < 8192 * PAGE
    assert received == (page * (len(received) // PAGE + 1))[: len(received)]


def test_a_pool_made_anew_by_another_service(service: Service, backend: RedisServer) -> None:
    """A service that finds another pool in place of its own takes its images for lost, and the other learns of it."""
    area = Area(service, 3)
    assert area.client.put(area.image, content=pages.incompressible() * 40).status_code == 204
    os.killpg(service.pid, signal.SIGSTOP)
    try:
        with backend.client() as client:
            client.flushall()
        other = Service(redis_url=backend.url, max_pool_bytes="0")
    except BaseException:
        os.killpg(service.pid, signal.SIGCONT)
        raise
    with other:
        theirs = Area(other, 3)
        theirs.configure(image_bytes=40 * PAGE)
        os.killpg(service.pid, signal.SIGCONT)
        assert answer(area) == (503, "pages_lost")
        until(lambda: answer(theirs) == (503, "pages_lost"), 5, "both say so")
        assert answer(area) == (503, "pages_lost")
        accept_loss(other)
        until(lambda: answer(area) == (206, None), 5, "the loss is accepted")
        assert answer(theirs) == (206, None)


def test_readers_during_a_flush(service: Service, backend: RedisServer) -> None:
    """However reads and a flush fall together, none gives zeros for what was stored."""
    area = Area(service, 3)
    page = pages.compressible()
    assert area.client.put(area.image, content=page * 256).status_code == 204
    clients = [service.new_client() for _ in range(6)]

    def read_on(index: int) -> set[int]:
        seen = set()
        for turn in range(40):
            at = (index * 41 + turn) % 256 * PAGE
            response = clients[index].get(area.image, headers={"Range": f"bytes={at}-{at + PAGE - 1}"})
            seen.add(response.status_code)
            if response.status_code == 206:
                assert response.content == page
            else:
                check_problem(response, 503, "pages_lost")
        return seen

    with ThreadPoolExecutor(7) as threads:
        readers = [threads.submit(read_on, index) for index in range(6)]
        with backend.client() as client:
            client.flushall()
        assert 503 in set.union(*(reader.result() for reader in readers))
    for client in clients:
        client.close()
