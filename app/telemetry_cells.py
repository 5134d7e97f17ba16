"""Every metric, a line of help each, and the cell in which a worker counts it.

A worker's region is one array of doubles (exact up to 2^53). Counters come first, one cell a series; then the worker's
gauges; then the histograms, one span of cells a series:

    ┌──────────┬────────┬───────────────────────────────┬─────────────────────┐
    │ counters │ gauges │ pagepool_request_seconds      │ pagepool_redis_…    │
    └──────────┴────────┴──┬────────────────────────────┴─────────────────────┘
                           └ a series: events ≤ bound 0, ≤ bound 1, …, above all bounds, sum of seconds

The names below are indices: `cells[STORES + Kind.ZERO] += 1`, `cells[LOADS_MISS] += 1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

CELL_BYTES = 8

BOUNDS_SECONDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
)  # fmt: skip
SPAN = len(BOUNDS_SECONDS) + 2
STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx")


class Operation(IntEnum):
    """What a request asked for; one series of `pagepool_request_seconds` for each and each class of status."""

    LOAD = 0
    STORE = 1
    HEAD = 2
    INVALIDATE = 3
    TAKE = 4
    ZERO = 5
    FRAMES_LOAD = 6
    FRAMES_STORE = 7
    IMAGE_READ = 8
    IMAGE_WRITE = 9
    TYPES = 10
    POOL = 11
    PARAMETERS = 12
    METRICS = 13
    HEALTH = 14
    OTHER = 15


class RedisOperation(IntEnum):
    """What was asked of Redis; one series of `pagepool_redis_seconds` for each."""

    LOAD = 0
    STORE = 1
    INVALIDATE = 2
    TAKE = 3
    ZERO = 4
    TOTALS = 5
    TYPES = 6
    ALLOCATION = 7
    PARAMETERS = 8
    OTHER = 9


@dataclass(frozen=True, slots=True)
class Series:
    """A metric whose cells, one for each value of its only label, start at `index`."""

    name: str
    help: str
    label: str | None
    values: tuple[str, ...]
    index: int


COUNTERS: list[Series] = []
WORKER_GAUGES: list[Series] = []


def _place(kind: list[Series], name: str, help_: str, label: str | None = None, values: tuple[str, ...] = ("",)) -> int:
    index = sum(len(series.values) for series in (*COUNTERS, *WORKER_GAUGES))
    kind.append(Series(name, help_, label, values, index))
    return index


# Counters; prometheus_client adds "_total" to their names. Pages, where nothing else is said.
STORES = _place(COUNTERS, "pagepool_stores", "Pages stored, by kind.", "kind", ("zero", "same", "compressed", "raw"))
LOADS = _place(
    COUNTERS,
    "pagepool_loads",
    "Pages asked for, by what was found.",
    "result",
    ("hit_zero", "hit_same", "hit_compressed", "hit_raw", "miss"),
)
LOADS_MISS = LOADS + 4
INVALIDATES = _place(COUNTERS, "pagepool_invalidates", "Pages removed on request; those that a take removed included.")
POOL_LIMIT_HIT = _place(
    COUNTERS, "pagepool_pool_limit_hit", "Pages refused because pool_bytes had reached max_pool_bytes."
)
REJECTS = _place(
    COUNTERS,
    "pagepool_rejects",
    "Pages refused, by reason.",
    "reason",
    ("pool_full", "metadata_full", "disabled", "redis_oom", "compress_fail", "type_full"),
)
REJECTS_POOL_FULL = REJECTS
REJECTS_METADATA_FULL = REJECTS + 1
REJECTS_DISABLED = REJECTS + 2
REJECTS_REDIS_OOM = REJECTS + 3
REJECTS_COMPRESS_FAIL = REJECTS + 4
REJECTS_TYPE_FULL = REJECTS + 5
DECODE_FAILURES = _place(COUNTERS, "pagepool_decode_failures", "Blobs that failed their check when loaded.")
OVERLOADED = _place(COUNTERS, "pagepool_overloaded", "Requests refused because a bound on work in flight was reached.")
REDIS_CONNECTIONS = _place(COUNTERS, "pagepool_redis_connections", "Connections to Redis opened, the first included.")

# Gauges that each worker keeps and a scrape adds up; a worker that starts sets its own to 0.
CONNECTIONS = _place(WORKER_GAUGES, "pagepool_connections", "Client connections open.")
REQUESTS_IN_FLIGHT = _place(WORKER_GAUGES, "pagepool_requests_in_flight", "Requests being worked on.")

REQUEST_SECONDS = WORKER_GAUGES[-1].index + 1
REQUEST_SECONDS_NAME = "pagepool_request_seconds"
REQUEST_SECONDS_HELP = "Seconds from a request's head to the end of its answer, by operation and class of status."
REDIS_SECONDS = REQUEST_SECONDS + len(Operation) * len(STATUS_CLASSES) * SPAN
REDIS_SECONDS_NAME = "pagepool_redis_seconds"
REDIS_SECONDS_HELP = "Seconds from a command's writing to its reply, by operation."
PARAMETERS_VERSION = REDIS_SECONDS + len(RedisOperation) * SPAN
"""Not a metric: the version of the tunables that the worker goes by; UNREAD until it has read them."""
UNREAD = 0.0
POLICIES_VERSION = PARAMETERS_VERSION + 1
"""Not a metric: the version of the types' policies that the worker goes by; UNREAD until it has read them."""
GATE_CHANGES = POLICIES_VERSION + 1
"""Not a metric: how often the worker has opened or closed the pool or a type, so that the others look again."""
CONNECTIONS_HELD = GATE_CHANGES + 1
"""Not a metric: the client connections that the worker holds, those in a TLS handshake included, as it last said."""
CELL_COUNT = CONNECTIONS_HELD + 1

# Gauges that are the pool's truth: the property of `PoolNumbers` that each shows. Left out while Redis is away.
POOL_GAUGES = (
    ("pagepool_pool_bytes", "Bytes of all blobs stored, envelopes included.", "pool_bytes"),
    ("pagepool_pool_limit_bytes", "max_pool_bytes; 0: no limit.", "limit_bytes"),
    ("pagepool_stored_pages", "Pages present, of every kind.", "stored_pages"),
    ("pagepool_zero_pages", "Pages present whose bytes are all 0.", "zero_pages"),
    ("pagepool_same_filled_pages", "Pages present that repeat one word that is not 0.", "same_filled_pages"),
    ("pagepool_incompressible_pages", "Pages present that are kept as they came.", "incompressible_pages"),
    ("pagepool_pool_full", "1 while the pool is closed to pages that are not zero.", "is_full"),
    ("pagepool_redis_used_memory_bytes", "Bytes that Redis uses, all of its keys included.", "redis_used_memory_bytes"),
)
POOL_COUNTERS = (
    ("pagepool_evicted_pages", "Pages that went to make room, since the pool was made.", "evicted_pages"),
    ("pagepool_expired_pages", "Pages that went after their time to live, since the pool was made.", "expired_pages"),
    ("pagepool_reclaim_failures", "Times that less room was made than wanted.", "reclaim_failures"),
)
"""As the gauges: the pool's truth; prometheus_client adds "_total" to their names."""
LOGICAL_BYTES = ("pagepool_logical_bytes", "Bytes that the pages present stand for: stored_pages × page_size.")
REDIS_UP = ("pagepool_redis_up", "1 if Redis answered this scrape.")


_REQUEST_SERIES: tuple[tuple[int, ...], ...] = tuple(
    tuple(
        REQUEST_SECONDS + (operation * len(STATUS_CLASSES) + class_) * SPAN
        # A status below 200 never ends a request; it would fall to the first class.
        for class_ in (0, 0, *range(len(STATUS_CLASSES)))
    )
    for operation in range(len(Operation))
)


def request_series(operation: Operation, status: int) -> int:
    """The first cell of the series of `pagepool_request_seconds` for an answer with this status, 200 … 599."""
    return _REQUEST_SERIES[operation][status // 100]


def redis_series(operation: RedisOperation) -> int:
    """The first cell of the series of `pagepool_redis_seconds` for this operation."""
    return REDIS_SECONDS + int(operation) * SPAN
