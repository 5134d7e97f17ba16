"""JSON of the calls on types: counts, allocation map, cell map."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal, Self

from pydantic import Field

from app.api.schemas import Count, Schema, example, ratio
from app.pool.numbers import Allocation, Cell, Idleness, State, TypeConfiguration, TypeNumbers


class Ages(Schema):
    """Pages by how long nothing was done with them."""

    minute: Annotated[Count, Field(description="For a minute or longer.")]
    hour: Count
    day: Count


class Idle(Schema):
    """How long ago the pages of a type were stored, and touched: stored or loaded."""

    pages: Annotated[Count, Field(description="Pages looked at: all, or the first million or so.")]
    not_stored_for: Ages
    not_touched_for: Ages

    @classmethod
    def of(cls, idleness: Idleness) -> Self:
        """The figures of a type."""
        return cls(
            pages=idleness.pages,
            not_stored_for=Ages(**idleness.not_stored_for),
            not_touched_for=Ages(**idleness.not_touched_for),
        )


class TypeSummary(Schema):
    """One type: what it holds, and its configuration."""

    model_config = example(
        type=1,
        stored_pages=8192,
        zero_pages=1400,
        same_filled_pages=293,
        compressed_pages=6099,
        incompressible_pages=400,
        pool_bytes=10737418,
        logical_bytes=33554432,
        compression_ratio=3.125,
        configuration={"max_pool_bytes": 33554432, "eviction": "second-chance"},
        state="open",
        evicted_pages=512,
        expired_pages=0,
        reclaim_failures=0,
        idle={
            "pages": 8192,
            "not_stored_for": {"minute": 8000, "hour": 4096, "day": 0},
            "not_touched_for": {"minute": 6000, "hour": 1024, "day": 0},
        },
    )

    type: int
    stored_pages: Count
    zero_pages: Count
    same_filled_pages: Count
    compressed_pages: Count
    incompressible_pages: Count
    pool_bytes: Annotated[Count, Field(description="Bytes of the type's blobs.")]
    logical_bytes: Annotated[Count, Field(description="stored_pages × page_size.")]
    compression_ratio: Annotated[float | None, Field(description="logical_bytes / pool_bytes; null if that is 0.")]
    configuration: TypeConfiguration
    state: Annotated[Literal["open", "closed"], Field(description="closed by the type's own limit.")]
    evicted_pages: Annotated[Count, Field(description="Pages that went to make room.")]
    expired_pages: Annotated[Count, Field(description="Pages that went after their time to live.")]
    reclaim_failures: Annotated[Count, Field(description="Times that less room was made than wanted.")]
    idle: Annotated[
        Idle | None,
        Field(description="Of types with a limit, eviction or a time to live; null in lists, and for other types."),
    ]

    @classmethod
    def of(cls, numbers: TypeNumbers, *, page_size: int) -> Self:
        """The summary of a type."""
        logical = numbers.stored_pages * page_size
        return cls(
            type=numbers.type,
            stored_pages=numbers.stored_pages,
            zero_pages=numbers.zero_pages,
            same_filled_pages=numbers.same_filled_pages,
            compressed_pages=numbers.compressed_pages,
            incompressible_pages=numbers.incompressible_pages,
            pool_bytes=numbers.pool_bytes,
            logical_bytes=logical,
            compression_ratio=ratio(logical, numbers.pool_bytes),
            configuration=numbers.configuration,
            state="closed" if numbers.is_full else "open",
            evicted_pages=numbers.evicted_pages,
            expired_pages=numbers.expired_pages,
            reclaim_failures=numbers.reclaim_failures,
            idle=None if numbers.idleness is None else Idle.of(numbers.idleness),
        )


class TypeList(Schema):
    """Types in ascending order."""

    types: list[TypeSummary]
    next: Annotated[int | None, Field(description="Pass it as `after` for the rest; null: there is none.")]

    @classmethod
    def of(cls, types: list[TypeNumbers], *, limit: int, page_size: int) -> Self:
        """One page of the list, from up to `limit` + 1 types: the last one only tells that there are more."""
        shown = [TypeSummary.of(numbers, page_size=page_size) for numbers in types[:limit]]
        return cls(types=shown, next=shown[-1].type if len(types) > limit else None)


class ExtentRun(Schema):
    """A run of pages of one state."""

    offset: int
    count: int
    state: Annotated[State, Field(description="data: pages that are not zero; zero: zero pages; hole: no pages.")]


class TypeExtents(Schema):
    """The allocation map of a range: adjacent runs of one state are merged."""

    model_config = example(
        **{
            "type": 1,
            "from": 0,
            "count": 1024,
            "until": 1024,
            "extents": [
                {"offset": 0, "count": 512, "state": "data"},
                {"offset": 512, "count": 512, "state": "hole"},
            ],
        }
    )

    type: int
    from_: Annotated[int, Field(alias="from", description="First page of the range asked for.")]
    count: Annotated[int, Field(description="Pages in the range asked for.")]
    until: Annotated[int, Field(description="First page not covered: ask on from here if it is below from + count.")]
    extents: list[ExtentRun]

    @classmethod
    def of(cls, type_: int, from_: int, count: int, allocation: Allocation) -> Self:
        """The answer to a question for `count` pages from `from_`."""
        runs = [ExtentRun(offset=offset, count=pages, state=state) for offset, pages, state in allocation.runs]
        return cls(type=type_, from_=from_, count=count, until=allocation.until, extents=runs)


class MapCell(Schema):
    """Pages by kind, and the bytes of their blobs, in `count` pages from `offset`."""

    offset: int
    count: int
    zero: Count
    same: Count
    compressed: Count
    raw: Count
    bytes: Count


class TypeMap(Schema):
    """A range cut into cells of equal size (the last may be smaller), for pictures."""

    model_config = example(
        **{
            "type": 1,
            "from": 0,
            "count": 8192,
            "cells": [
                {
                    "offset": 0,
                    "count": 8192,
                    "zero": 1400,
                    "same": 293,
                    "compressed": 6099,
                    "raw": 400,
                    "bytes": 10737418,
                }
            ],
        }
    )

    type: int
    from_: Annotated[int, Field(alias="from")]
    count: int
    cells: list[MapCell]

    @classmethod
    def of(cls, type_: int, from_: int, count: int, cells: list[Cell]) -> Self:
        """The answer to a question for `count` pages from `from_`."""
        return cls(type=type_, from_=from_, count=count, cells=[MapCell(**asdict(cell)) for cell in cells])
