"""What a worker knows of one limit, the pool's or a type's: open or closed, what is held, what is on its way."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple

from app.pool.admission import (
    FRESH_SECONDS,
    Gate,
    Limit,
    Totals,
    Verdict,
    after_look,
    decide,
    gate_after,
    known_bytes,
)
from app.store.script_header import UNBOUNDED

NO_LIMIT: Final = Limit(0, 0)
_NEVER: Final = float("-inf")


class ByteRoom(NamedTuple):
    """What is left of a limit, as differences to what is held."""

    headroom: float = UNBOUNDED
    reopen: float = UNBOUNDED
    is_closed: bool = False


class Ledger:
    """One limit. `held_bytes` tells what is held as far as known; `signal` changes when any worker moves a gate."""

    __slots__ = (
        "_looked_at",
        "_seen_signal",
        "_signal",
        "bytes_in_flight",
        "bytes_since_look",
        "gate",
        "gate_moves",
        "held_bytes",
        "limit",
    )

    def __init__(self, held_bytes: Callable[[], int], signal: Callable[[], float]) -> None:
        self.held_bytes = held_bytes
        self.limit = NO_LIMIT
        self.gate = Gate.OPEN
        self.gate_moves = 0
        """How often this worker has moved the gate: what was asked before such a move says nothing of it."""
        self.bytes_in_flight = 0
        self.bytes_since_look = 0
        self._signal = signal
        self._looked_at = _NEVER
        self._seen_signal = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether this worker has looked just now, and nobody in this service is known to have moved a gate since."""
        return monotonic() - self._looked_at < FRESH_SECONDS and self._signal() == self._seen_signal

    @property
    def bytes_at_most(self) -> int:
        """What is held once all that is on its way has arrived."""
        return self.held_bytes() + self.bytes_in_flight

    def begin_look(self) -> None:
        """A look begins: what is on its way now may not be seen by it."""
        self.bytes_since_look = self.bytes_in_flight
        self._seen_signal = self._signal()

    def end_look(self) -> None:
        """It has ended well."""
        self._looked_at = monotonic()

    def outdate(self) -> None:
        """What was seen is no longer to be relied on."""
        self._looked_at = _NEVER

    def _totals(self) -> Totals:
        return Totals(self.held_bytes(), self.bytes_in_flight, self.bytes_since_look, self.is_fresh)

    def decide(self, new_bytes: int, *, has_looked: bool) -> Verdict:
        """What to do with a store of so many bytes."""
        if not self.limit.bytes or not new_bytes:
            return Verdict.FITS
        return (after_look if has_looked else decide)(self.gate, self._totals(), new_bytes, self.limit)

    def room(self) -> ByteRoom:
        """What is left, for a script to admit page by page."""
        if not self.limit.bytes:
            return ByteRoom()
        known = known_bytes(self._totals())
        return ByteRoom(self.limit.bytes - known, self.limit.reopen - known, self.gate is Gate.CLOSED)

    def gate_now(self) -> Gate:
        """The gate, once what is held has fallen to the threshold."""
        return gate_after(self.gate, self.held_bytes(), self.limit)
