"""JSON in and out. Bytes, pages and offsets are integers; MiB, percentages and ratios are for people."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field
from pydantic.json_schema import SkipJsonSchema

from app.page.address import check_extent
from app.pool.numbers import PoolNumbers, Readiness, Shrunk
from app.settings import MIB

# Said, not checked: an answer is not refused for a number that is odd.
Count = Annotated[int, Field(json_schema_extra={"minimum": 0})]

ExtentPair = Annotated[
    list[int],
    Field(
        min_length=2,
        max_length=2,
        json_schema_extra={"items": {"type": "integer", "minimum": 0, "maximum": 1 << 51}},
    ),
]
"""`[offset, count]`; whether it lies inside a type is checked by `ExtentList.checked`."""


class Schema(BaseModel):
    """What all of them share."""

    model_config = ConfigDict(frozen=True, strict=True)


def example(**fields: Any) -> ConfigDict:
    """The configuration of a schema, with one example for the API's description."""
    return ConfigDict(frozen=True, strict=True, populate_by_name=True, json_schema_extra={"examples": [fields]})


def mib(length: int) -> float:
    """Bytes as MiB, to two places."""
    return round(length / MIB, 2)


def ratio(logical_bytes: int, pool_bytes: int) -> float | None:
    """What the pool saves; None if it holds no byte."""
    return round(logical_bytes / pool_bytes, 3) if pool_bytes else None


class Problem(BaseModel):
    """An error (RFC 9457). Members that do not apply are left out."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:pagepool:error:type_unknown",
                    "title": "Type unknown",
                    "status": 404,
                    "detail": "Type 7 holds no page and has no configuration.",
                    "code": "type_unknown",
                }
            ]
        },
    )

    type: Annotated[str, Field(description="urn:pagepool:error: and the code.")]
    title: str
    status: int
    detail: str
    code: Annotated[str, Field(description="A stable word for programs.")]
    previous: Annotated[
        Literal["kept", "invalidated", "unknown"] | SkipJsonSchema[None],
        Field(description="Errors of a store: what became of what was there before."),
    ] = None
    missing: Annotated[
        list[ExtentPair] | SkipJsonSchema[None], Field(description="Runs of absent pages: [offset, count] each.")
    ] = None
    stored: Annotated[
        int | SkipJsonSchema[None], Field(description="Pages of a partly refused extent that were stored.")
    ] = None
    rejected: Annotated[
        list[ExtentPair] | SkipJsonSchema[None], Field(description="Runs of refused pages: [offset, count] each.")
    ] = None
    lost_nodes: Annotated[
        list[str] | SkipJsonSchema[None], Field(description="Masters of a cluster that do not answer.")
    ] = None


class ExtentList(Schema):
    """Extents of one type: `[offset, count]` each."""

    model_config = example(extents=[[0, 512], [4096, 1]])

    extents: Annotated[list[ExtentPair], FailFast()]

    def checked(self, page_size: int) -> list[tuple[int, int]]:
        """The extents as (offset, count).

        Raises:
            BadAddress: one is empty or does not lie inside a type.
        """
        extents = [(offset, count) for offset, count in self.extents]
        for offset, count in extents:
            check_extent(offset, count, page_size)
        return extents


class Invalidated(Schema):
    """How many pages were there, and are gone."""

    model_config = example(invalidated=513)

    invalidated: Count


class Zeroed(Schema):
    """How many pages are zero pages now."""

    model_config = example(zeroed=513)

    zeroed: Count


class ShrinkOrder(Schema):
    """How much to free."""

    model_config = example(bytes=67108864)

    bytes: Annotated[int, Field(ge=1, le=(1 << 63) - 1, description="Bytes of blobs to free.")]


class ShrinkResult(Schema):
    """What a shrink took; it may have freed less than was asked for."""

    model_config = example(evicted_pages=24576, expired_pages=0, freed_bytes=67109120)

    evicted_pages: Count
    expired_pages: Count
    freed_bytes: Count

    @classmethod
    def of(cls, shrunk: Shrunk) -> Self:
        """The answer to an order."""
        return cls(
            evicted_pages=shrunk.evicted_pages, expired_pages=shrunk.expired_pages, freed_bytes=shrunk.freed_bytes
        )


class PoolSummary(Schema):
    """The pool in human terms."""

    model_config = example(
        page_size=4096,
        max_extent_pages=512,
        state="open",
        pool_bytes=10737418,
        pool_mib=10.24,
        limit_bytes=33554432,
        limit_mib=32.0,
        limit_used_percent=32.0,
        logical_bytes=33554432,
        logical_mib=32.0,
        saved_mib=21.76,
        compression_ratio=3.125,
        stored_pages=8192,
        zero_pages=1400,
        same_filled_pages=293,
        compressed_pages=6099,
        incompressible_pages=400,
        zero_share_percent=17.09,
        hit_rate=0.97,
        redis_used_memory_bytes=14680064,
        evicted_pages=0,
        expired_pages=0,
        reclaim_failures=0,
    )

    page_size: Annotated[int, Field(description="Bytes in a page.")]
    max_extent_pages: Annotated[int, Field(description="Pages in one request at most.")]
    state: Annotated[Literal["open", "closed"], Field(description="closed: only zero pages are stored.")]
    pool_bytes: Annotated[Count, Field(description="Bytes of all blobs.")]
    pool_mib: float
    limit_bytes: Annotated[Count, Field(description="max_pool_bytes; 0: no limit.")]
    limit_mib: float
    limit_used_percent: Annotated[float | None, Field(description="null without a limit.")]
    logical_bytes: Annotated[Count, Field(description="stored_pages × page_size.")]
    logical_mib: float
    saved_mib: Annotated[float, Field(description="logical_mib less pool_mib; below 0 if envelopes outweigh gains.")]
    compression_ratio: Annotated[float | None, Field(description="logical_bytes / pool_bytes; null if that is 0.")]
    stored_pages: Count
    zero_pages: Count
    same_filled_pages: Count
    compressed_pages: Count
    incompressible_pages: Count
    zero_share_percent: float
    hit_rate: Annotated[
        float | None,
        Field(description="Loads that hit / loads, in pages, since the service started; null before any load."),
    ]
    redis_used_memory_bytes: Count
    evicted_pages: Annotated[Count, Field(description="Pages that went to make room, since the pool was made.")]
    expired_pages: Annotated[Count, Field(description="Pages that went after their time to live, likewise.")]
    reclaim_failures: Annotated[Count, Field(description="Times that less room was made than wanted, likewise.")]

    @classmethod
    def of(cls, numbers: PoolNumbers, *, page_size: int, max_extent_pages: int, hit_rate: float | None) -> Self:
        """The summary of a pool."""
        logical = numbers.stored_pages * page_size
        limit = numbers.limit_bytes
        return cls(
            page_size=page_size,
            max_extent_pages=max_extent_pages,
            state="closed" if numbers.is_full else "open",
            pool_bytes=numbers.pool_bytes,
            pool_mib=mib(numbers.pool_bytes),
            limit_bytes=limit,
            limit_mib=mib(limit),
            limit_used_percent=round(100 * numbers.pool_bytes / limit, 2) if limit else None,
            logical_bytes=logical,
            logical_mib=mib(logical),
            saved_mib=mib(logical - numbers.pool_bytes),
            compression_ratio=ratio(logical, numbers.pool_bytes),
            stored_pages=numbers.stored_pages,
            zero_pages=numbers.zero_pages,
            same_filled_pages=numbers.same_filled_pages,
            compressed_pages=numbers.compressed_pages,
            incompressible_pages=numbers.incompressible_pages,
            zero_share_percent=round(100 * numbers.zero_pages / (numbers.stored_pages or 1), 2),
            hit_rate=hit_rate,
            redis_used_memory_bytes=numbers.redis_used_memory_bytes,
            evicted_pages=numbers.evicted_pages,
            expired_pages=numbers.expired_pages,
            reclaim_failures=numbers.reclaim_failures,
        )


class Liveness(Schema):
    """The process runs."""

    model_config = example(status="ok")

    status: Literal["ok"] = "ok"


class Ready(Schema):
    """The pool can serve; on a cluster, which masters cannot be reached."""

    model_config = example(status="ready", lost_nodes=[])

    status: Literal["ready"] = "ready"
    lost_nodes: list[str]

    @classmethod
    def of(cls, readiness: Readiness) -> Self:
        """The answer of a pool that is ready."""
        return cls(lost_nodes=list(readiness.lost_nodes))
