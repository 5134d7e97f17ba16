from __future__ import annotations

import math

import pytest

from app.cli.samples import Sample, Window, parse_metrics, quantile, sparkline

METRICS = """\
# HELP pagepool_stores_total Pages stored.
# TYPE pagepool_stores_total counter
pagepool_stores_total{kind="zero"} 3.0
pagepool_stores_total{kind="odd \\"kind\\", {so}"} 4.0
pagepool_pool_bytes 1.5e+06
"""


def sample(at: float, text: str) -> Sample:
    return Sample(at, {}, [], parse_metrics(text))


def test_parse_metrics() -> None:
    """Prometheus text becomes numbers by name and labels; comments are skipped."""
    series = parse_metrics(METRICS)
    assert series["pagepool_stores_total"][("kind", "zero"),] == 3
    assert len(series["pagepool_stores_total"]) == 2
    assert series["pagepool_pool_bytes"] == {(): 1.5e6}


def test_rates() -> None:
    """A rate is growth by time; a service that restarted counts from 0, and never gives a negative rate."""
    before = sample(10, 'c_total{r="a"} 100\nc_total{r="b"} 50')
    now = sample(12, 'c_total{r="a"} 110\nc_total{r="b"} 20')
    window = Window(before, now)
    assert window.rates("c_total", "r") == {"a": 5, "b": 10}
    assert window.rate("c_total") == 15
    assert window.rate("absent_total") == 0


def test_hit_rate() -> None:
    """The share of loads in the window that hit; unknown without any."""
    empty = sample(0, "")
    loads = 'pagepool_loads_total{result="hit_raw"} 3\npagepool_loads_total{result="miss"} 1'
    assert Window(empty, sample(1, loads)).hit_rate() == 0.75
    assert Window(empty, empty).hit_rate() is None


def test_latencies() -> None:
    """Quantiles are those of the window, all status classes of an operation together."""
    name = "pagepool_request_seconds_bucket"
    lines = [
        f'{name}{{operation="load",status_class="{status}",le="{bound}"}} {count}'
        for status, counts in {"2xx": (50, 90, 90), "4xx": (0, 0, 10)}.items()
        for bound, count in zip(("0.001", "0.01", "+Inf"), counts, strict=True)
    ]
    (latency,) = Window(sample(0, ""), sample(2, "\n".join(lines))).latencies()
    assert (latency.operation, latency.rate, latency.p50, latency.p99) == ("load", 50, 0.001, 0.01)


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({1: 10, 2: 10, math.inf: 10}, 0.5, 0.5),
        ({1: 0, 2: 10, math.inf: 10}, 0.5, 1.5),
        ({1: 0, 2: 0, math.inf: 10}, 0.5, 2),
    ],
)
def test_quantile(buckets: dict[float, float], share: float, expected: float) -> None:
    """Interpolated within a bucket; past the last bound it is that bound."""
    assert quantile(buckets, share) == expected


def test_sparkline() -> None:
    """The last values, the highest one full; nothing grows out of nothing."""
    assert sparkline([9, 0, 1, 2, 4], 4) == " ▂▄█"
    assert sparkline([0, 0], 5) == "  "
    assert sparkline([], 5) == ""
    assert sparkline([1], 0) == ""
