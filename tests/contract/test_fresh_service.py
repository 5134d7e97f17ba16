"""What holds from the first moment of a service's life (contract 2.5)."""

import pytest

from tests.harness import metrics, pages
from tests.harness.area import NUMBERS, Area

OWN_SERVICE = True


@pytest.fixture(scope="module")
def service():
    """A service that nobody has used yet."""
    from tests.harness.service import Service  # noqa: PLC0415

    with Service() as running:
        yield running


def test_all_series_exist_from_the_start(service) -> None:
    """All series exist from the start, the counters with 0."""
    scrape = service.metrics()
    assert set(scrape.counters().values()) == {0}
    for name in metrics.GAUGES:
        assert scrape.has(name), name
    for name in NUMBERS:
        assert scrape.value(f"pagepool_{name}") == 0
    for family in metrics.HISTOGRAMS:
        assert scrape.label_values(f"{family}_count", "operation")


def test_series_neither_come_nor_go(service) -> None:
    """Use adds no series: what exists at the start is all there is."""
    before = set(service.metrics().samples)
    area = Area(service, 5)
    area.store(0, *pages.mixed(50))
    area.load(0, 50)
    area.get(1000)
    area.put(0, b"short")
    area.client.get("/nothing")
    area.client.get("/v1/types")
    area.take(0)
    area.get_frames(0)
    area.client.patch("/v1/parameters", json={"compressor": "x"})
    area.drop()
    assert set(service.metrics().samples) == before


def test_the_default_limit_is_a_share_of_memory(service) -> None:
    """Unless told otherwise the embedded Redis is limited to 20 % of the memory of the machine or cgroup."""
    limit = service.parameters()["max_pool_bytes"]
    assert service.metrics().value("pagepool_pool_limit_bytes") == limit
    with open("/proc/meminfo") as meminfo:  # noqa: PTH123
        total = int(next(line for line in meminfo if line.startswith("MemTotal")).split()[1]) * 1024
    assert 16 * 1024 * 1024 < limit <= total // 5 + 4096


def test_an_unused_pool_has_no_ratios(service) -> None:
    """A pool that holds nothing has no ratio, and no hit rate before the first load."""
    pool = service.pool()
    assert pool["compression_ratio"] is None
    assert {name: pool[name] for name in NUMBERS} == dict.fromkeys(NUMBERS, 0)
    assert service.client.get("/v1/types").json() == {"types": [], "next": None}
