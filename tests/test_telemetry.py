"""Cells of several workers in one mapping, added up and rendered."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.page.classify import Kind
from app.telemetry import Telemetry, shared_bytes
from app.telemetry_cells import (
    BOUNDS_SECONDS,
    CELL_COUNT,
    CONNECTIONS_HELD,
    COUNTERS,
    DECODE_FAILURES,
    GATE_CHANGES,
    LOADS,
    LOADS_MISS,
    PARAMETERS_VERSION,
    POLICIES_VERSION,
    REQUESTS_IN_FLIGHT,
    SPAN,
    STORES,
    WORKER_GAUGES,
    Operation,
    RedisOperation,
    redis_series,
    request_series,
)
from app.telemetry_logging import REQUEST_ID, JsonFormatter

ROOT = Path(__file__).parent.parent
WORKERS = 2

# A process of its own, as a worker is: it counts, and is gone without a goodbye.
WORKER = """
import os, sys
from app.telemetry import Telemetry
from app.telemetry_cells import LOADS_MISS, REQUESTS_IN_FLIGHT, RedisOperation, redis_series
telemetry = Telemetry(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
for _ in range(1000):
    telemetry.cells[LOADS_MISS] += 1
    telemetry.observe(redis_series(RedisOperation.LOAD), 0.25)
telemetry.cells[REQUESTS_IN_FLIGHT] += 5
os._exit(0)
"""


@pytest.fixture
def shared_file() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        file.truncate(shared_bytes(WORKERS))
        yield file


def run_worker(fd: int, index: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(fd), str(index), str(WORKERS)], pass_fds=[fd], cwd=ROOT)


def samples(telemetry: Telemetry) -> dict[str, float]:
    """Samples by their text without the value."""
    text, _ = telemetry.render("", None, 4096)
    lines = (line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_processes_count_side_by_side_and_any_of_them_tells_of_all(shared_file: IO[bytes]) -> None:
    """Each worker has a region; a scrape answered by either adds both."""
    workers = [run_worker(shared_file.fileno(), index) for index in range(WORKERS)]
    assert [worker.wait() for worker in workers] == [0, 0]
    for index in range(WORKERS):
        totals = Telemetry(shared_file.fileno(), index, WORKERS).totals()
        assert totals[LOADS_MISS] == 2000
        assert totals[redis_series(RedisOperation.LOAD) + SPAN - 1] == 500


def test_a_restarted_worker_goes_on_counting(shared_file: IO[bytes]) -> None:
    """Counters never go back; the gauges of a worker that died are 0 when its successor starts."""
    for round_ in (1, 2):
        assert run_worker(shared_file.fileno(), 1).wait() == 0
        seen = samples(Telemetry(shared_file.fileno(), 0, WORKERS))
        assert seen['pagepool_loads_total{result="miss"}'] == 1000 * round_
        assert seen["pagepool_requests_in_flight"] == 5


def test_every_series_exists_from_the_start() -> None:
    """All counters and histograms are there with 0, and carry their help."""
    text = Telemetry().render("", None, 4096)[0].decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(family.documentation for family in families.values())
    assert all(sample.value == 0 for family in families.values() for sample in family.samples)
    for operation in Operation:
        for class_ in ("2xx", "3xx", "4xx", "5xx"):
            labels = f'operation="{operation.name.lower()}",status_class="{class_}"'
            assert f"pagepool_request_seconds_count{{{labels}}} 0.0" in text
    for redis_operation in RedisOperation:
        assert f'pagepool_redis_seconds_sum{{operation="{redis_operation.name.lower()}"}} 0.0' in text


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("pagepool_stores_total", "kind", ["zero", "same", "compressed", "raw"]),
        ("pagepool_loads_total", "result", ["hit_zero", "hit_same", "hit_compressed", "hit_raw", "miss"]),
        ("pagepool_invalidates_total", None, []),
        ("pagepool_pool_limit_hit_total", None, []),
        ("pagepool_rejects_total", "reason", ["pool_full", "metadata_full", "disabled", "redis_oom", "compress_fail"]),
        ("pagepool_decode_failures_total", None, []),
    ],
)
def test_counters_have_the_names_of_the_contract(name: str, label: str | None, values: list[str]) -> None:
    """Names, labels and label values, letter by letter."""
    seen = samples(Telemetry())
    if label is None:
        assert name in seen
    for value in values:
        assert f'{name}{{{label}="{value}"}}' in seen


def test_kinds_are_offsets_into_their_series() -> None:
    """`STORES + kind` and `LOADS + kind` count in the series of that kind."""
    telemetry = Telemetry()
    for kind in Kind:
        telemetry.cells[STORES + kind] += 1 + kind
        telemetry.cells[LOADS + kind] += 10 + kind
    seen = samples(telemetry)
    for kind in Kind:
        assert seen[f'pagepool_stores_total{{kind="{kind.word}"}}'] == 1 + kind
        assert seen[f'pagepool_loads_total{{result="hit_{kind.word}"}}'] == 10 + kind


def test_no_two_series_share_a_cell() -> None:
    """Counters, gauges and histograms lie side by side, and fill the region."""
    taken = [series.index + at for series in (*COUNTERS, *WORKER_GAUGES) for at in range(len(series.values))]
    taken += [PARAMETERS_VERSION, POLICIES_VERSION, GATE_CHANGES, CONNECTIONS_HELD]
    starts = [request_series(operation, status) for operation in Operation for status in (200, 304, 404, 507)]
    starts += [redis_series(operation) for operation in RedisOperation]
    taken += [start + at for start in starts for at in range(SPAN)]
    assert sorted(taken) == list(range(CELL_COUNT))


def test_durations_fall_into_the_bucket_that_bounds_them() -> None:
    """A bound belongs to its bucket; buckets add up from below; the sum is of seconds."""
    telemetry = Telemetry()
    series = request_series(Operation.LOAD, 200)
    for seconds in (0.0, BOUNDS_SECONDS[0], BOUNDS_SECONDS[0] * 1.01, 0.02, 100.0):
        telemetry.observe(series, seconds)
    seen = samples(telemetry)
    labels = 'operation="load",status_class="2xx"'
    counts = [
        seen[f'pagepool_request_seconds_bucket{{le="{le}",{labels}}}'] for le in ("5e-05", "0.0001", "0.025", "+Inf")
    ]
    assert counts == [2, 3, 4, 5]
    assert seen[f"pagepool_request_seconds_count{{{labels}}}"] == 5
    assert seen[f"pagepool_request_seconds_sum{{{labels}}}"] == pytest.approx(100.0201005)


def test_hit_rate_is_over_all_workers(shared_file: IO[bytes]) -> None:
    """Pages found / pages asked for; None before the first."""
    first, second = (Telemetry(shared_file.fileno(), index, WORKERS) for index in range(WORKERS))
    assert first.hit_rate() is None
    first.cells[LOADS + Kind.RAW] += 3
    second.cells[LOADS_MISS] += 1
    assert first.hit_rate() == second.hit_rate() == 0.75


def test_wrong_regions_are_refused(shared_file: IO[bytes]) -> None:
    """A worker cannot count beyond the file, or in a region that there is not."""
    with pytest.raises(ValueError, match="worker_index"):
        Telemetry(shared_file.fileno(), WORKERS, WORKERS)
    with pytest.raises(ValueError, match="shorter"):
        Telemetry(shared_file.fileno(), 0, WORKERS + 1)


def test_cells_are_gone_after_close() -> None:
    """Nothing is counted into a mapping that was let go."""
    telemetry = Telemetry()
    telemetry.cells[DECODE_FAILURES] += 1
    telemetry.close()
    with pytest.raises(ValueError, match="released"):
        telemetry.cells[REQUESTS_IN_FLIGHT] += 1


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "pagepool.test", "levelname": "INFO", "msg": message, "args": arguments})
    made.__dict__.update(extra)
    return made


def test_a_log_line_is_one_line_of_json() -> None:
    """Whatever a message contains, it cannot break or forge a line."""
    text = JsonFormatter().format(
        record("a\n%s", 'b"}\r\n{"level": "error"\u2028', fields={"status": 200}, request_id="r-1")
    )
    assert len(text.splitlines()) == 1
    assert text.isascii()
    line = json.loads(text)
    assert (line["level"], line["logger"], line["status"], line["request_id"]) == ("info", "pagepool.test", 200, "r-1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])


def test_the_request_id_of_the_task_is_carried() -> None:
    """A line logged while a request is worked on bears its id, unless it names another."""
    token = REQUEST_ID.set("of-the-task")
    try:
        assert json.loads(JsonFormatter().format(record("x")))["request_id"] == "of-the-task"
        assert json.loads(JsonFormatter().format(record("x", request_id="own")))["request_id"] == "own"
    finally:
        REQUEST_ID.reset(token)
    assert "request_id" not in json.loads(JsonFormatter().format(record("x")))


def test_long_messages_are_cut() -> None:
    """A library that quotes what it sent does not spill pages into the log."""
    failure = RuntimeError("x" * 100_000)
    text = JsonFormatter().format(record("y" * 100_000, exc_info=(RuntimeError, failure, None)))
    assert len(text) < 10_000
    assert json.loads(text)["traceback"][0].startswith("RuntimeError: xxx")
