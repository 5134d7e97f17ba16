"""What the pool tells about itself: current counts, never events. Pages and bytes, as their names say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_IMAGE_BYTES = (1 << 53) - 1

MAX_TTL_SECONDS = (1 << 31) - 1
MAX_PRIORITY = 100
IDLE_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}
IMAGES_KEEP_PAGES = "a type with image_bytes neither evicts nor expires pages"

Eviction = Literal["none", "second-chance"]
State = Literal["data", "zero", "hole"]


@dataclass(frozen=True, slots=True)
class PoolNumbers:
    """The whole pool: the sum over its stripes, from Redis."""

    pool_bytes: int
    stored_pages: int
    zero_pages: int
    same_filled_pages: int
    incompressible_pages: int
    limit_bytes: int
    """`max_pool_bytes`; 0: no limit."""
    is_full: bool
    """Closed: stores of pages that are not zero are refused."""
    redis_used_memory_bytes: int
    evicted_pages: int = 0
    """Since the pool was made, as the two that follow."""
    expired_pages: int = 0
    reclaim_failures: int = 0

    @property
    def compressed_pages(self) -> int:
        """Pages that are neither zero, nor same-filled, nor raw."""
        return self.stored_pages - self.zero_pages - self.same_filled_pages - self.incompressible_pages


class TypeConfiguration(BaseModel):
    """What an operator sets for a type."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"image_bytes": 1073741824},
                {"max_pool_bytes": 1073741824, "eviction": "second-chance", "ttl_seconds": 3600, "priority": 10},
            ]
        },
    )

    image_bytes: Annotated[
        int | None, Field(ge=0, le=MAX_IMAGE_BYTES, description="Size of the type as a disk image; null: none.")
    ] = None
    max_pool_bytes: Annotated[
        int | None,
        Field(
            ge=1, le=(1 << 63) - 1, description="Bytes of the type's blobs at most, with hysteresis; null: no limit."
        ),
    ] = None
    eviction: Annotated[
        Eviction, Field(description="second-chance: its cold pages go when room is needed. Not for an image.")
    ] = "none"
    ttl_seconds: Annotated[
        int | None,
        Field(ge=1, le=MAX_TTL_SECONDS, description="A page not stored again within it is a miss. Not for an image."),
    ] = None
    priority: Annotated[
        int,
        Field(ge=0, le=MAX_PRIORITY, description="Types of lower priority give way first to make room in the pool."),
    ] = 0

    @property
    def may_lose_pages(self) -> bool:
        """Whether its pages go by themselves."""
        return self.eviction != "none" or self.ttl_seconds is not None

    @property
    def is_governed(self) -> bool:
        """Whether stores and loads of the type have to go by a policy."""
        return self.may_lose_pages or self.max_pool_bytes is not None

    @model_validator(mode="after")
    def _images_keep_pages(self) -> Self:
        if self.image_bytes is not None and self.may_lose_pages:
            raise ValueError(IMAGES_KEEP_PAGES)
        return self


@dataclass(frozen=True, slots=True)
class Idleness:
    """How long ago the pages of a governed type were stored and touched (stored or loaded)."""

    pages: int
    """Pages looked at: all of them, up to a bound."""
    not_stored_for: dict[str, int]
    """By `IDLE_SECONDS`: how many were not stored for so long."""
    not_touched_for: dict[str, int]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """What a reclaim took."""

    evicted_pages: int = 0
    expired_pages: int = 0
    freed_bytes: int = 0

    def __add__(self, other: Shrunk) -> Shrunk:
        return Shrunk(
            self.evicted_pages + other.evicted_pages,
            self.expired_pages + other.expired_pages,
            self.freed_bytes + other.freed_bytes,
        )


@dataclass(frozen=True, slots=True)
class TypeNumbers:
    """One type: its current counts and its configuration."""

    type: int
    stored_pages: int
    zero_pages: int
    same_filled_pages: int
    incompressible_pages: int
    pool_bytes: int
    configuration: TypeConfiguration
    is_full: bool = False
    """Closed by its own limit."""
    evicted_pages: int = 0
    expired_pages: int = 0
    reclaim_failures: int = 0
    idleness: Idleness | None = None

    @property
    def compressed_pages(self) -> int:
        """Pages that are neither zero, nor same-filled, nor raw."""
        return self.stored_pages - self.zero_pages - self.same_filled_pages - self.incompressible_pages


@dataclass(frozen=True, slots=True)
class Allocation:
    """What lies where in a range of a type: adjacent runs merged, offsets absolute, never empty."""

    runs: list[tuple[int, int, State]]
    """(offset, count, state), ascending, without gaps."""
    until: int
    """The first offset not covered; a client asks on from here."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a type's map: pages by kind and their bytes in `count` pages from `offset`."""

    offset: int
    count: int
    zero: int
    same: int
    compressed: int
    raw: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the pool can serve."""

    is_ready: bool
    reason: str | None = None
    """Why not."""
    lost_nodes: Sequence[str] = ()
    """Masters of a cluster that do not answer; the pool is ready while any does."""
