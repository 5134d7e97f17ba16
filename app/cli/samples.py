"""What `pagepool top` knows: samples of the service's counters, and the rates between two of them. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Labels = tuple[tuple[str, str], ...]
Series = dict[str, dict[Labels, float]]

_LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

REQUEST_BUCKETS = "pagepool_request_seconds_bucket"


def parse_metrics(text: str) -> Series:
    """Prometheus text as numbers by name and labels."""
    series: Series = {}
    for line in text.splitlines():
        if line.startswith("#") or not (match := _LINE.match(line)):
            continue
        labels = tuple(sorted(_LABEL.findall(match["labels"] or "")))
        series.setdefault(match["name"], {})[labels] = float(match["value"])
    return series


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the service: when (seconds of a steady clock), the pool, its types, all series."""

    at: float
    pool: Mapping[str, Any]
    types: list[dict[str, Any]]
    series: Series


@dataclass(frozen=True, slots=True)
class Latency:
    """Requests of one operation within a window: how many a second, and the bounds that half and 99 % lie under."""

    operation: str
    rate: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Window:
    """What happened between two samples."""

    before: Sample
    now: Sample

    @property
    def seconds(self) -> float:
        """Its length."""
        return max(self.now.at - self.before.at, 1e-9)

    def rates(self, name: str, label: str) -> dict[str, float]:
        """A counter's growth a second, by the value of one label. A service that restarted counts from 0."""
        rates: dict[str, float] = {}
        old = self.before.series.get(name, {})
        for labels, value in self.now.series.get(name, {}).items():
            key = dict(labels).get(label, "")
            was = old.get(labels, 0.0)
            rates[key] = rates.get(key, 0.0) + (value - was if value >= was else value) / self.seconds
        return rates

    def rate(self, name: str) -> float:
        """A counter's growth a second, all labels added up."""
        return sum(self.rates(name, "").values())

    def hit_rate(self) -> float | None:
        """The share of pages loaded that were hits; None without a load."""
        loads = self.rates("pagepool_loads_total", "result")
        total = sum(loads.values())
        return None if not total else 1 - loads.get("miss", 0.0) / total

    def latencies(self) -> list[Latency]:
        """The operations that were called, busiest first."""
        old = self.before.series.get(REQUEST_BUCKETS, {})
        grown: dict[str, dict[float, float]] = {}
        for labels, value in self.now.series.get(REQUEST_BUCKETS, {}).items():
            named = dict(labels)
            was = old.get(labels, 0.0)
            buckets = grown.setdefault(named["operation"], {})
            bound = float(named["le"])
            buckets[bound] = buckets.get(bound, 0.0) + (value - was if value >= was else value)
        found = [
            Latency(operation, max(buckets.values()) / self.seconds, quantile(buckets, 0.5), quantile(buckets, 0.99))
            for operation, buckets in grown.items()
            if max(buckets.values()) > 0
        ]
        return sorted(found, key=lambda latency: -latency.rate)


def quantile(buckets: Mapping[float, float], share: float) -> float:
    """A quantile out of cumulative buckets, by interpolation within one, as Prometheus does it."""
    bounds = sorted(buckets)
    wanted = share * buckets[bounds[-1]]
    below, start = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted:
            if math.isinf(bound):
                return start
            inside = buckets[bound] - below
            return start + (bound - start) * ((wanted - below) / inside if inside else 1.0)
        below, start = buckets[bound], bound
    return start


def sparkline(values: Iterable[float], width: int) -> str:
    """The last `width` values as a line of blocks, the highest one full."""
    shown = list(values)[-width:] if width > 0 else []
    top = max(shown, default=0.0)
    blocks = " ▁▂▃▄▅▆▇█"
    return "".join(blocks[math.ceil(value / top * (len(blocks) - 1))] if top else blocks[0] for value in shown)
