"""Counting, nearly for free: each worker adds to cells of its own, a scrape adds the workers up.

Under `pagepool serve` the cells of all workers lie in one shared mapping, a region for each, so that a scrape answered
by any worker tells of all. prometheus_client only renders: its own multi-process mode costs as much as a small GET.

    telemetry.cells[STORES + kind] += pages
    telemetry.observe(redis_series(RedisOperation.LOAD), seconds)

What is counted, and where, stands in `app.telemetry_cells`.
"""

from __future__ import annotations

import mmap
import os
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from app import telemetry_cells as cells_of
from app.pool.numbers import PoolNumbers
from app.telemetry_cells import BOUNDS_SECONDS, CELL_BYTES, CELL_COUNT, LOADS, LOADS_MISS, SPAN, Operation

_REGION_BYTES = -(-CELL_COUNT * CELL_BYTES // 64) * 64  # whole cache lines: workers do not share any
_LABELS_OF_BOUNDS = [*map(floatToGoString, BOUNDS_SECONDS), "+Inf"]
OPENMETRICS_TYPE = "application/openmetrics-text"
_NO_WEIGHT = re.compile(r"q\s*=\s*0(?:\.0*)?")


def shared_bytes(workers: int) -> int:
    """Length of the file that `workers` workers count in."""
    return _REGION_BYTES * workers


def _accepts_openmetrics(accept: str) -> bool:
    """Whether an Accept header names it, and not to say that it is unwelcome (RFC 9110, 12.4.2)."""
    for part in accept.lower().split(","):
        media_type, *parameters = (text.strip() for text in part.split(";"))
        if media_type == OPENMETRICS_TYPE:
            return not any(_NO_WEIGHT.fullmatch(parameter) for parameter in parameters)
    return False


def _observer(cells: memoryview[float]) -> Callable[[int, float], None]:
    # A closure, not a method: it runs once a request, and saves a quarter of the time.
    def observe(series: int, seconds: float) -> None:
        cells[series + bisect_left(BOUNDS_SECONDS, seconds)] += 1.0
        cells[series + SPAN - 1] += seconds

    return observe


def _observer_of_many(cells: memoryview[float]) -> Callable[[int, float, int], None]:
    def observe_many(series: int, seconds: float, count: int) -> None:
        cells[series + bisect_left(BOUNDS_SECONDS, seconds)] += count
        cells[series + SPAN - 1] += seconds * count

    return observe_many


class Telemetry:
    """One worker's cells, and sight of those of all."""

    __slots__ = ("_mapping", "_regions", "cells", "observe", "observe_many")

    cells: memoryview[float]
    """This worker's cells, `CELL_COUNT` doubles; nobody else writes them."""

    observe: Callable[[int, float], None]
    """Put one duration (seconds) into the histogram series that starts at the given cell."""

    observe_many: Callable[[int, float, int], None]
    """Put one duration so many times, for what began and ended together."""

    def __init__(self, fd: int | None = None, worker_index: int = 0, workers: int = 1) -> None:
        """Map the regions of all workers, or private memory if there is no `fd`.

        A worker that is restarted goes on counting in its region, so counters never go back; only its gauges, which
        died with it, start from 0.

        Args:
            fd: an open file of at least `shared_bytes(workers)` bytes; the caller may close it afterwards.
            worker_index: which region is this worker's: 0 … workers - 1.
            workers: how many regions there are.

        Raises:
            ValueError: the index is out of range, or the file too short.
        """
        if not 0 <= worker_index < workers:
            raise ValueError(f"worker_index {worker_index} is not in 0 … {workers - 1}")
        size = shared_bytes(workers)
        if fd is not None and os.fstat(fd).st_size < size:
            raise ValueError(f"the telemetry file is shorter than {size} bytes")
        self._mapping = mmap.mmap(-1 if fd is None else fd, size)
        whole = memoryview(self._mapping)
        self._regions = [
            whole[start : start + CELL_COUNT * CELL_BYTES].cast("d") for start in range(0, size, _REGION_BYTES)
        ]
        self.cells = self._regions[worker_index]
        for gauge in cells_of.WORKER_GAUGES:
            self.cells[gauge.index] = 0.0
        self.cells[cells_of.PARAMETERS_VERSION] = cells_of.UNREAD
        self.cells[cells_of.POLICIES_VERSION] = cells_of.UNREAD
        self.observe = _observer(self.cells)
        self.observe_many = _observer_of_many(self.cells)

    def observe_request(self, operation: Operation, status: int, seconds: float) -> None:
        """Put one answered request into `pagepool_request_seconds`."""
        self.observe(cells_of.request_series(operation, status), seconds)

    def totals(self) -> list[float]:
        """The cells of all workers, added up: `CELL_COUNT` numbers."""
        return list(map(sum, zip(*(region.tolist() for region in self._regions), strict=True)))

    def column(self, index: int) -> list[float]:
        """One cell of every worker."""
        return [region[index] for region in self._regions]

    def hit_rate(self) -> float | None:
        """Loads that hit / loads, in pages, over all workers since the service started; None before any load."""
        hits, misses = 0.0, 0.0
        for region in self._regions:
            hits += sum(region[LOADS:LOADS_MISS])
            misses += region[LOADS_MISS]
        return hits / (hits + misses) if hits or misses else None

    def render(self, accept: str, numbers: PoolNumbers | None, page_size: int) -> tuple[bytes, str]:
        """The body and media type of a scrape.

        Args:
            accept: the request's Accept header; OpenMetrics if it names it, Prometheus's text format 0.0.4 otherwise.
            numbers: the pool's truth, or None while Redis is away: then its gauges are left out.
            page_size: bytes in a page.
        """
        scrape = _Scrape(self.totals(), numbers, page_size)
        if _accepts_openmetrics(accept):
            body: bytes = openmetrics.generate_latest(scrape)  # type: ignore[no-untyped-call]
            return body, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(scrape), CONTENT_TYPE_PLAIN_0_0_4

    def close(self) -> None:
        """Let go of the mapping; nothing can be counted afterwards."""
        for region in self._regions:
            region.release()
        self._regions = []


class _Scrape(Collector):
    """What prometheus_client renders: one look at all cells."""

    def __init__(self, totals: list[float], numbers: PoolNumbers | None, page_size: int) -> None:
        self._totals = totals
        self._numbers = numbers
        self._page_size = page_size

    def collect(self) -> Iterator[Metric]:
        yield from self._pool_gauges()
        for kind, family in ((cells_of.WORKER_GAUGES, GaugeMetricFamily), (cells_of.COUNTERS, CounterMetricFamily)):
            for series in kind:
                metric = family(series.name, series.help, labels=[series.label] if series.label else [])
                for index, value in enumerate(series.values, series.index):
                    metric.add_metric([value] if series.label else [], self._totals[index])
                yield metric
        yield self._histogram(
            cells_of.REQUEST_SECONDS_NAME,
            cells_of.REQUEST_SECONDS_HELP,
            ["operation", "status_class"],
            (
                (cells_of.request_series(operation, int(class_[0]) * 100), [operation.name.lower(), class_])
                for operation in Operation
                for class_ in cells_of.STATUS_CLASSES
            ),
        )
        yield self._histogram(
            cells_of.REDIS_SECONDS_NAME,
            cells_of.REDIS_SECONDS_HELP,
            ["operation"],
            ((cells_of.redis_series(operation), [operation.name.lower()]) for operation in cells_of.RedisOperation),
        )

    def _pool_gauges(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(*cells_of.REDIS_UP, value=float(self._numbers is not None))
        if self._numbers is None:
            return
        yield GaugeMetricFamily(*cells_of.LOGICAL_BYTES, value=self._numbers.stored_pages * self._page_size)
        for name, help_, property_ in cells_of.POOL_GAUGES:
            yield GaugeMetricFamily(name, help_, value=float(getattr(self._numbers, property_)))
        for name, help_, property_ in cells_of.POOL_COUNTERS:
            yield CounterMetricFamily(name, help_, value=float(getattr(self._numbers, property_)))

    def _histogram(
        self, name: str, help_: str, labels: list[str], series: Iterable[tuple[int, list[str]]]
    ) -> HistogramMetricFamily:
        metric = HistogramMetricFamily(name, help_, labels=labels)
        for index, values in series:
            counts = accumulate(self._totals[index : index + SPAN - 1])
            metric.add_metric(
                values,
                buckets=list(zip(_LABELS_OF_BOUNDS, counts, strict=True)),
                sum_value=self._totals[index + SPAN - 1],
            )
        return metric
