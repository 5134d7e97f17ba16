"""How long a client may make the service wait."""

from __future__ import annotations

from typing import Final, NamedTuple, Self

from app.settings import Settings

_TICKS_PER_TIMEOUT: Final = 4
_SHORTEST_TICK_SECONDS: Final = 0.05


class TimeLimits(NamedTuple):
    """All in seconds."""

    header: float
    keep_alive: float
    progress: float
    tick: float
    """How often a connection looks at the clock: a limit is enforced this much late at most."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The settings, and a tick that fits them."""
        shortest = min(settings.header_timeout, settings.keep_alive_timeout, settings.progress_timeout)
        return cls(
            header=settings.header_timeout,
            keep_alive=settings.keep_alive_timeout,
            progress=settings.progress_timeout,
            tick=max(shortest / _TICKS_PER_TIMEOUT, _SHORTEST_TICK_SECONDS),
        )
