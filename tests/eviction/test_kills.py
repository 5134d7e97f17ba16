"""The shrinker killed in the middle: counters stay exact, and somebody else goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.faults.world import children_of, command_of
from tests.harness import pages
from tests.harness.area import Area
from tests.harness.redis_server import RedisServer, until
from tests.harness.service import Service

EXTENT = 512
EXTENTS = 40
BODY = [pages.incompressible(n) if n % 4 else pages.compressible(n) for n in range(EXTENT)]


def shrink(service: Service, bytes_: int) -> int:
    """Ask the pool to free bytes; the status, 0 if the connection ended without an answer."""
    try:
        with service.new_client() as client:
            return client.post("/v1/pool/shrink", json={"bytes": bytes_}).status_code
    except httpx.TransportError:
        return 0


def test_kills_in_the_middle(start_redis: Callable[..., RedisServer], start_service: Callable[..., Service]) -> None:
    """Whenever the shrinker is killed, what went is counted, what is there is right, and the next one goes on."""
    redis = start_redis()
    service = start_service(redis_url=redis.url, workers="2")
    area, image = Area(service, 1), Area(service, 2)
    assert area.configure(eviction="second-chance").status_code == 200
    assert image.configure(image_bytes=EXTENT * 4096).status_code == 200
    image.store(0, *BODY)
    for n in range(EXTENTS):
        area.store(n * EXTENT, *BODY)

    def evicted() -> int:
        return int(service.pool()["evicted_pages"])

    with ThreadPoolExecutor(1) as beside:
        for _ in range(3):
            before = evicted()
            asked = beside.submit(shrink, service, 1 << 40)
            until(lambda before=before: evicted() > before, 20, "pages are evicted")
            workers = [pid for pid in children_of(service.pid) if "app.serve.worker" in command_of(pid)]
            assert workers
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            asked.result()
            until(lambda: shrink(service, 1) == 200, 30, "another one shrinks")
            audit = service.audit()
            assert audit.returncode == 0, audit.stdout + audit.stderr
            shown = area.show()
            assert shown["evicted_pages"] == EXTENT * EXTENTS - shown["stored_pages"]
    for n in range(EXTENTS):
        found = area.load_frames(n * EXTENT, EXTENT)
        for offset, page in found.items():
            assert not isinstance(page, bytes) or page == BODY[offset - n * EXTENT]
    assert image.load_pages(0, EXTENT) == BODY
