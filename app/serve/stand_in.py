"""What a worker does that is started again while Redis is away: it says so, until Redis is back.

All that a worker is made of begins with the pool's record, which lies in Redis; and where it is the only one, nobody
else accepts connections. So that every call is answered in bounded time nevertheless (contract 3.5), the application
runs without a pool meanwhile: `/livez` and `/metrics` are 200, all that asks for pages or types is 503.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import uvicorn

from app.api.limits import InFlight
from app.errors import BackendUnavailable
from app.pool.numbers import Readiness
from app.settings import Settings
from app.store.nodes import Nodes
from app.tasks import end
from app.telemetry import Telemetry

logger = logging.getLogger("pagepool.serve")

_LOOK_SECONDS: Final = 0.1


class PoolAway:
    """A pool of which only the layout is known; whatever else is asked of it ends in 503."""

    def __init__(self, settings: Settings, nodes: Nodes) -> None:
        self.page_size = settings.page_size
        self.max_extent_pages = settings.max_extent_pages
        self._nodes = nodes

    async def readiness(self) -> Readiness:
        """It is not, and why."""
        return Readiness(is_ready=False, reason=self._nodes.last_error, lost_nodes=self._nodes.lost_nodes)

    def __getattr__(self, name: str) -> NoReturn:
        raise BackendUnavailable(f"Redis is out of reach: {self._nodes.last_error}.")


@dataclass(frozen=True, slots=True)
class ContextAway:
    """What handlers work with meanwhile, in place of `app.wiring.ProcessContext`."""

    settings: Settings
    telemetry: Telemetry
    pool: Any
    in_flight: InFlight

    @classmethod
    def of(cls, settings: Settings, telemetry: Telemetry, nodes: Nodes) -> ContextAway:
        """What there is without Redis."""
        return cls(settings, telemetry, PoolAway(settings, nodes), InFlight(settings, telemetry))


async def serve_until_reachable(server: uvicorn.Server, sockets: list[socket.socket], nodes: Nodes) -> bool:
    """Run a server until Redis can be reached, and then end it; False: it was told to end before.

    `nodes`, the way to Redis, is begun and closed here.
    """
    logger.warning("Redis is away: calls are answered 503 until it is back")
    serving = asyncio.create_task(server.serve(sockets), name="stand-in")
    starting = asyncio.create_task(nodes.start(), name="way to Redis")
    try:
        while not serving.done() and not await nodes.wait_reachable(_LOOK_SECONDS):
            pass
        return not serving.done()
    finally:
        server.should_exit = True
        await serving
        await end(starting)
        await nodes.close()
