"""/v1/pool, /metrics, /livez and /readyz (contract 2.5)."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.harness import metrics, pages
from tests.harness.area import NUMBERS, Area
from tests.harness.metrics import Metrics

BODY = pages.mixed(150, seed=61)
GAUGE_OF = {name: f"pagepool_{name}" for name in NUMBERS}
MIB = 1 << 20


def scrapes(service, number: int = 12) -> list[Metrics]:
    """Scrapes over as many connections, so that every worker answers some."""
    found = []
    for _ in range(number):
        with service.new_client() as other:
            found.append(Metrics.parse(other.get("/metrics").text))
    return found


@pytest.mark.smoke
def test_pool_in_human_terms(area: Area) -> None:
    """/v1/pool says what is held, saved, compressed and zero, and all of it is the truth."""
    before = area.service.pool()
    area.store(0, *BODY)
    pool, numbers, counts = area.service.pool(), area.numbers(), pages.counts_of(BODY)
    for name in NUMBERS:
        assert pool[name] - before[name] == numbers[name]
    assert pool["page_size"] == 4096
    assert pool["compressed_pages"] - before["compressed_pages"] == counts["compressed"]
    assert pool["logical_bytes"] == pool["stored_pages"] * 4096
    assert pool["pool_mib"] == pytest.approx(pool["pool_bytes"] / MIB, abs=0.01)
    assert pool["saved_mib"] == pytest.approx((pool["logical_bytes"] - pool["pool_bytes"]) / MIB, abs=0.02)
    assert pool["compression_ratio"] == pytest.approx(pool["logical_bytes"] / pool["pool_bytes"], rel=0.01)
    assert pool["zero_share_percent"] == pytest.approx(100 * pool["zero_pages"] / pool["stored_pages"], abs=0.1)
    assert pool["redis_used_memory_bytes"] > pool["pool_bytes"]
    assert (pool["state"], pool["limit_bytes"], pool["limit_used_percent"]) == ("open", 0, None)


def test_share_of_the_limit(area: Area, tune) -> None:
    """/v1/pool says how much of the limit is used."""
    area.store(0, *BODY)
    tune(max_pool_bytes=10 * MIB)
    pool = area.service.pool()
    assert pool["limit_bytes"] == 10 * MIB
    assert pool["limit_mib"] == pytest.approx(10)
    assert pool["limit_used_percent"] == pytest.approx(100 * pool["pool_bytes"] / (10 * MIB), abs=0.1)


@pytest.mark.smoke
def test_gauges_are_the_pools_truth(area: Area, tune) -> None:
    """The gauges are the pool's truth from whichever worker answers."""
    area.store(0, *BODY)
    area.delete(10, count=20)
    tune(max_pool_bytes=10**9)
    pool = area.service.pool()
    for scrape in scrapes(area.service):
        for name, gauge in GAUGE_OF.items():
            assert scrape.value(gauge) == pool[name]
        assert scrape.value("pagepool_logical_bytes") == pool["stored_pages"] * 4096
        assert scrape.value("pagepool_pool_limit_bytes") == 10**9
        assert scrape.value("pagepool_pool_full") == 0
        assert scrape.value("pagepool_redis_up") == 1
        assert scrape.value("pagepool_redis_used_memory_bytes") > 0


@pytest.mark.smoke
def test_counters_do_not_depend_on_who_is_scraped(area: Area) -> None:
    """Counters and histograms are the sum over all workers, whichever is scraped."""
    before = area.service.metrics()
    for offset in range(24):
        with area.service.new_client() as other:
            octets = {"Content-Type": "application/octet-stream"}
            assert other.put(area.url(offset), content=pages.compressible(offset), headers=octets).status_code == 204
            assert other.get(area.url(offset)).status_code == 200
    for scrape in scrapes(area.service):
        assert scrape.since(before) == {"stores.compressed": 24, "loads.hit_compressed": 24}


@pytest.mark.smoke
def test_counters_are_exact_in_pages(area: Area) -> None:
    """Stores, loads and invalidates are counted in pages, by kind and result."""
    counts = pages.counts_of(BODY)
    before = area.service.metrics()
    area.store(0, *BODY)
    assert area.service.metrics().since(before) == {f"stores.{kind}": n for kind, n in counts.items() if n}
    before = area.service.metrics()
    area.load(0, 150)
    assert area.service.metrics().since(before) == {f"loads.hit_{kind}": n for kind, n in counts.items() if n}
    before = area.service.metrics()
    area.get(1000)
    area.get(1000, missing="zero")
    area.get(1000, count=3, missing="zero")
    area.get_frames(1000, count=2)
    assert area.service.metrics().since(before) == {"loads.miss": 7}
    before = area.service.metrics()
    area.delete(0)
    area.delete(0)
    area.delete(1, count=10)
    assert area.service.metrics().since(before) == {"invalidates": 11}


def test_hit_rate(area: Area) -> None:
    """The hit rate is loads that hit by loads, in pages, since the service started."""
    area.store(0, *BODY)
    area.load(0, 150)
    area.get(1000)
    counters = area.service.metrics().counters()
    hits = sum(value for name, value in counters.items() if name.startswith("loads.hit_"))
    assert area.service.pool()["hit_rate"] == pytest.approx(hits / (hits + counters["loads.miss"]), abs=0.001)


@pytest.mark.smoke
def test_prometheus_text(service) -> None:
    """/metrics is Prometheus text with HELP and TYPE for every family."""
    response = service.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    text = response.text
    families = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    assert set(re.findall(r"^# HELP (\S+) \S", text, re.MULTILINE)) == families
    for name in (*metrics.GAUGES, *metrics.COUNTERS, *metrics.HISTOGRAMS):
        assert name in families
    for name in metrics.HISTOGRAMS:
        assert re.search(rf"^# TYPE {name} histogram$", text, re.MULTILINE)
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    by_hand = Metrics.parse(text).samples
    assert {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples} == by_hand


@pytest.mark.smoke
def test_connections_to_redis_are_counted(service) -> None:
    """At least the two that each worker begins with."""
    assert service.metrics().value("pagepool_redis_connections_total") >= 2


def test_open_metrics(service) -> None:
    """/metrics is OpenMetrics if asked."""
    response = service.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")
    assert "# TYPE pagepool_stores counter" in response.text


def test_histograms_count_requests(area: Area) -> None:
    """`pagepool_request_seconds` counts every request by operation and class of status."""

    def total(scrape: Metrics, status_class: str) -> float:
        return sum(
            value
            for (name, labels), value in scrape.samples.items()
            if name == "pagepool_request_seconds_count" and ("status_class", status_class) in labels
        )

    before = area.service.metrics()
    area.store(0, *BODY[:3])
    for _ in range(10):
        area.get(0)
    for _ in range(5):
        area.get(1000)
    after = area.service.metrics()
    assert total(after, "2xx") - total(before, "2xx") in {11, 12}, "the scrape itself may count"
    assert total(after, "4xx") - total(before, "4xx") == 5


def test_histograms_add_up(area: Area) -> None:
    """A histogram's buckets grow, end with +Inf, and that one equals the count."""
    area.store(0, *BODY)
    samples = area.service.metrics().samples
    for family, names in metrics.HISTOGRAMS.items():
        series: dict[frozenset[tuple[str, str]], list[tuple[float, float]]] = {}
        for (name, labels), value in samples.items():
            if name == f"{family}_bucket":
                assert names | {"le"} == set(dict(labels))
                plain = frozenset(pair for pair in labels if pair[0] != "le")
                series.setdefault(plain, []).append((float(dict(labels)["le"]), value))
        assert series
        for plain, buckets in series.items():
            values = [value for _, value in sorted(buckets)]
            assert values == sorted(values)
            assert max(buckets)[0] == float("inf")
            assert values[-1] == samples[f"{family}_count", plain]
            assert (f"{family}_sum", plain) in samples


@pytest.mark.smoke
def test_health(service) -> None:
    """/livez and /readyz are 200 while Redis is there."""
    assert service.client.get("/livez").json() == {"status": "ok"}
    response = service.client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "lost_nodes": []}


@pytest.mark.smoke
def test_answers_are_not_kept_by_caches(service) -> None:
    """Numbers and health are of now: no answer of theirs invites a cache to keep it."""
    for path in ("/v1/pool", "/v1/parameters", "/readyz"):
        assert "max-age" not in service.client.get(path).headers.get("cache-control", "")


@pytest.mark.smoke
def test_the_openapi_document_is_served(service) -> None:
    """/openapi.json is served, in version 3.1, and names the calls of the contract."""
    document = service.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    paths = set(document["paths"])
    for path in ("/v1/pages/{type}/{offset}", "/v1/frames/{type}/{offset}", "/v1/types", "/v1/pool", "/metrics"):
        assert path in paths
