"""What the pool tells about itself: current counts, never events. Pages and bytes, as their names say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_IMAGE_BYTES = (1 << 53) - 1

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

    @property
    def compressed_pages(self) -> int:
        """Pages that are neither zero, nor same-filled, nor raw."""
        return self.stored_pages - self.zero_pages - self.same_filled_pages - self.incompressible_pages


class TypeConfiguration(BaseModel):
    """What an operator sets for a type."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", json_schema_extra={"examples": [{"image_bytes": 1073741824}]}
    )

    image_bytes: Annotated[
        int | None, Field(ge=0, le=MAX_IMAGE_BYTES, description="Size of the type as a disk image; null: none.")
    ] = None


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
