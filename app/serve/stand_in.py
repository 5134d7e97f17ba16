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
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, Scope

from app.api.limits import InFlight
from app.errors import BackendUnavailable
from app.pool.numbers import Readiness
from app.settings import Settings
from app.store.nodes import Nodes
from app.tasks import end
from app.telemetry import Telemetry

logger = logging.getLogger("pagepool.serve")

_LOOK_SECONDS: Final = 0.1
HANDOVER_SECONDS: Final = 1
"""How long, once Redis is back, a client can keep the stand-in from making room by not reading its answer."""


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


class Handover:
    """The application, until the stand-in ends: then whoever still sends a body has his answer, for nobody reads on."""

    def __init__(self, application: ASGI3Application) -> None:
        self._application = application
        self._has_begun = asyncio.Event()

    def begin(self) -> None:
        """End all waiting for clients."""
        self._has_begun.set()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Run a request."""

        async def receive_until_handover() -> ASGIReceiveEvent:
            event, ended = asyncio.ensure_future(receive()), asyncio.ensure_future(self._has_begun.wait())
            try:
                await asyncio.wait({event, ended}, return_when=asyncio.FIRST_COMPLETED)
                if event.done():
                    return event.result()
                raise BackendUnavailable("The service starts again.")
            finally:
                event.cancel()
                ended.cancel()

        is_request = scope["type"] == "http"
        await self._application(scope, receive_until_handover if is_request else receive, send)


async def serve_until_reachable(
    server: uvicorn.Server, sockets: list[socket.socket], nodes: Nodes, handover: Handover
) -> None:
    """Run a server, of the application in `handover`, until Redis can be reached or the server was told to end.

    `nodes`, the way to Redis, is begun and closed here.
    """
    logger.warning("Redis is away: calls are answered 503 until it is back")
    serving = asyncio.create_task(server.serve(sockets), name="stand-in")
    starting = asyncio.create_task(nodes.start(), name="way to Redis")
    try:
        while not (serving.done() or server.should_exit or await nodes.wait_reachable(_LOOK_SECONDS)):
            pass
    finally:
        server.should_exit = True
        handover.begin()
        await serving
        await end(starting)
        await nodes.close()
