"""Which connections reach which stripe: one node for all on a single Redis, many on a cluster."""

from __future__ import annotations

import asyncio

from app.settings import Settings
from app.store.endpoint import Endpoint
from app.store.link import Link
from app.store.multiplexer import Multiplexer


class Nodes:
    """The node of a single Redis, behind the methods that a cluster needs too."""

    is_cluster = False

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self._link = Link(endpoint, settings)

    async def start(self) -> None:
        """Begin to connect; returns once every connection has tried once."""
        await self._link.start()

    async def close(self) -> None:
        """End every connection."""
        await self._link.close()

    def loads(self, stripe: int) -> Multiplexer:  # noqa: ARG002  a cluster asks
        """The connection for commands that change nothing in a stripe."""
        return self._link.loads

    def stores(self, stripe: int) -> Multiplexer:  # noqa: ARG002
        """The connection for changes of a stripe."""
        return self._link.stores

    def of_key(self, key: bytes) -> Multiplexer:  # noqa: ARG002
        """The connection for a key that lies in no stripe."""
        return self._link.stores

    def all_loads(self) -> list[Multiplexer]:
        """One connection to every node."""
        return [self._link.loads]

    @property
    def is_reachable(self) -> bool:
        """Whether any node can be used now."""
        return self._link.is_connected

    @property
    def lost_nodes(self) -> list[str]:
        """The masters that do not answer."""
        return []

    @property
    def last_error(self) -> str:
        """Why no node can be used."""
        return self._link.loads.last_error

    async def wait_reachable(self, seconds: float) -> bool:
        """Wait until a node can be used, for so long at most."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not self.is_reachable:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True
