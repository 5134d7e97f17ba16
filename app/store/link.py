"""The connections to one Redis node: one for loads, one for stores.

Two, so that small loads do not stand behind large stores, and since WAIT blocks the connection that asks it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from app.settings import Settings
from app.store.endpoint import Server
from app.store.multiplexer import Multiplexer
from app.store.scripts import ALL


class Link:
    """The pair of connections that this process holds to one node."""

    def __init__(
        self,
        server: Server,
        settings: Settings,
        after_replies: Sequence[Callable[[], None]],
        after_connecting: Sequence[Callable[[], None]],
    ) -> None:
        """Prepare the pair.

        Args:
            server: how the node is reached.
            settings: the service's.
            after_replies: called whenever the replies that have come together have all reached who waited.
            after_connecting: called whenever one of the two has been connected.
        """
        self._server = server
        self._after_replies = after_replies
        self._after_connecting = after_connecting
        self.loads = self._multiplexer("loads", settings)
        self.stores = self._multiplexer("stores", settings, replicas=settings.store_replicas)

    def _multiplexer(self, name: str, settings: Settings, replicas: int = 0) -> Multiplexer:
        return Multiplexer(
            self._server,
            name=name,
            timeout_seconds=settings.redis_timeout,
            max_unwritten_bytes=settings.max_bytes_in_flight,
            scripts=[script.text for script in ALL],
            replicas=replicas,
            after_replies=self._after_replies,
            after_connecting=self._after_connecting,
        )

    async def start(self) -> None:
        """Begin to connect both; returns once each has tried once."""
        await asyncio.gather(self.loads.start(), self.stores.start())

    async def close(self) -> None:
        """End both."""
        await asyncio.gather(self.loads.close(), self.stores.close())

    def reconnect(self) -> None:
        """Make both anew."""
        self.loads.reconnect()
        self.stores.reconnect()

    @property
    def is_connected(self) -> bool:
        """Whether both can be used now."""
        return self.loads.is_connected and self.stores.is_connected
