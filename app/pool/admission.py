"""Whether a store may go in: the pool's limit with hysteresis, as zswap has it. Pure decisions; no I/O.

    Gate.OPEN   ── a store finds pool_bytes ≥ max_pool_bytes ──▶  Gate.CLOSED
    Gate.CLOSED ── pool_bytes ≤ max_pool_bytes × accept_threshold_percent / 100 ──▶  Gate.OPEN

The decision must not cost a round trip. A worker knows the total as of its last look, plus what its own stores changed
since; so it can tell most stores that they fit, whatever else is on its way, and sends those at once. Near the limit,
or while the pool may be closed, it looks first, and then lets the script admit page by page (change_chunk.lua).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from app.pool.parameters import Parameters
from app.store.script_header import UNBOUNDED, Room

LOOK_BYTES: Final = 4 << 20
"""What one worker admits at most between two looks at the total (contract 2.5)."""


class Gate(Enum):
    """Whether the pool takes pages that are not zero."""

    OPEN = "open"
    CLOSED = "closed"


class Verdict(Enum):
    """What to do with a store."""

    FITS = "send it at once"
    LOOK = "look at the total, then ask again"
    EXACT = "look, then let the script admit page by page"


@dataclass(frozen=True, slots=True)
class Totals:
    """What a worker knows: bytes and pages in the pool, and those of its own stores that are still on their way."""

    bytes: int
    pages: int
    bytes_in_flight: int
    pages_in_flight: int
    bytes_since_look: int


def reopen_bytes(parameters: Parameters) -> int:
    """The accept threshold in bytes: a closed pool opens once it holds no more."""
    return parameters.max_pool_bytes * parameters.accept_threshold_percent // 100


def gate_after(gate: Gate, pool_bytes: int, parameters: Parameters) -> Gate:
    """The gate as it is once somebody looks: a pool that has fallen to the threshold is open."""
    if gate is Gate.CLOSED and (parameters.max_pool_bytes == 0 or pool_bytes <= reopen_bytes(parameters)):
        return Gate.OPEN
    return gate


def decide(gate: Gate, totals: Totals, new_bytes: int, new_pages: int, parameters: Parameters) -> Verdict:
    """What to do with a store of `new_bytes` of blobs in `new_pages` pages.

    Another worker may have closed the pool since this one looked. That can only be where the total has reached the
    limit since the pool last fell to the threshold, so whoever sees it near the threshold asks first.
    """
    limit = parameters.max_pool_bytes
    if totals.pages + totals.pages_in_flight + new_pages > parameters.max_stored_pages:
        return Verdict.EXACT
    if limit == 0 or new_bytes == 0:
        return Verdict.FITS
    bytes_at_most = totals.bytes + totals.bytes_in_flight + new_bytes
    if gate is Gate.CLOSED or bytes_at_most + LOOK_BYTES >= reopen_bytes(parameters):
        return Verdict.EXACT
    if totals.bytes_since_look + new_bytes > LOOK_BYTES:
        return Verdict.LOOK
    return Verdict.FITS


def room(gate: Gate, totals: Totals, parameters: Parameters) -> Room:
    """What is left, for the script to admit page by page."""
    pages = parameters.max_stored_pages - totals.pages - totals.pages_in_flight
    limit = parameters.max_pool_bytes
    if limit == 0:
        return Room(UNBOUNDED, UNBOUNDED, pages, is_closed=False)
    known = totals.bytes + totals.bytes_in_flight
    return Room(limit - known, reopen_bytes(parameters) - known, pages, is_closed=gate is Gate.CLOSED)
