"""The bound on what a worker holds at once: requests, and the bytes of their bodies and answers (contract 3.6)."""

from __future__ import annotations

import asyncio
from typing import Final

from app.errors import Overloaded
from app.settings import Settings
from app.telemetry import Telemetry
from app.telemetry_cells import OVERLOADED

_POLL_SECONDS: Final = 0.02


class InFlight:
    """Counts what is held; `enter` and `leave` come in pairs with the same number of bytes."""

    __slots__ = ("_bytes", "_cells", "_max_bytes", "_max_requests", "_requests")

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._max_requests = settings.max_requests_in_flight
        self._max_bytes = settings.max_bytes_in_flight
        self._cells = telemetry.cells
        self._requests = 0
        self._bytes = 0

    @property
    def max_bytes(self) -> int:
        """The bound on bytes."""
        return self._max_bytes

    def __repr__(self) -> str:
        return f"InFlight({self._requests} requests, {self._bytes} bytes)"

    def enter(self, bytes_: int) -> None:
        """Count a request that holds so many bytes.

        Raises:
            Overloaded: a bound is reached; nothing is counted.
        """
        if not self.try_enter(bytes_):
            self._cells[OVERLOADED] += 1
            raise Overloaded("The service works on as much as it may at once.")

    def try_enter(self, bytes_: int) -> bool:
        """As `enter`, for who refuses by other means; False: nothing is counted."""
        if self._requests >= self._max_requests or self._bytes + bytes_ > self._max_bytes:
            return False
        self._requests += 1
        self._bytes += bytes_
        return True

    def room(self, bytes_each: int) -> int:
        """How many requests that hold so many bytes each may enter."""
        return min(self._max_requests - self._requests, (self._max_bytes - self._bytes) // bytes_each)

    def enter_many(self, requests: int, bytes_each: int) -> None:
        """Count several for which there is `room`."""
        self._requests += requests
        self._bytes += requests * bytes_each

    def leave(self, bytes_: int) -> None:
        """Count it no longer."""
        self._requests -= 1
        self._bytes -= bytes_

    def leave_many(self, requests: int, bytes_each: int) -> None:
        """Count several no longer, that held so many bytes each."""
        self._requests -= requests
        self._bytes -= requests * bytes_each

    def hold(self, bytes_: int) -> None:
        """Count bytes of a request that is bounded as such elsewhere; `let_go` ends it.

        Raises:
            Overloaded: the bound is reached; nothing is counted.
        """
        if self._bytes + bytes_ > self._max_bytes:
            self._cells[OVERLOADED] += 1
            raise Overloaded("The service holds as much as it may at once.")
        self._bytes += bytes_

    def let_go(self, bytes_: int) -> None:
        """Count them no longer."""
        self._bytes -= bytes_

    async def drained(self, seconds: float) -> None:
        """Wait until nothing is held, for so long at most."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._requests and loop.time() < deadline:  # noqa: ASYNC110  an event would cost every request
            await asyncio.sleep(_POLL_SECONDS)
