"""Whether a store may go in: a limit with hysteresis, as zswap has it. Pure decisions; no I/O.

    Gate.OPEN   ── a store finds bytes ≥ limit ──▶  Gate.CLOSED
    Gate.CLOSED ── bytes ≤ limit × accept_threshold_percent / 100 ──▶  Gate.OPEN

There is such a limit for the pool, and one for each type that has a limit of its own.

The decision must not cost a round trip. A worker knows the total as of its last look, plus what its own stores changed
since; so it can tell most stores that they fit, whatever else is on its way, and sends those at once. From the accept
threshold on somebody else may have closed the pool: there what is known must be fresh. Only stores that may find the
limit reached are left to the script, page by page (change_chunk.lua).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from app.pool.parameters import Parameters

LOOK_BYTES: Final = 4 << 20
"""What one worker admits at most between two looks at the total (contract 2.5)."""

FRESH_SECONDS: Final = 0.3
"""From the accept threshold on, a look is good for so long."""


class Gate(Enum):
    """Whether the pool, or a type, takes pages that are not zero."""

    OPEN = "open"
    CLOSED = "closed"


class Verdict(Enum):
    """What to do with a store."""

    FITS = "send it at once"
    LOOK = "look at the total, then ask again"
    EXACT = "let the script admit page by page"


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of bytes, and where what it closed opens again."""

    bytes: int
    """0: no limit."""
    reopen: int

    @classmethod
    def of(cls, limit: int, accept_threshold_percent: int) -> Limit:
        """The limit with its hysteresis."""
        return cls(limit, limit * accept_threshold_percent // 100)

    @property
    def wake(self) -> int:
        """From here on it is about to close: room is made, where anything gives way."""
        return self.bytes - min(LOOK_BYTES, (self.bytes - self.reopen) // 2)


@dataclass(frozen=True, slots=True)
class Totals:
    """What a worker knows: the bytes that count for a limit, and those of its own stores still on their way."""

    bytes: int
    bytes_in_flight: int
    bytes_since_look: int
    is_fresh: bool
    """Whether it has looked just now, and nobody is known to have opened or closed anything since."""


def limit_of_pool(parameters: Parameters) -> Limit:
    """The pool's own limit."""
    return Limit.of(parameters.max_pool_bytes, parameters.accept_threshold_percent)


def gate_after(gate: Gate, held_bytes: int, limit: Limit) -> Gate:
    """The gate as it is once somebody looks: what has fallen to the threshold is open."""
    if gate is Gate.CLOSED and (limit.bytes == 0 or held_bytes <= limit.reopen):
        return Gate.OPEN
    return gate


def decide(gate: Gate, totals: Totals, new_bytes: int, limit: Limit) -> Verdict:
    """What to do with a store of `new_bytes` of blobs."""
    if limit.bytes == 0 or new_bytes == 0:
        return Verdict.FITS
    bytes_at_most = totals.bytes + totals.bytes_in_flight + new_bytes
    is_near = gate is Gate.CLOSED or bytes_at_most + LOOK_BYTES >= limit.reopen
    if totals.bytes_since_look + new_bytes > LOOK_BYTES or (is_near and not totals.is_fresh):
        return Verdict.LOOK
    return after_look(gate, totals, new_bytes, limit)


def after_look(gate: Gate, totals: Totals, new_bytes: int, limit: Limit) -> Verdict:
    """As `decide`, of somebody who has just looked."""
    if limit.bytes == 0 or new_bytes == 0:
        return Verdict.FITS
    # Where even all together would not go over the limit, no page can find it reached.
    if gate is Gate.OPEN and totals.bytes + totals.bytes_in_flight + new_bytes <= limit.bytes:
        return Verdict.FITS
    return Verdict.EXACT


def known_bytes(totals: Totals) -> int:
    """What a script is to take for the total: of what is in flight beside it, all above what may be admitted unseen."""
    return totals.bytes + max(totals.bytes_in_flight - LOOK_BYTES, 0)
