"""What /metrics says, by name and labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

KINDS = ("zero", "same", "compressed", "raw")
LOAD_RESULTS = ("hit_zero", "hit_same", "hit_compressed", "hit_raw", "miss")
REJECT_REASONS = ("pool_full", "metadata_full", "disabled", "redis_oom", "compress_fail", "type_full")
REDIS_GAUGES = (
    "pagepool_pool_bytes",
    "pagepool_logical_bytes",
    "pagepool_stored_pages",
    "pagepool_zero_pages",
    "pagepool_same_filled_pages",
    "pagepool_incompressible_pages",
    "pagepool_redis_used_memory_bytes",
)
GAUGES = (*REDIS_GAUGES, "pagepool_pool_limit_bytes", "pagepool_pool_full", "pagepool_redis_up")
COUNTERS: dict[str, dict[str, tuple[str, ...]]] = {
    "pagepool_stores_total": {"kind": KINDS},
    "pagepool_loads_total": {"result": LOAD_RESULTS},
    "pagepool_invalidates_total": {},
    "pagepool_pool_limit_hit_total": {},
    "pagepool_rejects_total": {"reason": REJECT_REASONS},
    "pagepool_decode_failures_total": {},
}
REDIS_COUNTERS = ("pagepool_evicted_pages_total", "pagepool_expired_pages_total", "pagepool_reclaim_failures_total")
"""Kept in Redis, and left out while that is away, as its gauges are."""
HISTOGRAMS = {"pagepool_request_seconds": {"operation", "status_class"}, "pagepool_redis_seconds": {"operation"}}

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{([^{}]*)\})? (\S+)", re.ASCII)
_LABEL = re.compile(r'([a-zA-Z_]\w*)="([^"\\]*)"', re.ASCII)

Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Metrics:
    """One scrape."""

    samples: Mapping[Series, float]

    @classmethod
    def parse(cls, text: str) -> Metrics:
        """Parse the Prometheus text format; a line that is none, or a series twice, is an error.

        By hand: a scrape has a thousand series, and prometheus_client's parser would be half of what the suite costs.
        """
        samples: dict[Series, float] = {}
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            match = _SAMPLE.fullmatch(line)
            assert match is not None, f"no sample: {line!r}"
            series = (match[1], frozenset(_LABEL.findall(match[2] or "")))
            assert series not in samples, f"{series} twice"
            samples[series] = float(match[3])
        return cls(samples)

    def has(self, name: str, **labels: str) -> bool:
        """Whether the series is there."""
        return (name, frozenset(labels.items())) in self.samples

    def value(self, name: str, **labels: str) -> float:
        """The value of a series; fails when it is not there."""
        series = (name, frozenset(labels.items()))
        assert series in self.samples, f"no series {name} {labels}"
        return self.samples[series]

    def counters(self) -> dict[str, float]:
        """Every counter that the contract names, as `name` or `name.label value`."""
        found: dict[str, float] = {}
        for name, labels in COUNTERS.items():
            short = name.removeprefix("pagepool_").removesuffix("_total")
            if not labels:
                found[short] = self.value(name)
            for label, values in labels.items():
                for value in values:
                    found[f"{short}.{value}"] = self.value(name, **{label: value})
        for name in REDIS_COUNTERS:
            if self.has(name):
                found[name.removeprefix("pagepool_").removesuffix("_total")] = self.value(name)
        return found

    def since(self, before: Metrics) -> dict[str, float]:
        """The counters that grew since an earlier scrape, and by how much."""
        earlier = before.counters()
        return {name: value - earlier[name] for name, value in self.counters().items() if value != earlier[name]}

    def label_values(self, name: str, label: str) -> set[str]:
        """All values that a label has in the series of a name."""
        return {dict(labels)[label] for series, labels in self.samples if series == name and label in dict(labels)}
