"""What a page costs in Redis, printed at the end of the test run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.service import Service

OWN_SERVICE = True
SNAPSHOT = Path(__file__).parents[2].parent / "shared" / "data" / "snapshot-a.bin"
EXTENT = 512 * 4096


def used_memory(service: Service) -> int:
    return service.client.get("/v1/pool").json()["redis_used_memory_bytes"]


def test_a_dense_run_of_zero_pages(start_service: Callable[..., Service], record_property) -> None:
    """500 000 zero pages in a dense run take less than 2 bytes each in Redis."""
    service = start_service()
    before = used_memory(service)
    assert service.client.post("/v1/pages/1/zero", json={"extents": [[0, 500_000]]}).json() == {"zeroed": 500_000}
    per_page = (used_memory(service) - before) / 500_000
    record_property("figure", f"a zero page in a dense run takes {per_page:.2f} bytes of Redis")
    assert per_page < 2


@pytest.mark.skipif(not SNAPSHOT.exists(), reason="../shared/data is absent")
def test_a_snapshot(start_service: Callable[..., Service], record_property) -> None:
    """A page of a real machine's memory takes less than 1.4 times its blob in Redis."""
    service = start_service()
    before = used_memory(service)
    body = SNAPSHOT.read_bytes()
    octets = {"Content-Type": "application/octet-stream"}
    for start in range(0, len(body), EXTENT):
        url = f"/v1/pages/1/{start // 4096}"
        assert service.client.put(url, content=body[start : start + EXTENT], headers=octets).status_code == 204
    held = service.client.get("/v1/pool").json()
    pages = held["stored_pages"]
    used = used_memory(service) - before
    record_property(
        "figure",
        f"a page of snapshot-a takes {used / pages:.0f} bytes of Redis, its blob {held['pool_bytes'] / pages:.0f}",
    )
    assert (pages, held["zero_pages"], held["same_filled_pages"]) == (8192, 1400, 293)
    assert used < 1.4 * held["pool_bytes"]
