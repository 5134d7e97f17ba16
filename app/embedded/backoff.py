"""How long to wait before a child that ended is started again."""

from __future__ import annotations

from dataclasses import dataclass, field

STEADY_SECONDS = 10.0
"""A child that ran this long is taken for sound: the next wait is the shortest again."""


@dataclass
class Backoff:
    """Waits that double from `shortest` to `longest` seconds while the child keeps ending young."""

    shortest: float
    longest: float
    _next: float = field(init=False)

    def __post_init__(self) -> None:
        self._next = self.shortest

    def wait_after(self, seconds_run: float) -> float:
        """Seconds to wait, for a child that ended after `seconds_run`."""
        if seconds_run >= STEADY_SECONDS:
            self._next = self.shortest
        wait = self._next
        self._next = min(self._next * 2, self.longest)
        return wait
