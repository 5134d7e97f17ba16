"""Tunables, numbers, health."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from app.telemetry_cells import LOADS, LOADS_MISS
from tests.api.conftest import Api, assert_problem
from tests.api.fake_pool import FakePool


def patch(api: Api, value: object) -> object:
    return api.call("PATCH", "/v1/parameters", json=value)


def test_tunables_are_shown_and_changed(api: Api) -> None:
    """PATCH takes any subset and answers the whole; a subset of none changes nothing."""
    before = api.get("/v1/parameters").json()
    assert before == {
        "enabled": True,
        "compressor": "lz4",
        "max_pool_bytes": 0,
        "max_stored_pages": 1 << 32,
        "accept_threshold_percent": 90,
    }
    changed = patch(api, {"compressor": "zstd", "max_pool_bytes": 1 << 40}).json()
    assert changed == before | {"compressor": "zstd", "max_pool_bytes": 1 << 40}
    assert patch(api, {}).json() == changed == api.get("/v1/parameters").json()


@pytest.mark.parametrize(
    "value",
    [
        {"unknown": 1},
        {"enabled": 1},
        {"enabled": None},
        {"enabled": "true"},
        {"compressor": "gzip"},
        {"compressor": None},
        {"compressor": "LZ4"},
        {"max_pool_bytes": -1},
        {"max_pool_bytes": 1 << 63},
        {"max_pool_bytes": 1.5},
        {"max_pool_bytes": True},
        {"max_stored_pages": 1 << 53},
        {"accept_threshold_percent": 0},
        {"accept_threshold_percent": 101},
        {"enabled": False, "accept_threshold_percent": 101},
        [],
        "enabled",
        1,
    ],
)
def test_bad_tunables_are_refused_whole(api: Api, value: object) -> None:
    """An unknown field, a value out of range or of another type is 422, and nothing is changed."""
    before = api.get("/v1/parameters").json()
    assert_problem(patch(api, value), 422, "bad_parameter")
    assert api.get("/v1/parameters").json() == before


def test_tunables_take_json_only(api: Api) -> None:
    """A form, which a foreign page could send, is 415."""
    response = api.call(
        "PATCH", "/v1/parameters", content=b'{"enabled": false}', headers={"content-type": "text/plain"}
    )
    assert_problem(response, 415, "unsupported_media_type")


def test_pool_in_human_terms(api: Api, pool: FakePool) -> None:
    """MiB, ratio, shares and % of the limit follow from the counts."""
    pool.put(1, 0, *["zero"] * 256, *["compressed"] * 768)
    patch(api, {"max_pool_bytes": 1_536_000})
    assert api.get("/v1/pool").json() == {
        "page_size": 4096,
        "max_extent_pages": 512,
        "state": "open",
        "pool_bytes": 768_000,
        "pool_mib": 0.73,
        "limit_bytes": 1_536_000,
        "limit_mib": 1.46,
        "limit_used_percent": 50.0,
        "logical_bytes": 4 << 20,
        "logical_mib": 4.0,
        "saved_mib": 3.27,
        "compression_ratio": 5.461,
        "stored_pages": 1024,
        "zero_pages": 256,
        "same_filled_pages": 0,
        "compressed_pages": 768,
        "incompressible_pages": 0,
        "zero_share_percent": 25.0,
        "hit_rate": None,
        "redis_used_memory_bytes": 1 << 20,
        "evicted_pages": 0,
        "expired_pages": 0,
        "reclaim_failures": 0,
    }


def test_an_empty_pool_has_no_ratio_and_no_share_of_a_limit(api: Api) -> None:
    """What would be a division by zero is null, or 0."""
    numbers = api.get("/v1/pool").json()
    assert (numbers["compression_ratio"], numbers["limit_used_percent"], numbers["zero_share_percent"]) == (
        None,
        None,
        0,
    )


def test_a_closed_pool_says_so(api: Api, pool: FakePool) -> None:
    """`state` is closed while stores of pages that are not zero are refused."""
    pool.put(1, 0, "raw")
    patch(api, {"max_pool_bytes": 1})
    assert api.get("/v1/pool").json()["state"] == "closed"


def test_hit_rate_counts_pages(api: Api) -> None:
    """Loads that hit, of any kind, over all loads."""
    cells = api.context.telemetry.cells
    cells[LOADS] += 2
    cells[LOADS + 2] += 1
    cells[LOADS_MISS] += 1
    assert api.get("/v1/pool").json()["hit_rate"] == 0.75


def test_metrics_tell_the_pools_truth(api: Api, pool: FakePool) -> None:
    """Gauges come from the pool, in the text format that Prometheus reads by default."""
    pool.put(1, 0, "zero", "same", "compressed", "raw")
    patch(api, {"max_pool_bytes": 1})
    response = api.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    expected = {
        "pagepool_pool_bytes": 5122,
        "pagepool_pool_limit_bytes": 1,
        "pagepool_logical_bytes": 16384,
        "pagepool_stored_pages": 4,
        "pagepool_zero_pages": 1,
        "pagepool_same_filled_pages": 1,
        "pagepool_incompressible_pages": 1,
        "pagepool_pool_full": 1,
        "pagepool_redis_up": 1,
        "pagepool_redis_used_memory_bytes": 1 << 20,
    }
    assert samples.items() >= expected.items()


def test_metrics_come_without_redis(api: Api, pool: FakePool) -> None:
    """Always 200: without Redis its gauges are left out, and pagepool_redis_up is 0."""
    pool.reason = "gone"
    response = api.get("/metrics")
    assert response.status_code == 200
    assert "pagepool_redis_up 0.0" in response.text
    assert "pagepool_pool_bytes" not in response.text
    assert 'pagepool_stores_total{kind="zero"} 0.0' in response.text


def test_metrics_in_openmetrics_if_asked(api: Api) -> None:
    """Accept decides, as Prometheus sends it."""
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
    response = api.get("/metrics", headers={"accept": accept})
    assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in parse_openmetrics(response.text)} >= {"pagepool_stores", "pagepool_pool_bytes"}
    for unwelcome in ("application/openmetrics-text;q=0, text/plain", "application/openmetrics-text; q=0.000", "*/*"):
        response = api.get("/metrics", headers={"accept": unwelcome})
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_requests_are_observed_by_operation_and_status(api: Api) -> None:
    """Each answered request is in one series; a 405 or 404 is `other`."""
    api.get("/v1/types")
    api.get("/v1/types/1")
    api.call("BREW", "/v1/types/1")
    text = api.get("/metrics").text
    assert 'pagepool_request_seconds_count{operation="types",status_class="2xx"} 1.0' in text
    assert 'pagepool_request_seconds_count{operation="types",status_class="4xx"} 1.0' in text
    assert 'pagepool_request_seconds_count{operation="other",status_class="4xx"} 1.0' in text
    assert "pagepool_requests_in_flight 1.0" in text


def test_liveness_does_not_ask_redis(api: Api, pool: FakePool) -> None:
    """A process that runs is alive, whatever became of Redis."""
    pool.reason = "gone"
    pool.defect = RuntimeError("touched")
    response = api.get("/livez")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_readiness_gives_the_reason(api: Api, pool: FakePool) -> None:
    """Ready while Redis answers; else 503 and why."""
    response = api.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "lost_nodes": []})
    pool.reason = "Redis is loading its data."
    document = assert_problem(api.get("/readyz"), 503, "backend_unavailable")
    assert document["detail"] == "Redis is loading its data."
    assert document["lost_nodes"] == []
