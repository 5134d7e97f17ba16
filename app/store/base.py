"""What the pool needs of a store; this protocol's docstrings are its contract.

Every method raises BackendUnavailable when the store cannot be reached in bounded time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Counters:
    """Pages of each kind, and the bytes of their blobs, in one stripe, one type, or a whole pool."""

    pages: int = 0
    zero: int = 0
    same: int = 0
    raw: int = 0
    bytes: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(
            self.pages + other.pages,
            self.zero + other.zero,
            self.same + other.same,
            self.raw + other.raw,
            self.bytes + other.bytes,
        )


@dataclass(frozen=True, slots=True)
class Reclaims:
    """Pages that went by themselves, in one stripe, one type, or a whole pool, since it was made."""

    evicted: int = 0
    expired: int = 0
    failures: int = 0
    """Reclaims that did not make the room they should."""

    def __add__(self, other: Reclaims) -> Reclaims:
        return Reclaims(self.evicted + other.evicted, self.expired + other.expired, self.failures + other.failures)


class ChangeResult(NamedTuple):
    """What a change of one chunk did.

    `refused_for_bytes` and `refused_for_pages` are 64-bit maps of the pages that were not put; `refused_for_type` is
    the part of the first that the type's own limit refused.
    """

    dropped: int = 0
    is_closed: bool = False
    limit_hits: int = 0
    refused_for_bytes: int = 0
    refused_for_pages: int = 0
    refused_for_type: int = 0
    type_is_closed: bool = False

    @property
    def refused(self) -> int:
        """The map of all pages that were not put."""
        return self.refused_for_bytes | self.refused_for_pages


class StateChanged(Exception):
    """The page was not in the expected state; nothing was changed."""


class PolicyOutdated(Exception):
    """The type has another policy than the change went by; nothing was changed."""


class StoreFull(Exception):
    """Redis refused the change for lack of memory; nothing was changed."""
