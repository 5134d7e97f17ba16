"""What an image's clients cost: memory, and questions to Redis."""

import random
import subprocess
import threading
from contextlib import ExitStack

import pytest

from tests.harness import pages
from tests.harness.area import Area
from tests.harness.raw_http import request
from tests.harness.redis_server import RedisServer, until
from tests.harness.service import Service
from tests.image.images import put_whole, url_of
from tests.image.programs import needs

MIB = 1 << 20
PAGE = pages.PAGE_SIZE


@needs("curl")
@pytest.mark.timeout(300)
def test_memory_is_flat_while_4_gib_are_read(area: Area) -> None:
    """A sparse image of 4 GiB is read whole, and the service is no larger for it."""
    area.configure(image_bytes=4 << 30)
    for offset in (0, 70_000, (1 << 20) - 1):
        area.store(offset, pages.incompressible())
    before = area.service.resident_bytes()
    most = before
    curl = subprocess.Popen(
        ["curl", "-fsS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{size_download}", url_of(area)],
        stdout=subprocess.PIPE,
    )
    with curl:
        ended = threading.Event()
        while not ended.wait(0.1) and curl.poll() is None:
            most = max(most, area.service.resident_bytes())
        assert curl.stdout is not None
        assert curl.stdout.read() == b"%d" % (4 << 30)
    assert curl.returncode == 0
    assert most - before < 32 * MIB


def test_memory_is_flat_while_an_image_is_written(area: Area) -> None:
    """An image of many MiB is written in bounded memory, and a sparse one costs its pages only."""
    put_whole(area, random.Random(1).randbytes(4 * MIB))
    before = area.service.resident_bytes()
    most = before

    def body():
        nonlocal most
        for index in range(192):
            yield bytes(MIB - 1) + b"."
            if index % 16 == 0:
                most = max(most, area.service.resident_bytes())

    assert area.client.put(area.image, content=body()).status_code == 204
    assert most - before < 32 * MIB
    assert area.show()["configuration"]["image_bytes"] == 192 * MIB
    assert area.numbers()["stored_pages"] <= 192 + 4 * MIB // PAGE


def test_readers_that_do_not_read(area: Area) -> None:
    """A reader that stops holds a bounded piece of the image, and others are served."""
    put_whole(area, random.Random(2).randbytes(24 * MIB))
    before = area.service.resident_bytes()
    with ExitStack() as stack:
        for _ in range(24):
            raw = stack.enter_context(area.service.raw())
            raw.send(request("GET", area.image))
            assert raw.read_head()[0] == 200
        assert area.client.get(area.image, headers={"Range": "bytes=0-9"}).status_code == 206
        assert area.service.resident_bytes() - before < 24 * 2 * MIB
    until(lambda: in_flight(area.service) == 1, 10, "nothing goes on for those who left")


def in_flight(service: Service) -> float:
    return service.metrics().value("pagepool_requests_in_flight")


def test_a_reader_that_leaves(area: Area) -> None:
    """Reading ends when the client has gone, however long the image is."""
    area.configure(image_bytes=1 << 50)
    with area.service.raw() as raw:
        raw.send(request("GET", area.image))
        assert raw.read_head()[0] == 200
    until(lambda: in_flight(area.service) == 1, 10, "the reading ends")


def test_holes_ask_redis_next_to_nothing(start_service, start_redis) -> None:
    """A hole costs a question or two for each 4096 pages, and no page."""
    backend: RedisServer = start_redis()
    area = Area(start_service(redis_url=backend.url), 1)
    area.configure(image_bytes=256 * MIB)
    runs = (256 * MIB) // (4096 * PAGE)

    def asked() -> dict[str, int]:
        with backend.client() as client:
            stats = client.info("commandstats")
        return {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("hget", "hmget")}

    before = asked()
    response = area.client.get(area.image)
    assert response.content == bytes(256 * MIB)
    after = asked()
    assert after["hget"] - before["hget"] == runs
    # One for each run's stripe, and those by which a worker follows the pool's record.
    assert after["hmget"] - before["hmget"] < runs + 100
